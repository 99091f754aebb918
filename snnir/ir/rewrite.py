"""Rewriting by building anew: a rule sees each node of the old graph with its operands in the new one.

Because the new graph is built in order by `Graph.add`, order, types and uses hold at every moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from snnir.ir.graph import Graph, Node, Value
from snnir.ir.op import Op

__all__ = ["Rewriter", "Rule", "append", "copy_constants", "extend", "like", "rebuild"]


class Rewriter:
    """The new graph under construction, as a rule sees it while it replaces one node."""

    def __init__(self, graph: Graph, rule: Rule, hits: Counter[str] | None = None) -> None:
        self.graph = graph
        self.rule = rule
        self.hits: Counter[str] = Counter() if hits is None else hits
        """How many nodes were replaced, by the name of the rule, or else by the op that was replaced."""
        self.applied = ""
        """The name of the rule that is being tried, where it has one."""
        self.changed = 0
        """How many nodes the rule replaced, bodies included."""
        self.node: Node | None = None
        """The old node that is being replaced."""

    def emit(
        self, op: Op, *operands: Value, name: str = "", body: Graph | None = None, origin: tuple[str, ...] | None = None
    ) -> Value:
        """Add a node with one result; it carries the origin of the node that is being replaced, or the one given."""
        return self.emit_all(op, *operands, names=(name or op.name,), body=body, origin=origin)[0]

    def emit_all(
        self,
        op: Op,
        *operands: Value,
        names: Sequence[str] = (),
        body: Graph | None = None,
        origin: tuple[str, ...] | None = None,
    ) -> tuple[Value, ...]:
        """Add a node; it carries the origin of the node that is being replaced, or the one given."""
        if origin is None:
            origin = self.node.origin if self.node is not None else ()
        return self.graph.add(op, *operands, names=names, origin=origin, body=body)

    def constant(self, name: str, array: np.ndarray) -> Value:
        """Add a constant."""
        return self.graph.constant(name, array)

    def copy(self, node: Node, operands: Sequence[Value], op: Op | None = None) -> tuple[Value, ...]:
        """Add the old node as it is, on new operands; its body is rewritten by the same rule."""
        body = node.body
        if body is not None:
            inner = Rewriter(like(body), self.rule, self.hits)
            body = _rebuild(body, inner)
            self.changed += inner.changed
        if op is None:
            return self.graph.copy(node, operands, body)
        names = [value.name for value in node.outputs]
        return self.graph.add(op, *operands, names=names, origin=node.origin, body=body)


Rule = Callable[[Rewriter, Node, tuple[Value, ...]], tuple[Value, ...] | None]
"""Given rewriter, old node and its operands in the new graph: the values that replace its results, or None to keep it."""


def rebuild(
    graph: Graph,
    rule: Rule,
    level: str | None = None,
    hits: Counter[str] | None = None,
) -> tuple[Graph, int]:
    """A new graph in which `rule` replaced nodes (bodies included), and how many it replaced.

    `hits` counts them by the names of rules, or of ops where rules have none.
    """
    rewriter = Rewriter(like(graph, level), rule, hits)
    return _rebuild(graph, rewriter), rewriter.changed


def like(graph: Graph, level: str | None = None) -> Graph:
    """An empty graph with the name, level and notes of `graph`, and what it says of its inputs."""
    new = Graph(graph.name, level or graph.level, graph.after, graph.notes)
    new.finite, new.limits, new.groups = set(graph.finite), dict(graph.limits), dict(graph.groups)
    new.stacked = set(graph.stacked)
    return new


def copy_constants(old: Graph, new: Graph, values: dict[Value, Value]) -> None:
    """Enter every constant of `old` in `new`, under the same name where it is free, sharing array and digest."""
    for value in old.constants:
        values[value] = new.constant(value.name, value.array)
        values[value].digest_ = value.digest_


def append(new: Graph, old: Graph, values: dict[Value, Value]) -> None:
    """Append constants and nodes of `old` to `new`; `values` says what stands for `old`'s inputs, and grows."""
    copy_constants(old, new, values)
    for node in old.nodes:
        copies = new.copy(node, [values[value] for value in node.operands], node.body)
        values.update(zip(node.outputs, copies, strict=True))


def extend(new: Graph, old: Graph, values: dict[Value, Value]) -> None:
    """`append`, and the outputs of `old` become outputs of `new`."""
    append(new, old, values)
    for name, value in old.outputs.items():
        new.output(name, values[value])


def _rebuild(graph: Graph, rewriter: Rewriter) -> Graph:
    new = rewriter.graph
    values: dict[Value, Value] = {value: new.input(value.name, value.type) for value in graph.inputs}
    copy_constants(graph, new, values)
    for node in graph.nodes:
        operands = tuple(values[value] for value in node.operands)
        rewriter.node, rewriter.applied = node, ""
        results = rewriter.rule(rewriter, node, operands)
        if results is None:
            results = rewriter.copy(node, operands)
        else:
            rewriter.changed += 1
            rewriter.hits[rewriter.applied or node.op.name] += 1
        values.update(zip(node.outputs, results, strict=True))
    for name, value in graph.outputs.items():
        new.output(name, values[value])
    return new
