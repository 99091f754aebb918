"""Elements of sequences, and a table of what a graph computes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnir.ir import Dim, Graph, Node, Value
from snnir.ir.ops import Concat, Gather, Slice
from snnir.ir.rewrite import Rewriter, rebuild

__all__ = ["Element", "Table", "element_of", "join_concatenations", "merge_duplicates", "sequences"]

Table = dict[tuple[object, ...], tuple[Value, ...]]
"""Results by computation: (op, operands), or (source, axis, index, kept) for one element of a sequence."""


@dataclass(frozen=True)
class Element:
    """One element of `source` along `axis`; `kept` says whether that axis stays, with size 1."""

    source: Value
    axis: int
    index: int
    kept: bool

    @property
    def key(self) -> tuple[object, ...]:
        """Its key in a `Table`."""
        return (self.source, self.axis, self.index, self.kept)


def element_of(value: Value) -> Element | None:
    """Which element of which sequence `value` is, that sequence being no part of another; None for anything else."""
    node = value.producer
    if node is None or not isinstance(node.op, Slice | Gather):
        return None
    op, source = node.op, node.operands[0]
    size = source.type.shape[op.axis]
    if isinstance(size, Dim) or size < 2:
        return None
    if isinstance(op, Gather):
        if op.shape not in ((), (1,)):
            return None
        index = op.indices[0] % size
    else:
        places = range(size)[op.start : op.stop : op.step]
        if len(places) != 1:
            return None
        index = places[0]
    while (outer := source.producer) is not None and isinstance(outer.op, Slice) and outer.op.axis == op.axis:
        whole = outer.operands[0].type.shape[op.axis]
        if isinstance(whole, Dim):
            break
        source, index = outer.operands[0], range(whole)[outer.op.start : outer.op.stop : outer.op.step][index]
    return Element(source, op.axis, index, isinstance(op, Slice) or bool(op.shape))


def sequences(graph: Graph, least: int) -> list[tuple[Value, int, range]]:
    """Sequences of which `graph` takes `least` elements or more that follow one another, the longest first.

    Each with its axis and the indices that are taken.
    """
    groups: dict[tuple[Value, int], set[int]] = {}
    for node in graph.nodes:
        element = element_of(node.outputs[0])
        if element is not None:
            groups.setdefault((element.source, element.axis), set()).add(element.index)
    found = [(source, axis, range(min(taken), max(taken) + 1), len(taken)) for (source, axis), taken in groups.items()]
    wanted = [(source, axis, indices) for source, axis, indices, count in found if len(indices) == count >= least]
    return sorted(wanted, key=lambda sequence: -len(sequence[2]))


def join_concatenations(graph: Graph) -> Graph:
    """`graph` with concatenations of concatenations written as one: loops often collect their results piece by piece."""

    def nested(node: Node, axis: int) -> bool:
        uses = node.output.uses
        return len(uses) == 1 and (user := uses[0][0]) is not None and isinstance(user.op, Concat) and user.op.axis == axis

    def rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        if not isinstance(node.op, Concat) or nested(node, node.op.axis):
            return None
        parts: list[Value] = []
        stack = list(zip(node.operands[::-1], operands[::-1], strict=True))
        while stack:
            old, value = stack.pop()
            inner = old.producer
            if (
                inner is not None
                and isinstance(inner.op, Concat)
                and inner.op.axis == node.op.axis
                and nested(inner, node.op.axis)
            ):
                stack.extend(zip(inner.operands[::-1], value.node.operands[::-1], strict=True))
            else:
                parts.append(value)
        return (rewriter.emit(node.op, *parts, name=node.output.name),) if len(parts) > len(operands) else None

    return rebuild(graph, rule)[0]


def merge_duplicates(graph: Graph) -> tuple[Graph, Table]:
    """`graph` in which every computation and every constant stands once, and the table of its computations."""
    table: Table = {}
    constants: dict[str, Value] = {}

    def once(value: Value) -> Value:
        known = constants.setdefault(value.digest, value) if value.is_constant else value
        return known if known is value or np.array_equal(known.array, value.array) else value

    def rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...]:
        operands = tuple(once(value) for value in operands)
        key = (node.op, *operands)
        if node.body is None and key in table:
            return table[key]
        names = [value.name for value in node.outputs]
        results = rewriter.graph.add(node.op, *operands, names=names, origin=node.origin, body=node.body)
        element = element_of(results[0])
        if element is not None:
            results = table.setdefault(element.key, results)
        if node.body is None:
            table[key] = results
        return results

    new, _ = rebuild(graph, rule)
    return new, table
