"""Rewriting to a fixed point with a worklist: only nodes whose operands or uses changed are looked at again.

A rule (`RewriteRule`) declares the ops that it replaces, so a node meets only the rules that can match it. The worklist
visits nodes in topological order, puts what a rule emits at the place of the node that it replaces, and removes what nothing
uses any more at once, so that dead nodes never count as uses. The order, and with it the result, is the same in every run.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

from snnir.errors import GraphError
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.op import Op
from snnir.ir.rewrite import Rewriter, copy_constants, like

__all__ = ["RewriteRule", "pattern", "rewrite"]

Replacement = Value | tuple[Value, ...] | None
"""What stands for the results of a node: a value for the only one, or one for each; None where the rule does not apply."""

_A = TypeVar("_A", bound=Op)
_B = TypeVar("_B", bound=Op)
_Apply = Callable[[Rewriter, Node, _A, tuple[Value, ...]], Replacement]


@dataclass(frozen=True)
class RewriteRule:
    """A rule: which nodes it looks at, and what it makes of them."""

    name: str
    """In words, as `--timing` counts it."""
    ops: tuple[type[Op], ...]
    """The classes of ops that it replaces, subclasses included."""
    after: tuple[type[Op], ...]
    """The classes of which one must have made operand 0; empty where anything may."""
    reach: int
    """How many producers back it looks: a node is visited again when one of so many before it changed."""
    apply: _Apply[Op]

    def matches(self, node: Node) -> bool:
        """Whether the ops of `node` and of the producer of its operand 0 are those of the rule."""
        if not isinstance(node.op, self.ops):
            return False
        producer = node.operands[0].producer if node.operands else None
        return not self.after or (producer is not None and isinstance(producer.op, self.after))


@overload
def pattern(op: type[_A], /, *, after: tuple[type[Op], ...] = (), reach: int = 1) -> Callable[[_Apply[_A]], RewriteRule]: ...


@overload
def pattern(
    op: type[_A], other: type[_B], /, *, after: tuple[type[Op], ...] = (), reach: int = 1
) -> Callable[[_Apply[_A | _B]], RewriteRule]: ...


def pattern(*ops: type[Op], after: tuple[type[Op], ...] = (), reach: int = 1) -> Callable[..., RewriteRule]:
    """Decorator: make a rule of a function `(rewriter, node, op, operands)`, named after the function.

    The function gives what stands for the node's results, or None. It takes an op of the classes `ops` only.
    """

    def declare(apply: Callable[..., Replacement]) -> RewriteRule:
        name = apply.__name__.strip("_").replace("_", " ")
        return RewriteRule(name, ops, after, reach, apply)

    return declare


def rewrite(graph: Graph, rules: Sequence[RewriteRule], hits: Counter[str] | None = None) -> tuple[Graph, bool]:
    """The graph, bodies included, on which no rule applies any more, and whether one ever did.

    Of several rules that match, the first applies. `hits` counts the nodes that each rule replaced. Raises `GraphError` for
    rules that go on for ever.
    """
    hits = Counter() if hits is None else hits
    worklist = _Worklist(graph, rules, hits)
    worklist.run()
    return (worklist.finished(), True) if worklist.changed else (graph, False)


_Place = tuple[int, ...]
"""Where a node stands: in front of every longer tuple that it begins, and so in the place of the node it replaces."""

_MOST = 100
"""Replacements for each node of the graph from which on rules are taken to go on for ever."""


class _WorkGraph(Graph):
    """A graph whose nodes are replaced in place. Names need not be unique before it is finished."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph.name, graph.level, graph.after, graph.notes)
        self._owned: set[Value] = set()

    def _enter(self, value: Value, name: str) -> Value:
        value.name = name
        self._owned.add(value)
        return value

    def owns(self, value: Value) -> bool:
        return value in self._owned

    def take_over(self, node: Node, operands: tuple[Value, ...]) -> Node:
        """Enter a copy of another graph's node; its results have the same types."""
        new = Node(node.op, operands, node.origin, node.body)
        self._append(new, [value.type for value in node.outputs], [value.name for value in node.outputs])
        return new

    def redirect(self, old: Value, new: Value) -> list[Node]:
        """Let every user of `old` take `new`; gives the nodes among them."""
        users = old.users
        for user, position in old.uses:
            if user is None:
                self._outputs[list(self._outputs)[position]] = new
            else:
                user.operands = (*user.operands[:position], new, *user.operands[position + 1 :])
            new.uses.append((user, position))
        old.uses = []
        return users


