"""Elements of sequences, and a table of what a graph computes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnir.ir import Dim, Graph, Node, Value
from snnir.ir.ops import Gather, Slice
from snnir.ir.rewrite import Rewriter, rebuild

__all__ = ["Element", "Table", "element_of", "merge_duplicates"]

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
