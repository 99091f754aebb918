"""The pattern of a recurrence: the nodes of one step, its states and its elements, proposed for `proof.py` to prove."""

from __future__ import annotations

from dataclasses import dataclass, field

from snnir.ir import Graph, Node, Value
from snnir.ir.ops import Add, Div, Linear, MatMul, Movement, Mul, Sub
from snnir.passes.rolling.elements import Table, element_of

__all__ = ["Steps", "Unrolled"]

_MOST_ROUNDS = 3


@dataclass
class Unrolled:
    """Steps `first..last` of one recurrence, proven to compute the same.

    The step that the others were compared with stands for all: `nodes`, which take the values `states` of the step
    before, one element of each of `sequences` (the value at this step, and whether the index grows or falls from step to
    step), and else only values that all steps share.
    """

    nodes: list[Node]
    states: list[Value]
    next_states: list[Value]
    sequences: dict[Value, int]
    step: int = 0
    """Which step `nodes` are."""
    first: int = 0
    last: int = 0
    initial: list[Value] = field(default_factory=list)
    """What the states start from; constants may be ones that the graph lacks."""
    level: dict[Node, int] = field(default_factory=dict)
    """The last step that each node depends on; -1 for none."""
    places: dict[Value, tuple[int, Value]] = field(default_factory=dict)
    """Values of all steps: the step, and which value of `nodes` they are there."""


class Steps:
    """Nodes by the last step that they depend on, along sequences that go together, in one direction.

    Step p takes element p, or the p-th from the end.
    """

    def __init__(self, graph: Graph, table: Table, along: set[tuple[Value, int]], indices: range, slope: int) -> None:
        self.table, self.count, self.slope = table, len(indices), slope
        start = indices[0] if slope == 1 else indices[-1]
        self.order = {node: place for place, node in enumerate(graph.nodes)}
        self.constants = {value.digest: value for value in graph.constants}
        self.level: dict[Node, int] = {}
        self.at: list[list[Node]] = [[] for _ in indices]
        for node in graph.nodes:
            element = element_of(node.outputs[0])
            if element is not None and (element.source, element.axis) in along and self._level(element.source) < 0:
                self.level[node] = (element.index - start) * slope
                continue
            level = self.level[node] = max((self._level(value) for value in node.operands), default=-1)
            if level >= 0:
                self.at[level].append(node)
        self.colours: dict[tuple[object, ...], int] = {}

    def _level(self, value: Value) -> int:
        return -1 if value.producer is None else self.level[value.producer]

    def _is_leaf(self, value: Value) -> bool:
        """Whether `value` is an element of a sequence that is known before the steps."""
        element = element_of(value)
        return element is not None and self._level(element.source) < 0

    def _states(self, step: int) -> list[Value]:
        """What the step after `step` takes from it, or what that is an affine function of.

        `U h` is computed before the next element is looked at, but the state is h: that is what neurons hold.
        """
        if step < 0:
            return []
        states = dict.fromkeys(
            value for node in self.at[step] for value in node.outputs if any(self._at(user, step + 1) for user in value.users)
        )
        moved: set[Node] = set()
        changed = True
        while changed:
            changed = False
            for value in list(states):
                node = value.node
                inner = [operand for operand in node.operands if self._level(operand) >= 0]
                if len(inner) != 1 or not isinstance(node.op, (MatMul, Linear, Add, Sub, Mul, Div, Movement)):
                    continue
                if self._is_leaf(inner[0]) or any(
                    user is None or not (self._at(user, step + 1) or user in moved) for user, _ in value.uses
                ):
                    continue
                moved.add(node)
                del states[value]
                states[inner[0]] = None
                changed = True
        return list(states)

    def _at(self, node: Node, step: int) -> bool:
        return self.level[node] == step

    def _body(self, step: int) -> tuple[list[Node], list[Value], list[Value]] | None:
        """Nodes of a step in order, the states it takes and those it gives; None where more than states links steps."""
        before, after = self._states(step - 1), self._states(step)
        taken, nodes = set(before), set()
        stack = list(after)
        while stack:
            value = stack.pop()
            node = value.producer
            if value in taken or node is None or self._is_leaf(value) or node in nodes or self._level(value) < 0:
                continue
            if self._level(value) < step - 1 or node.body is not None:
                return None
            nodes.add(node)
            stack.extend(node.operands)
        return sorted(nodes, key=self.order.__getitem__), before, after

    def _pattern(self, step: int) -> Unrolled | None:
        body = self._body(step)
        if body is None or not body[2] or len(body[1]) != len(body[2]):
            return None
        nodes, before, after = body
        if len(before) > 1:
            pairs = self._pair(step)
            if pairs is None:
                return None
            before = [pairs[value] for value in after]
        if step > 1 and any(a.type != b.type for a, b in zip(before, after, strict=True)):
            return None
        leaves = dict.fromkeys(operand for node in nodes for operand in node.operands if self._is_leaf(operand))
        if any(leaf.producer is not None and leaf.producer.operands[0].type.rank < 2 for leaf in leaves):
            return None  # the scan needs an axis for the batch before the steps
        sequences = {leaf: self.slope if self._level(leaf) >= 0 else 0 for leaf in leaves}
        return Unrolled(nodes, before, after, sequences)

    def _pair(self, step: int) -> dict[Value, Value] | None:
        """Which state before `step` is which one after it: the one that is computed in the same way."""
        for rounds in range(min(_MOST_ROUNDS, step)):
            before, after = self._colour(step - 1, rounds), self._colour(step, rounds)
            if before is None or after is None or set(before.values()) != set(after.values()):
                return None
            by_colour = {colour: value for value, colour in before.items()}
            if len(by_colour) == len(before):
                return {value: by_colour[colour] for value, colour in after.items()}
        return None

    def _colour(self, step: int, rounds: int) -> dict[Value, int] | None:
        """A number for each state after `step`, the same for the same computation, `rounds` steps further back."""
        body = self._body(step)
        deeper = self._colour(step - 1, rounds - 1) if rounds else {}
        if body is None or deeper is None:
            return None
        nodes, before, after = body
        colours: dict[Value, object] = {value: deeper.get(value, "state") for value in before}

        def colour(value: Value) -> object:
            element = element_of(value)
            if value in colours or element is None or not self._is_leaf(value):
                return colours.get(value, value)
            return (element.source, element.axis, element.kept, self._level(value) - step if self._level(value) >= 0 else None)

        for node in nodes:
            key = (node.op, *(colour(operand) for operand in node.operands))
            number = self.colours.setdefault(key, len(self.colours))
            for value in node.outputs:
                colours[value] = (number, value.index)
        return {value: self.colours.setdefault(("state", colours[value]), len(self.colours)) for value in after}
