"""NIR graphs that others wrote: those without neurons are real functions, and become float graphs; the rest is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from snnir.backends.nir.library import NirNode
from snnir.backends.nir.synapses import pair
from snnir.errors import GraphError, Refusal, UnsupportedError
from snnir.ir.dims import BATCH, concrete, dim
from snnir.ir.graph import Graph, Value
from snnir.ir.ops import Add, AveragePool, Conv, Linear, Mul, Reshape
from snnir.ir.types import TensorType

__all__ = ["float_graph"]

_DYNAMICS = "it integrates over time without the bound and the negative spikes that make a count exact"
_REFUSED = {
    "IF": "it resets to v_reset and sends no negative spikes, so what it counts depends on the order in which its input "
    "arrives; a ReLU in its place would be an approximation",
    "LIF": "it leaks: its count depends on when input arrives",
    "CubaLIF": "it leaks: its count depends on when input arrives",
    "LI": "it leaks: its value depends on when input arrives",
    "CubaLI": "it leaks: its value depends on when input arrives",
    "I": _DYNAMICS,
    "Delay": "a delay has a meaning in time only, and a float graph has no time",
    "Threshold": "its step (v > threshold, surely not at equality) is no quantizer that snnir rounds by",
}


def float_graph(written: NirNode, name: str) -> Graph:
    """A NIR graph without neurons as a float graph, one sample's axes after the batch.

    Exact: `Linear`, `Affine`, `Scale`, `Conv1d`, `Conv2d`, `Flatten`, `AvgPool2d`, `SumPool2d`, sums of several edges, and
    nested graphs of these with one input and one output. Raises `UnsupportedError` listing every other node, and cycles.
    """
    nodes, edges = _flattened(written, "")
    refusals = [Refusal(f"{type(node).__name__} {place}", _reason(node)) for place, node in nodes.items() if _reason(node)]
    _raise(name, refusals)
    try:
        return _built(nodes, edges, name, False)
    except UnsupportedError:
        inputs = [node for node in nodes.values() if type(node).__name__ == "Input"]
        if not all(_sizes(node, "input")[:1] == (1,) for node in inputs):
            raise
        try:
            return _built(nodes, edges, name, True)
        except UnsupportedError:
            pass
        raise


def _built(nodes: Mapping[str, NirNode], edges: Sequence[tuple[str, str]], name: str, baked: bool) -> Graph:
    """The graph of nodes without nested graphs; `baked`: axis 0 of inputs is a batch of 1, which is none of a sample's axes."""
    graph = Graph(name or "nir")
    values: dict[str, Value] = {}
    sources: dict[str, list[str]] = {place: [] for place in nodes}
    for source, target in edges:
        sources[target].append(source)
    pending = list(nodes)
    while pending:
        ready = [place for place in pending if all(source in values for source in sources[place])]
        if not ready:
            _raise(name, [Refusal(f"nodes {', '.join(pending)}", "they form a cycle, and a float graph has no time")])
        for place in ready:
            node, taken = nodes[place], [values[source] for source in sources[place]]
            try:
                values[place] = _add(graph, place, node, taken, baked)
            except GraphError as error:
                _raise(name, [Refusal(f"{type(node).__name__} {place}", str(error))])
        pending = [place for place in pending if place not in values]
    return graph


def _raise(name: str, refusals: Sequence[Refusal]) -> None:
    if refusals:
        lines = "".join(f"\n  {refusal}" for refusal in refusals)
        raise UnsupportedError(f"NIR graph {name} has no exact form in snnir:{lines}", refusals)


def _reason(node: NirNode) -> str:
    kind = type(node).__name__
    if kind in _REFUSED:
        return _REFUSED[kind]
    if kind not in _RULES and kind not in ("Input", "Output", "Between"):
        return f"snnir knows no node {kind}"
    return ""


class Between:
    """An input or output of a nested graph: it adds up what comes in."""


def _flattened(graph: NirNode, prefix: str) -> tuple[dict[str, NirNode], list[tuple[str, str]]]:
    """Nodes and edges without nested graphs."""
    nodes: dict[str, NirNode] = {}
    ends: dict[str, tuple[str, str]] = {}
    edges: list[tuple[str, str]] = []
    for name, node in graph.nodes.items():
        place = f"{prefix}{name}"
        if type(node).__name__ != "NIRGraph":
            nodes[place] = Between() if prefix and type(node).__name__ in ("Input", "Output") else node
            ends[name] = (place, place)
            continue
        if len(node.inputs) != 1 or len(node.outputs) != 1:
            _raise(prefix or "at the top", [Refusal(f"NIRGraph {place}", "it has more than one input or output")])
        inner, joined = _flattened(node, f"{place}.")
        nodes.update(inner)
        edges += joined
        (entry,), (leaving,) = node.inputs, node.outputs
        ends[name] = (f"{place}.{entry}", f"{place}.{leaving}")
    edges += [(ends[source][1], ends[target][0]) for source, target in graph.edges]
    return nodes, edges


