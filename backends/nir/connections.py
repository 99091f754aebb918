"""Synapses as NIR nodes: by their own geometry where NIR has a node of it, else as one matrix.

NIR has no batch axis, no reshape but `Flatten`, and its convolutions pad both sides alike; its types (nir 1.0.8,
`nir/ir/conv.py`) know neither groups nor kernels that are not square. So grouped weights are written with their zeros,
and a population that a matrix leads to is flat in the file; its shape stands in the metadata.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnir.backends.nir.library import exact_floats, load_nir
from snnir.backends.nir.maps import MOST_ENTRIES
from snnir.backends.nir.network import Network, Target
from snnir.ir.dims import concrete
from snnir.ir.graph import Node, Value
from snnir.ir.ops import Conv, Dense, Diagonal, Reshape, Sparse

__all__ = ["Connection", "Flatten", "Layer", "connections_of", "layer_nodes"]


@dataclass(frozen=True, eq=False)
class Flatten:
    """All axes of a sample of `shape` become one."""

    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Layer:
    """`kind` is `linear` (weight [..., O, I]), `conv` (weight [M, C, ...], as ONNX) or `scale` (weight [shape])."""

    kind: str
    weight: np.ndarray
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    input_shape: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Connection:
    """From an emitter through `layers` to a target."""

    emitter: Value
    layers: tuple[Flatten | Layer, ...]
    unrolled: str = ""
    """Why it is one matrix; empty where it has its own geometry."""


def connections_of(network: Network) -> tuple[dict[Target, list[Connection]], dict[Value, tuple[int, ...]]]:
    """The connections into each target, and the shape that each emitter (and readout) has in the file."""
    shapes = {node.output: network.maps.sample(node.output) or (1,) for node in network.encoders}
    found: dict[Target, list[Connection]] = {}
    for target in network.targets:
        size = math.prod(target.shape)
        native = [
            (synapse, emitter, _own_geometry(network, synapse, emitter, target, shapes)) for synapse, emitter in target.currents
        ]
        flat = len(target.shape) != 1 and (
            not native or any(isinstance(layers, str) or _ends_flat(layers) for *_, layers in native)
        )
        shapes[target.value] = (size,) if flat else target.shape
        found[target] = []
        for synapse, emitter, layers in native:
            if isinstance(layers, str):
                weight = network.maps.matrix(synapse, emitter, target.shape)
                found[target].append(Connection(emitter, (*_flat(shapes[emitter]), Layer("linear", weight)), layers))
            else:
                rest = _flat(target.shape) if flat and not _ends_flat(layers) else ()
                found[target].append(Connection(emitter, (*layers, *rest)))
        if not found[target]:  # nothing but its bias: a NIR graph without an edge into it would make it an input
            emitter = network.encoders[0].output
            weight = np.zeros((size, math.prod(shapes[emitter])), np.int64)
            found[target].append(Connection(emitter, (*_flat(shapes[emitter]), Layer("linear", weight))))
    return found, shapes


def _ends_flat(layers: tuple[Flatten | Layer, ...]) -> bool:
    """Whether what comes out has one axis."""
    last = layers[-1]
    return isinstance(last, Layer) and last.weight.ndim - (last.kind == "linear") == 1


def _flat(shape: tuple[int, ...]) -> tuple[Flatten, ...]:
    return (Flatten(shape),) if len(shape) > 1 else ()


def _own_geometry(
    network: Network, synapse: Node, emitter: Value, target: Target, shapes: dict[Value, tuple[int, ...]]
) -> tuple[Flatten | Layer, ...] | str:
    """Layers with the synapse's geometry, or why there are none."""
    spikes, op = synapse.operands[0], synapse.op
    assert isinstance(op, Dense | Diagonal | Sparse | Conv)
    weight = op.expanded(synapse.operands[1].array).astype(np.int64)  # NIR has no gain: weights are float there
    sample, written = network.maps.sample(emitter), shapes[emitter]
    if tuple(concrete(size) for size in synapse.output.type.shape[1:]) != target.shape:
        return "it spreads over more neurons than it names"
    flattens = False
    if spikes is not emitter:
        producer = spikes.producer
        flattens = producer is not None and isinstance(producer.op, Reshape) and producer.operands[0] is emitter
        if not flattens or spikes.type.rank != 2:
            return "spikes are rearranged on the way"
    flat = len(written) == 1
    if isinstance(op, Dense):
        if flat or flattens:
            if len(sample) != 1 and not flattens:
                return "its population is flat"
            return (*_flat(written), Layer("linear", weight))
        lead = sample[:-1]
        if math.prod(lead) * weight.size > MOST_ENTRIES:
            return "its copies take too much room"
        return (Layer("linear", np.broadcast_to(weight, (*lead, *weight.shape))),)
    if isinstance(op, Diagonal):
        own = (math.prod(sample),) if flattens else sample
        try:
            scale = np.broadcast_to(weight.reshape(weight.shape[1:]) if weight.ndim == len(own) + 1 else weight, own)
        except ValueError:
            return "it spreads over more neurons than it names"
        if own != target.shape:
            return "it spreads over more neurons than it names"
        return (*(_flat(written) if flattens else ()), Layer("scale", scale.reshape(-1) if flat else scale))
    if isinstance(op, Conv):
        if flattens or flat:
            return "its population is flat"
        return _convolution(op, weight, sample)
    return f"{op.name} synapses are listed one by one"


