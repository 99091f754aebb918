"""A feed-forward spiking graph as a chain of layers in plain arrays, which libraries without snnir can build.

Only what all of them have: dense and convolutional synapses, reshapes, populations with one threshold a channel, one readout.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Chain", "NotAChainError", "chain_of", "load"]


class NotAChainError(ValueError):
    """The graph has something that spiking libraries have no layer for; the message names it."""


@dataclass(frozen=True)
class Chain:
    """Layers in order: `op` and attributes, with arrays beside them.

    - `dense`: weight[out, in]; `conv`: weight[out, in / groups, ...] with stride, symmetric padding, groups; both integers.
    - `reshape`: `shape` of one sample.
    - `bif`: theta and start V(0) = theta//2 + bias, both shaped like one sample of the population; levels 0..hi.
    - `readout`: bias, to be added to the sum of all steps.
    """

    layers: list[dict[str, Any]]

    def save(self, path: Path) -> None:
        """Write to one npz file."""
        arrays = {f"{i}.{key}": value for i, layer in enumerate(self.layers) for key, value in layer.items() if _is_array(value)}
        plain = [{key: value for key, value in layer.items() if not _is_array(value)} for layer in self.layers]
        np.savez(path, layers=json.dumps(plain), **arrays)


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray)


def load(path: Path) -> Chain:
    """Read what `save` wrote."""
    with np.load(path, allow_pickle=False) as archive:
        layers = json.loads(str(archive["layers"]))
        for key in archive.files:
            if key != "layers":
                index, name = key.split(".")
                layers[int(index)][name] = archive[key]
    return Chain(layers)


def chain_of(graph: Any) -> Chain:
    """The chain of a spiking graph. Raises `NotAChainError`."""
    if any(node.op.name == "scan" for node in graph.nodes):
        raise NotAChainError("recurrent, with a window of inner steps for each sequence element: no layer of it has two clocks")
    layers: list[dict[str, Any]] = []
    current = None
    for node in graph.nodes:
        name = node.op.name
        inputs = [value for value in node.operands if not value.is_constant]
        if current is None and not layers and name in ("mul", "add") and all(value.type.is_plain for value in inputs):
            continue  # the host scales inputs before it encodes them
        if name == "encode" and current is None:
            if node.op.quantization.lo:
                raise NotAChainError(f"{node.describe()}: signed inputs")
        elif name not in _LAYERS or len(inputs) != 1 or inputs[0] is not current:
            raise NotAChainError(f"{node.describe()} ({name}) is no layer of a plain chain")
        else:
            layers.append(_LAYERS[name](node))
        current = node.output if len(node.outputs) == 1 else None
    if not layers or layers[-1]["op"] != "readout":
        raise NotAChainError("the network does not end in one readout")
    return Chain(layers)


def _dense(node: Any) -> dict[str, Any]:
    return {"op": "dense", "weight": _weight(node)}


def _conv(node: Any) -> dict[str, Any]:
    op, spatial = node.op, len(node.op.stride)
    before, after = op.padding[:spatial], op.padding[spatial:]
    if before != after or set(op.dilation) != {1}:
        raise NotAChainError(f"{node.describe()}: one-sided padding or dilation")
    weight = _weight(node)
    return {"op": "conv", "weight": weight, "stride": list(op.stride), "padding": list(before), "groups": op.groups}


def _weight(node: Any) -> np.ndarray:
    """Integer weights [outputs, ...] with their gains multiplied out."""
    return np.asarray(node.op.expanded(node.operands[1].array))


def _reshape(node: Any) -> dict[str, Any]:
    return {"op": "reshape", "shape": [int(str(size)) for size in node.output.type.shape[1:]]}


def _bif(node: Any) -> dict[str, Any]:
    if node.op.staircase or node.op.quantization.lo:
        raise NotAChainError(f"{node.describe()}: a neuron with a table of thresholds, or with negative levels")
    shape = tuple(int(str(size)) for size in node.output.type.shape[1:])
    theta, bias = (_one_sample(value.array, shape) for value in node.operands[:2])
    return {"op": "bif", "theta": theta, "start": theta // 2 + bias, "hi": int(node.op.quantization.hi)}


def _readout(node: Any) -> dict[str, Any]:
    shape = tuple(int(str(size)) for size in node.output.type.shape[1:])
    return {"op": "readout", "bias": _one_sample(node.operands[1].array, shape)}


def _one_sample(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter spread over one sample; its batch axis, if it has one, is 1."""
    return np.array(np.broadcast_to(array, (1, *shape))[0], np.int64)


_LAYERS = {"dense": _dense, "conv": _conv, "reshape": _reshape, "bif": _bif, "readout": _readout}
