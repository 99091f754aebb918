"""Synapses as NIR nodes: by their own geometry where NIR has a node of it, else as one matrix.

NIR has no batch axis, no reshape but `Flatten`, and its convolutions pad both sides alike; its types (nir 1.0.8,
`nir/ir/conv.py`) know neither groups nor kernels that are not square. So grouped weights are written with their zeros,
and a population that a matrix leads to is flat in the file; its shape stands in the metadata.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from snnir.backends.nir.library import NirNode, exact_floats, load_nir
from snnir.backends.nir.network import MOST_ENTRIES, Network, Target, Wiring, matrix_of
from snnir.machine.emitters import Emitter
from snnir.machine.program import Constant, Synapse

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
    """From the emitter of that name, which is an input or not, through `layers` to a target."""

    emitter: str
    held: bool
    layers: tuple[Flatten | Layer, ...]
    unrolled: str = ""
    """Why it is one matrix; empty where it has its own geometry."""


def connections_of(network: Network, plain: bool = False) -> tuple[dict[str, list[Connection]], dict[str, tuple[int, ...]]]:
    """The connections into each target, and the shape that each emitter (and readout) has in the file, by name.

    `plain`: of layers with a bias for every neuron only, `linear` and `conv`, as common simulators read them.
    """
    shapes = {op.train.name: op.train.shape or (1,) for op in network.inputs}
    found: dict[str, list[Connection]] = {}
    for target in network.targets:
        native = [
            (synapse, wiring, emitter, _layers_of(synapse, wiring, emitter, target, shapes, plain))
            for synapse, wiring in target.currents
            for emitter in wiring.emitters
            if not isinstance(emitter, Constant)
        ]
        shape = target.shape or (1,)
        flat = len(shape) != 1 and (not native or any(isinstance(layers, str) or _ends_flat(layers) for *_, layers in native))
        shapes[target.name] = (math.prod(shape),) if flat else shape
        found[target.name] = []
        for synapse, wiring, emitter, layers in native:
            name = emitter.train.name
            held = any(name == op.train.name for op in network.inputs)
            if isinstance(layers, str):
                weight = matrix_of(synapse, wiring, emitter, target)
                made: tuple[Flatten | Layer, ...] = (*_flat(shapes[name]), Layer("linear", weight))
                found[target.name].append(Connection(name, held, made, layers))
            else:
                rest = _flat(shape) if flat and not _ends_flat(layers) else ()
                found[target.name].append(Connection(name, held, (*layers, *rest)))
        if not found[target.name]:  # nothing but its bias: a NIR graph without an edge into it would make it an input
            name = network.inputs[0].train.name
            weight = np.zeros((math.prod(shape), math.prod(shapes[name])), np.int64)
            found[target.name].append(Connection(name, True, (*_flat(shapes[name]), Layer("linear", weight))))
    return found, shapes


def _ends_flat(layers: tuple[Flatten | Layer, ...]) -> bool:
    """Whether what comes out has one axis."""
    last = layers[-1]
    return isinstance(last, Layer) and last.weight.ndim - (last.kind == "linear") == 1


def _flat(shape: tuple[int, ...]) -> tuple[Flatten, ...]:
    return (Flatten(shape),) if len(shape) > 1 else ()


def _layers_of(
    synapse: Synapse,
    wiring: Wiring,
    emitter: Emitter,
    target: Target,
    shapes: dict[str, tuple[int, ...]],
    plain: bool,
) -> tuple[Flatten | Layer, ...] | str:
    layers = _own_geometry(synapse, wiring, emitter, target, shapes)
    if plain and not isinstance(layers, str):
        last = layers[-1]
        assert isinstance(last, Layer)
        if last.kind == "scale" or (last.weight.ndim > 2 and last.kind == "linear"):
            return "simulators read matrices and convolutions only"
        if last.kind == "conv":
            rows = [array.reshape(len(last.weight), -1) for array in (target.bias, _thresholds(target))]
            if any((row != row[:, :1]).any() for row in rows):
                return "its neurons differ within a channel"
    return layers


def _thresholds(target: Target) -> np.ndarray:
    return target.parameter if target.parameter.shape == target.shape else target.bias


def _own_geometry(
    synapse: Synapse, wiring: Wiring, emitter: Emitter, target: Target, shapes: dict[str, tuple[int, ...]]
) -> tuple[Flatten | Layer, ...] | str:
    """Layers with the synapse's geometry, or why there are none."""
    weight = synapse.expanded().astype(np.int64)  # NIR has no gain: weights are float there
    sample, written = emitter.train.shape or (1,), shapes[emitter.train.name]
    if wiring.only is not emitter:
        return "spikes are rearranged on the way"
    if synapse.spread is not None or (synapse.outputs or (1,)) != (target.shape or (1,)):
        return "it spreads over more neurons than it names"
    flat = len(written) == 1
    if synapse.kind == "dense":
        if synapse.groups == 1:
            return (*_flat(written), Layer("linear", weight))
        if flat or (synapse.inputs or (1,)) != sample:
            return "its population is flat"
        lead = sample[:-1]
        if math.prod(lead) * weight.size > MOST_ENTRIES:
            return "its copies take too much room"
        return (Layer("linear", np.broadcast_to(weight, (*lead, *weight.shape))),)
    if synapse.kind == "one":
        assert synapse.weight_map is not None
        scale = weight[synapse.weight_map.array()]
        if flat or sample != (target.shape or (1,)):
            return (*_flat(written), Layer("scale", scale))
        return (Layer("scale", scale.reshape(sample)),)
    if synapse.kind == "conv":
        if flat or synapse.inputs != sample:
            return "its population is flat"
        return _convolution(synapse, weight, sample)
    return "synapses are listed one by one"


def _convolution(synapse: Synapse, weight: np.ndarray, sample: tuple[int, ...]) -> tuple[Layer] | str:
    spatial = weight.ndim - 2
    begins, ends = synapse.padding[:spatial], synapse.padding[spatial:]
    if spatial > 2:
        return f"NIR has no convolution over {spatial} axes"
    if begins != ends:
        return "NIR pads both sides of a convolution alike"
    if len(set(weight.shape[2:])) != 1:
        return "the types of nir know square kernels only"
    if synapse.groups > 1:
        maps, channels = weight.shape[0] // synapse.groups, weight.shape[1]
        whole = np.zeros((weight.shape[0], sample[0], *weight.shape[2:]), np.int64)
        for group in range(synapse.groups):
            own = slice(group * maps, (group + 1) * maps)
            whole[own, group * channels : (group + 1) * channels] = weight[own]
        weight = whole
    return (Layer("conv", weight, synapse.stride, begins, synapse.dilation, sample[1:]),)


def layer_nodes(layers: tuple[Flatten | Layer, ...], bias: np.ndarray | None = None) -> list[tuple[str, NirNode]]:
    """(kind, NIR node) of each layer; `bias` goes into the last `linear` or `conv` layer."""
    nir = load_nir()
    nodes: list[tuple[str, NirNode]] = []
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


def _conv_node(layer: Layer, bias: np.ndarray) -> NirNode:
    nir, weight = load_nir(), exact_floats(layer.weight)
    if len(layer.stride) == 1:
        (size,), (stride,), (padding,), (dilation,) = layer.input_shape, layer.stride, layer.padding, layer.dilation
        return nir.Conv1d(size, weight, stride, padding, dilation, 1, bias)
    return nir.Conv2d(layer.input_shape, weight, layer.stride, layer.padding, layer.dilation, 1, bias)
