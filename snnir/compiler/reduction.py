"""Reduce a failing graph: drop nodes, shrink sizes and simplify constants, as long as it fails.

Greedy, after A. Zeller and R. Hildebrandt (Simplifying and isolating failure-inducing input, IEEE TSE 28(2), 2002): each
candidate is smaller than the graph, is legal, and replaces it where it fails too; the search ends where no candidate does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from snnir.errors import SnnirError
from snnir.ir import Graph, Node, Op, Value
from snnir.ir.rewrite import Rewriter, like, rebuild
from snnir.ir.verify import verify
from snnir.passes.remove_dead_code import remove_dead_code

__all__ = ["reduce_graph"]


def reduce_graph(graph: Graph, fails: Callable[[Graph], bool], attempts: int = 2000) -> Graph:
    """The smallest graph found for which `fails` says True, as it does for `graph`; `fails` is called `attempts` times at most.

    `fails` says False for graphs that fail in another way than the one to be kept.
    """
    left = attempts
    while True:
        for candidate in _candidates(graph):
            if _cost(candidate) >= _cost(graph):
                continue
            if left <= 0:
                return graph
            left -= 1
            if fails(candidate):
                graph = candidate
                break
        else:
            return graph


def _cost(graph: Graph) -> tuple[int, int, int, int, float]:
    """Nodes, outputs and inputs, elements, constants that are not whole: in this order of importance."""
    nodes = list(graph.walk())
    elements = graph.parameter_count() + sum(size for value in graph.inputs for size in value.type.shape if isinstance(size, int))
    graphs = (graph, *(node.body for _, node in nodes if node.body is not None))
    plain = sum(_complexity(value.array) for each in graphs for value in each.constants)
    return len(nodes), len(graph.outputs), len(graph.inputs), elements, plain


def _complexity(array: np.ndarray) -> float:
    """How far a constant is from one that reads itself: 0 for zeros, 1 an element for ones, 2 for other whole numbers."""
    if array.dtype.kind not in "fiu":
        return 0.0
    whole = array == np.round(array)
    return float(np.where(array == 0, 0, np.where(array == 1, 1, np.where(whole, 2, 3))).sum())


def _candidates(graph: Graph) -> Iterator[Graph]:
    """Smaller graphs that are legal, the boldest first."""
    for make in (
        _one_output,
        _earlier_output,
        _cut_off,
        _without_node,
        _earlier_yield,
        _unused_inputs,
        _smaller_sizes,
        _simpler_constants,
    ):
        for attempt in make(graph):
            try:
                candidate = remove_dead_code(attempt())
                verify(candidate)
            except (SnnirError, ValueError, LookupError, ArithmeticError):
                continue
            yield candidate


_Attempts = Iterator[Callable[[], Graph]]


def _copy(graph: Graph, outputs: Mapping[str, str], cut: frozenset[str] = frozenset()) -> Graph:
    """The graph with other outputs (names of values), and inputs in place of the values called `cut`."""
    new = like(graph)
    values: dict[Value, Value] = {value: new.input(value.name, value.type) for value in graph.inputs}
    for value in graph.constants:
        values[value] = new.constant(value.name, value.array)
    for node in graph.nodes:
        if any(value.name in cut for value in node.outputs):
            values.update((value, new.input(value.name, value.type)) for value in node.outputs)
        else:
            values.update(zip(node.outputs, new.copy(node, [values[value] for value in node.operands], node.body), strict=True))
    for name, source in outputs.items():
        new.output(name, values[graph.values[source]])
    return new


def _one_output(graph: Graph) -> _Attempts:
    if len(graph.outputs) > 1:
        for name, value in graph.outputs.items():
            yield partial(_copy, graph, {name: value.name})


def _earlier_output(graph: Graph) -> _Attempts:
    """A value in the middle as the only output."""
    name = next(iter(graph.outputs), "y")
    for node in graph.nodes:
        for value in node.outputs:
            yield partial(_copy, graph, {name: value.name})


def _cut_off(graph: Graph) -> _Attempts:
    """An input in the place of a node's results, the last nodes first."""
    outputs = {name: value.name for name, value in graph.outputs.items()}
    for node in reversed(graph.nodes):
        names = frozenset(value.name for value in node.outputs)
        if all(value.type.is_plain for value in node.outputs):
            yield partial(_copy, graph, outputs, names)


def _without_node(graph: Graph) -> _Attempts:
    """A value of the same type that is there before the node takes the place of its result; bodies too."""
    for index, (holder, node) in enumerate(graph.walk()):
        if len(node.outputs) != 1:
            continue
        for value in holder.values.values():
            if value is node.output:
                break  # what follows is defined later
            if value.type == node.output.type and not value.is_constant:
                yield partial(_replaced, graph, index, value.name)