def _sizes(node: NirNode, end: str) -> tuple[int, ...]:
    """The sizes that a node says of what it takes."""
    return tuple(int(size) for size in np.atleast_1d(node.input_type[end]))


def _add(graph: Graph, place: str, node: NirNode, taken: Sequence[Value], baked: bool) -> Value:
    kind = type(node).__name__
    name = re.sub(r"\W+", "_", place)
    if kind == "Input":
        return graph.input(name, TensorType((dim(BATCH), *_sizes(node, "input")[baked:]), "f32"))
    if not taken:
        raise GraphError("nothing leads to it")
    value = taken[0]
    for other in taken[1:]:
        if other.type != value.type:
            raise GraphError(f"signals of different shapes meet: {value.type} and {other.type}")
        value = graph.add1(Add(), value, other, name=f"{name}.sum", origin=(f"NIR {place}",))
    if kind == "Output":
        graph.output(name, value)
        return value
    return value if kind == "Between" else _RULES[kind](graph, node, value, name)


def _weights(graph: Graph, name: str, array: Any) -> Value:
    return graph.constant(name, np.asarray(array, np.float32))


def _linear(graph: Graph, node: NirNode, value: Value, name: str) -> Value:
    weight = np.asarray(node.weight)
    if weight.ndim != 2:
        raise GraphError(f"its weight has the shape {list(weight.shape)}; one matrix [outputs, inputs] is supported")
    bias = [_weights(graph, f"{name}.bias", node.bias)] if hasattr(node, "bias") else []
    return graph.add1(Linear(), value, _weights(graph, f"{name}.weight", weight), *bias, name=name, origin=(f"NIR {name}",))


def _scale(graph: Graph, node: NirNode, value: Value, name: str) -> Value:
    return graph.add1(Mul(), value, _weights(graph, f"{name}.scale", node.scale), name=name, origin=(f"NIR {name}",))


def _conv(graph: Graph, node: NirNode, value: Value, name: str) -> Value:
    spatial = np.asarray(node.weight).ndim - 2
    stride, dilation = pair(node.stride, spatial), pair(node.dilation, spatial)
    if isinstance(node.padding, str):
        total = [step * (size - 1) for step, size in zip(dilation, np.shape(node.weight)[2:], strict=True)]
        if node.padding == "same" and (max(stride) > 1 or any(amount % 2 for amount in total)):
            raise GraphError(
                "padding 'same' with a stride, or with an even kernel, is not the same in all frameworks; give numbers"
            )
        padding = tuple(amount // 2 if node.padding == "same" else 0 for amount in total)
    else:
        padding = pair(node.padding, spatial)
    op = Conv(stride, (*padding, *padding), dilation, int(node.groups))
    weights = [_weights(graph, f"{name}.weight", node.weight), _weights(graph, f"{name}.bias", node.bias)]
    return graph.add1(op, value, *weights, name=name, origin=(f"NIR {name}",))


def _flatten(graph: Graph, node: NirNode, value: Value, name: str) -> Value:
    shape = [concrete(size) for size in value.type.shape[1:]]
    said = _sizes(node, "input") if node.input_type.get("input") is not None else tuple(shape)
    batch = 1 if len(said) == len(shape) + 1 else 0  # some tools count the batch among its axes
    start, end = (int(axis) % (len(shape) + batch) - batch for axis in (node.start_dim, node.end_dim))
    if start < 0 or math.prod(said[batch:]) != math.prod(shape):
        raise GraphError(f"it flattens {list(said)} from axis {node.start_dim} on, and is given samples of {shape}")
    flat = [*shape[:start], int(np.prod(shape[start : end + 1])), *shape[end + 1 :]]
    return graph.add1(Reshape((dim(BATCH), *flat)), value, name=name, origin=(f"NIR {name}",))


def _average(graph: Graph, node: NirNode, value: Value, name: str) -> Value:
    """NIR defines it as the sum of a window times a constant: padding counts."""
    kernel, stride, padding = (pair(option, 2) for option in (node.kernel_size, node.stride, node.padding))
    op = AveragePool(kernel, stride, (*padding, *padding), (1, 1), False, True)
    return graph.add1(op, value, name=name, origin=(f"NIR {name}",))


def _sum(graph: Graph, node: NirNode, value: Value, name: str) -> Value:
    kernel, stride, padding = (pair(option, 2) for option in (node.kernel_size, node.stride, node.padding))
    channels = concrete(value.type.shape[1])
    op = Conv(stride, (*padding, *padding), (1, 1), channels)
    ones = _weights(graph, f"{name}.ones", np.ones((channels, 1, *kernel)))
    return graph.add1(op, value, ones, name=name, origin=(f"NIR {name}",))


_RULES: dict[str, Callable[[Graph, NirNode, Value, str], Value]] = {
    "Affine": _linear,
    "AvgPool2d": _average,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "Flatten": _flatten,
    "Linear": _linear,
    "Scale": _scale,
    "SumPool2d": _sum,
}