class _WorkRewriter(Rewriter):
    """What rules emit with. Bodies are settled when the worklist comes to their nodes, not while rules copy them."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph, lambda rewriter, node, operands: None)

    def copy(self, node: Node, operands: Sequence[Value], op: Op | None = None) -> tuple[Value, ...]:
        names = [value.name for value in node.outputs]
        return self.graph.add(op or node.op, *operands, names=names, origin=node.origin, body=node.body)


class _Worklist:
    """One graph on its way to the fixed point."""

    def __init__(self, graph: Graph, rules: Sequence[RewriteRule], hits: Counter[str]) -> None:
        self.source, self.rules, self.hits = graph, rules, hits
        self.graph = _WorkGraph(graph)
        self.rewriter = _WorkRewriter(self.graph)
        self.changed = False
        self.reach = max((rule.reach for rule in rules), default=1)
        self.rules_of: dict[type[Op], list[RewriteRule]] = {}
        self.places: dict[Node, _Place] = {}
        """The nodes that are alive."""
        self.waiting: dict[_Place, Node] = {}
        self.heap: list[_Place] = []
        self.settled: set[int] = set()
        """Bodies on which no rule applies any more, by identity."""
        self._copy(graph)

    def _copy(self, graph: Graph) -> None:
        """Take over all that an output depends on, and the inputs."""
        live = set(graph.outputs.values())
        for node in reversed(graph.nodes):
            if any(value in live for value in node.outputs):
                live.update(node.operands)
        values = {value: self.graph.input(value.name, value.type) for value in graph.inputs}
        copy_constants(graph, self.graph, values)
        for index, node in enumerate(graph.nodes):
            if any(value in live for value in node.outputs):
                new = self.graph.take_over(node, tuple(values[value] for value in node.operands))
                values.update(zip(node.outputs, new.outputs, strict=True))
                self._enter(new, (index,))
        for name, value in graph.outputs.items():
            self.graph.output(name, values[value])

    def _enter(self, node: Node, place: _Place) -> None:
        self.places[node] = place
        self._visit(node)

    def _visit(self, node: Node) -> None:
        """Let the worklist come to `node`, where a rule might match it."""
        place = self.places.get(node)
        if place is not None and place not in self.waiting and (node.body is not None or self._rules(node)):
            self.waiting[place] = node
            heapq.heappush(self.heap, place)

    def _rules(self, node: Node) -> list[RewriteRule]:
        kind = type(node.op)
        if kind not in self.rules_of:
            self.rules_of[kind] = [rule for rule in self.rules if issubclass(kind, rule.ops)]
        return self.rules_of[kind]

    def run(self) -> None:
        """Visit nodes until none waits."""
        left = _MOST * (len(self.places) + 100)
        while self.heap:
            node = self.waiting.pop(heapq.heappop(self.heap))
            if node in self.places and self._apply(node):
                self.changed = True
                left -= 1
                if left < 0:
                    raise GraphError(f"{node.describe()}: rewriting does not end; the last rule was {self.rewriter.applied!r}")

    def _apply(self, node: Node) -> bool:
        """Apply the first rule that replaces `node`, or settle its body; says whether anything changed."""
        changed = node.body is not None and self._settle(node, node.body)
        first = len(self.graph.nodes)
        for rule in self._rules(node):
            if not rule.matches(node):
                continue
            self.rewriter.node, self.rewriter.applied = node, rule.name
            results = rule.apply(self.rewriter, node, node.op, node.operands)
            if results is not None:
                self.hits[rule.name] += 1
                self._replace(node, results if isinstance(results, tuple) else (results,), first)
                return True
            for made in reversed(self.graph.nodes[first:]):
                self._detach(made)
            del self.graph.nodes[first:]
        return changed

    def _settle(self, node: Node, body: Graph) -> bool:
        if id(body) in self.settled:
            return False
        node.body, changed = rewrite(body, self.rules, self.hits)
        self.settled.add(id(node.body))
        return changed

    def _replace(self, node: Node, results: tuple[Value, ...], first: int) -> None:
        """Let `results`, made by the nodes from `first` on, stand for those of `node`."""
        place = self.places[node]
        made = self.graph.nodes[first:]
        for index, new in enumerate(made):
            self._enter(new, (*place, index))
        for old, value in zip(node.outputs, results, strict=True):
            users = self.graph.redirect(old, value)
            if old.type != value.type:
                self._infer(users)
            for user in users:
                self._visit_from(user)
        for dead in (node, *reversed(made)):
            self._remove_dead(dead)

    def _infer(self, nodes: Sequence[Node]) -> None:
        """Type nodes anew whose operands have other types than before, and what follows on them, in order."""
        pending = {self.places[node]: node for node in nodes}
        while pending:
            node = pending.pop(min(pending))
            types = node.op.body_types([value.type for value in node.operands], node.body)
            for value, type_ in zip(node.outputs, types, strict=True):
                if value.type != type_:
                    value.type = type_
                    pending.update({self.places[user]: user for user in value.users})

    def _visit_from(self, node: Node) -> None:
        """Visit `node`, and what is so near behind it that a rule looks at it from there."""
        near = {node: None}
        for _ in range(self.reach):
            for each in near:
                self._visit(each)
            near = {user: None for each in near for value in each.outputs for user in value.users}

    def _detach(self, node: Node) -> None:
        for position, value in enumerate(node.operands):
            value.uses.remove((node, position))

    def _remove_dead(self, node: Node) -> None:
        """Remove `node` where nothing uses it, and then what only it used."""
        pending = [node]
        while pending:
            dead = pending.pop()
            if dead not in self.places or any(value.uses for value in dead.outputs):
                continue
            del self.places[dead]
            self._detach(dead)
            for value in dict.fromkeys(dead.operands):
                if value.producer is None:
                    continue
                pending.append(value.producer)
                if len(value.uses) == 1:  # who takes it alone may have waited for that
                    for user in value.users:
                        self._visit_from(user)

    def finished(self) -> Graph:
        """The settled graph, with unique names and only what an output depends on."""
        new = like(self.source)
        values = {value: new.input(value.name, value.type) for value in self.graph.inputs}
        for value in self.graph.constants:
            if value.uses:
                values[value] = new.constant(value.name, value.array)
                values[value].digest_ = value.digest_
        for node in sorted(self.places, key=self.places.__getitem__):
            copies = new.copy(node, [values[value] for value in node.operands], node.body)
            values.update(zip(node.outputs, copies, strict=True))
        for name, value in self.graph.outputs.items():
            new.output(name, values[value])
        return new