def _replaced(graph: Graph, index: int, name: str) -> Graph:
    chosen = list(graph.walk())[index][1]

    def rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        return (rewriter.graph.values[name],) if node is chosen else None

    return rebuild(graph, rule)[0]


def _earlier_yield(graph: Graph) -> _Attempts:
    """A body gives an earlier value of the same type."""
    for node in graph.nodes:
        if node.body is not None:
            for name, value in node.body.outputs.items():
                for other in node.body.values.values():
                    if other.type == value.type and other is not value and not other.is_constant:
                        yield partial(_with_yield, graph, node, name, other.name)


def _with_yield(graph: Graph, chosen: Node, name: str, source: str) -> Graph:
    def rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        if node is not chosen or node.body is None:
            return None
        outputs = {key: value.name for key, value in node.body.outputs.items()} | {name: source}
        names = [value.name for value in node.outputs]
        return rewriter.emit_all(node.op, *operands, names=names, body=_copy(node.body, outputs))

    return rebuild(graph, rule)[0]


def _unused_inputs(graph: Graph) -> _Attempts:
    used = [value for value in graph.inputs if value.uses]
    if len(used) < len(graph.inputs):

        def make() -> Graph:
            new = like(graph)
            values = {value: new.input(value.name, value.type) for value in used}
            for value in graph.constants:
                values[value] = new.constant(value.name, value.array)
            for node in graph.nodes:
                copies = new.copy(node, [values[value] for value in node.operands], node.body)
                values.update(zip(node.outputs, copies, strict=True))
            for name, value in graph.outputs.items():
                new.output(name, values[value])
            return new

        yield make


def _smaller_sizes(graph: Graph) -> _Attempts:
    """Every axis of a size gets a smaller one, in inputs, constants and attributes."""
    sizes = {
        size for value in (*graph.inputs, *graph.constants) for size in value.type.shape if isinstance(size, int) and size > 1
    }
    for size in sorted(sizes, reverse=True):
        for smaller in dict.fromkeys((1, size // 2, size - 1)):
            if smaller < size:
                yield partial(_resized, graph, size, smaller)


def _resized(graph: Graph, size: int, smaller: int) -> Graph:
    """The graph with `smaller` for `size` wherever it stands."""

    def resize(each: Any) -> Any:
        return smaller if isinstance(each, int) and not isinstance(each, bool) and each == size else each

    def resize_op(op: Op) -> Op:
        changed = {
            item.name: tuple(map(resize, getattr(op, item.name)))
            for item in dataclasses.fields(op)
            if isinstance(getattr(op, item.name), tuple) and item.name == "shape"
        }
        return dataclasses.replace(op, **changed) if changed else op

    def build(old: Graph, new: Graph) -> Graph:
        values: dict[Value, Value] = {}
        for value in old.inputs:
            values[value] = new.input(value.name, dataclasses.replace(value.type, shape=tuple(map(resize, value.type.shape))))
        for value in old.constants:
            cut = tuple(slice(0, resize(length)) for length in value.array.shape)
            values[value] = new.constant(value.name, np.ascontiguousarray(value.array[cut]))
        for node in old.nodes:
            body = build(node.body, like(node.body)) if node.body is not None else None
            names = [value.name for value in node.outputs]
            operands = [values[value] for value in node.operands]
            results = new.add(resize_op(node.op), *operands, names=names, origin=node.origin, body=body)
            values.update(zip(node.outputs, results, strict=True))
        for name, value in old.outputs.items():
            new.output(name, values[value])
        return new

    return build(graph, like(graph))


def _simpler_constants(graph: Graph) -> _Attempts:
    for each in (graph, *(node.body for _, node in graph.walk() if node.body is not None)):
        for value in each.constants:
            if value.array.dtype.kind not in "fiu":
                continue
            for make in (np.zeros_like, np.ones_like, np.round, _one_place):
                simple = make(value.array)
                if _complexity(simple) < _complexity(value.array):
                    yield partial(_with_constant, graph, value, simple)


def _one_place(array: np.ndarray) -> np.ndarray:
    """Only the element that is the largest is kept."""
    flat = np.zeros(array.size, array.dtype)
    if array.size:
        place = int(np.abs(array).argmax())
        flat[place] = array.reshape(-1)[place]
    return flat.reshape(array.shape)


def _with_constant(graph: Graph, chosen: Value, array: np.ndarray) -> Graph:
    def build(old: Graph, new: Graph) -> Graph:
        values: dict[Value, Value] = {value: new.input(value.name, value.type) for value in old.inputs}
        for value in old.constants:
            values[value] = new.constant(value.name, array if value is chosen else value.array)
        for node in old.nodes:
            body = build(node.body, like(node.body)) if node.body is not None else None
            copies = new.copy(node, [values[value] for value in node.operands], body)
            values.update(zip(node.outputs, copies, strict=True))
        for name, value in old.outputs.items():
            new.output(name, values[value])
        return new

    return build(graph, like(graph))