def _convolution(op: Conv, weight: np.ndarray, sample: tuple[int, ...]) -> tuple[Layer] | str:
    spatial = weight.ndim - 2
    begins, ends = op.padding[:spatial], op.padding[spatial:]
    if spatial > 2:
        return f"NIR has no convolution over {spatial} axes"
    if begins != ends:
        return "NIR pads both sides of a convolution alike"
    if len(set(weight.shape[2:])) != 1:
        return "the types of nir know square kernels only"
    if op.groups > 1:
        maps, channels = weight.shape[0] // op.groups, weight.shape[1]
        whole = np.zeros((weight.shape[0], sample[0], *weight.shape[2:]), np.int64)
        for group in range(op.groups):
            own = slice(group * maps, (group + 1) * maps)
            whole[own, group * channels : (group + 1) * channels] = weight[own]
        weight = whole
    return (Layer("conv", weight, op.stride, begins, op.dilation, sample[1:]),)


def layer_nodes(layers: tuple[Flatten | Layer, ...], bias: np.ndarray | None = None) -> list[tuple[str, Any]]:
    """(kind, NIR node) of each layer; `bias` goes into the last `linear` or `conv` layer."""
    nir = load_nir()
    nodes: list[tuple[str, Any]] = []
    last = max((index for index, layer in enumerate(layers) if isinstance(layer, Layer)), default=-1)
    for index, layer in enumerate(layers):
        if isinstance(layer, Flatten):
            nodes.append(("flatten", nir.Flatten({"input": np.array(layer.shape)}, 0, -1)))
        elif layer.kind == "linear":
            weight = exact_floats(layer.weight)
            given = bias if index == last else None
            nodes.append(("dense", nir.Linear(weight) if given is None else nir.Affine(weight, exact_floats(given))))
        elif layer.kind == "scale":
            nodes.append(("scale", nir.Scale(exact_floats(layer.weight))))
        else:
            given = bias if bias is not None and index == last else np.zeros(len(layer.weight))
            nodes.append(("conv", _conv_node(layer, exact_floats(given))))
    return nodes


def _conv_node(layer: Layer, bias: np.ndarray) -> Any:
    nir, weight = load_nir(), exact_floats(layer.weight)
    if len(layer.stride) == 1:
        (size,), (stride,), (padding,), (dilation,) = layer.input_shape, layer.stride, layer.padding, layer.dilation
        return nir.Conv1d(size, weight, stride, padding, dilation, 1, bias)
    return nir.Conv2d(layer.input_shape, weight, layer.stride, layer.padding, layer.dilation, 1, bias)
