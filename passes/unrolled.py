"""Find a recurrence that an exporter wrote out step by step, and prove that its steps are the same computation.

The graph must hold no two nodes that compute the same (`merge_duplicates`): then a computation is a key (op and operands),
and whether a step exists in the graph is a look-up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from snnir.ir import BATCH, Dim, Graph, Node, TensorType, Value
from snnir.ir.execute import apply
from snnir.ir.ops import Add, Div, Gather, Linear, MatMul, Movement, Mul, Slice, Sub
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.ir.types import DTYPES

__all__ = ["LEAST_STEPS", "Element", "Table", "Unrolled", "element_of", "find_unrolled", "merge_duplicates"]

LEAST_STEPS = 4
"""Fewer steps than this stay as they are: one step is the pattern, and its neighbours on both sides tell what it is."""
_MOST_TRIED = 64
_MOST_ROUNDS = 3

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


def element_of(value: Value) -> Element | None:
    """Which element of which sequence `value` is; None where it is anything else."""
    node = value.producer
    if node is None or not isinstance(node.op, Slice | Gather):
        return None
    op, source = node.op, node.operands[0]
    size = source.type.shape[op.axis]
    if isinstance(size, Dim) or size < 2:
        return None
    if isinstance(op, Gather):
        return Element(source, op.axis, op.indices[0] % size, bool(op.shape)) if op.shape in ((), (1,)) else None
    places = range(size)[op.start : op.stop : op.step]
    return Element(source, op.axis, places[0], True) if len(places) == 1 else None


def merge_duplicates(graph: Graph) -> tuple[Graph, Table]:
    """`graph` in which every computation and every constant stands once, and the table of its computations."""
    table: Table = {}
    constants: dict[str, Value] = {}

    def rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...]:
        operands = tuple(constants.setdefault(value.digest, value) if value.is_constant else value for value in operands)
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


def find_unrolled(graph: Graph, table: Table) -> Unrolled | None:
    """The first recurrence that can be proven, longest sequences first; None where there is none."""
    groups: dict[tuple[Value, int], set[int]] = {}
    for node in graph.nodes:
        element = element_of(node.outputs[0])
        if element is not None:
            groups.setdefault((element.source, element.axis), set()).add(element.index)
    wanted = sorted((group for group in groups.items() if len(group[1]) >= LEAST_STEPS), key=lambda group: -len(group[1]))
    for (source, axis), indices in wanted[:_MOST_TRIED]:
        if len(indices) != max(indices) - min(indices) + 1:
            continue
        for slope in (1, -1):
            found = _Search(graph, table, source, axis, min(indices), len(indices), slope).find()
            if found is not None:
                return found
    return None


class _Search:
    """The search along one sequence in one direction; step p takes element p, or the p-th from the end."""

    def __init__(self, graph: Graph, table: Table, source: Value, axis: int, start: int, count: int, slope: int) -> None:
        self.table, self.source, self.axis, self.count, self.slope = table, source, axis, count, slope
        self.start = start if slope == 1 else start + count - 1
        self.order = {node: place for place, node in enumerate(graph.nodes)}
        self.constants = {value.digest: value for value in graph.constants}
        self.level: dict[Node, int] = {}
        self.at: list[list[Node]] = [[] for _ in range(count)]
        for node in graph.nodes:
            element = element_of(node.outputs[0])
            if element is not None and element.source is source and element.axis == axis:
                self.level[node] = (element.index - self.start) * slope
                continue
            level = self.level[node] = max((self._level(value) for value in node.operands), default=-1)
            if level >= 0:
                self.at[level].append(node)
        self.colours: dict[tuple[object, ...], int] = {}

    def find(self) -> Unrolled | None:
        """Take one of the last steps as the pattern, follow it to both ends, and give back what is proven."""
        step = self.count - 3
        found = self._pattern(step)
        if found is None:
            return None
        found.step, found.last, found.level = step, self.count - 1, self.level
        states, first = found.next_states, step + 1
        while first > 0:
            before = self._backward(found, states, first - 1)
            if before is None:
                break
            states, first = before, first - 1
        found.first, found.initial = first, states
        if not self._start(found):
            return None
        return found if self._forward_all(found) else None

    def _level(self, value: Value) -> int:
        return -1 if value.producer is None else self.level[value.producer]

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
                node = value.producer
                assert node is not None
                inner = [operand for operand in node.operands if self._level(operand) >= 0]
                if len(inner) != 1 or not isinstance(node.op, (MatMul, Linear, Add, Sub, Mul, Div, Movement)):
                    continue
                if element_of(inner[0]) is not None or any(
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
            if value in taken or node is None or element_of(value) is not None or node in nodes or self._level(value) < 0:
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
        leaves = {operand for node in nodes for operand in node.operands if element_of(operand) is not None}
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
            if value in colours or element is None:
                return colours.get(value, value)
            return (element.source, element.axis, element.kept, self._level(value) - step if self._level(value) >= 0 else None)

        for node in nodes:
            key = (node.op, *(colour(operand) for operand in node.operands))
            number = self.colours.setdefault(key, len(self.colours))
            for value in node.outputs:
                colours[value] = (number, value.index)
        return {value: self.colours.setdefault(("state", colours[value]), len(self.colours)) for value in after}

    def _element(self, found: Unrolled, leaf: Value, step: int) -> Value | None:
        element = element_of(leaf)
        assert element is not None
        index = element.index + found.sequences[leaf] * (step - found.step)
        results = self.table.get((element.source, element.axis, index, element.kept))
        return results[0] if results else None

    def _backward(self, found: Unrolled, states: Sequence[Value], step: int) -> list[Value] | None:
        """The states before `step`, given those after it, if the step is the pattern; else None."""
        bound: dict[Value, Value] = {}
        inner = {value for node in found.nodes for value in node.outputs} | set(found.states)

        def bind(mine: Value, theirs: Value) -> bool:
            return bound.setdefault(mine, theirs) is theirs

        if not all(bind(mine, theirs) for mine, theirs in zip(found.next_states, states, strict=True)):
            return None
        for node in reversed(found.nodes):
            given = [(value, bound[value]) for value in node.outputs if value in bound]
            other = given[0][1].producer
            if other is None or other.op != node.op or len(other.operands) != len(node.operands):
                return None
            if any(theirs.producer is not other or theirs.index != mine.index for mine, theirs in given):
                return None
            for mine, theirs in zip(node.operands, other.operands, strict=True):
                if mine in inner:
                    if not bind(mine, theirs):
                        return None
                elif mine in found.sequences and step == found.step - 1 and not found.sequences[mine]:
                    if not self._learn(found, mine, theirs):
                        return None
                elif theirs is not (self._element(found, mine, step) if mine in found.sequences else mine):
                    return None
        return [bound[state] for state in found.states]

    def _learn(self, found: Unrolled, mine: Value, theirs: Value) -> bool:
        """Whether the index of another sequence grows, falls or stays from step to step."""
        a, b = element_of(mine), element_of(theirs)
        if a is None or b is None or (a.source, a.axis, a.kept) != (b.source, b.axis, b.kept) or abs(a.index - b.index) > 1:
            return False
        found.sequences[mine] = a.index - b.index
        return True

    def _forward(
        self, found: Unrolled, nodes: Iterable[Node], states: Sequence[Value | None], step: int
    ) -> dict[Value, tuple[Value, bool] | None]:
        """What stands for the values of the pattern at `step`, and whether a node like it computes them there."""
        bound: dict[Value, tuple[Value, bool] | None] = {}
        for mine, state in zip(found.states, states, strict=True):
            bound[mine] = None if state is None else (state, False)
        for leaf in found.sequences:
            element = self._element(found, leaf, step)
            bound[leaf] = None if element is None else (element, False)
        for node in nodes:
            operands = [bound.get(operand, (operand, False)) for operand in node.operands]
            known = [pair[0] for pair in operands if pair is not None]
            results = self._results(node, known) if len(known) == len(operands) else None
            for index, value in enumerate(node.outputs):
                bound[value] = None if results is None else (results[0][index], results[1])
        return bound

    def _results(self, node: Node, operands: Sequence[Value]) -> tuple[tuple[Value, ...], bool] | None:
        """The values that compute `node` on `operands`: found in the graph (True), or known without computing (False)."""
        if all(value.is_constant for value in operands):
            arrays = apply(node, [value.array for value in operands], {BATCH: 1})
            return tuple(self._constant(array) for array in arrays), False
        results = self.table.get((node.op, *operands))
        if results is not None:
            return results, True
        if isinstance(node.op, Add | Mul):
            for zero, other in (operands, operands[::-1]):
                if zero.is_constant and not zero.array.any():
                    if isinstance(node.op, Mul):
                        return (self._constant(_zeros(node.output.type)),), False
                    if other.type == node.output.type:
                        return (other,), False
        return None

    def _constant(self, array: np.ndarray) -> Value:
        array = np.ascontiguousarray(array)
        value = Graph("constant").constant("initial", array)
        return self.constants.get(value.digest, value)

    def _start(self, found: Unrolled) -> bool:
        """What the states start from: what the first step takes; or zeros, if those give what the steps folded away gave;
        or what step 0 gives, which then stays apart."""
        if found.first == 0 and all(
            self._level(value) == -1 and _spreads(value.type, state.type)
            for value, state in zip(found.initial, found.states, strict=True)
        ):
            return True
        zeros = [self._constant(_zeros(state.type)) for state in found.states]
        states: list[Value | None] = list(zeros)
        for step in range(found.first):
            bound = self._forward(found, found.nodes, states, step)
            states = [pair[0] if pair is not None else None for pair in map(bound.__getitem__, found.next_states)]
        if found.first and all(a is b for a, b in zip(states, found.initial, strict=True)):
            found.first, found.initial = 0, zeros
            return True
        return (
            found.first == 1
            and self.count > LEAST_STEPS
            and all(
                self._level(value) <= 0 and value.type == state.type
                for value, state in zip(found.initial, found.states, strict=True)
            )
        )

    def _forward_all(self, found: Unrolled) -> bool:
        """Whether each step up to the last one is the pattern; the last may lack states that nothing takes any more."""
        core = found.nodes
        nodes = core + self._after(found)
        extra = {node for node in nodes if node not in set(core)}
        steps = []
        states: list[Value | None] = list(found.initial)
        for step in range(found.first, found.last + 1):
            bound = self._forward(found, nodes, states, step)
            extra = {node for node in extra if (pair := bound[node.outputs[0]]) is not None and pair[1]}
            states = [pair[0] if pair is not None else None for pair in map(bound.__getitem__, found.next_states)]
            if all(state is None for state in states) or (step < found.last and any(state is None for state in states)):
                return False
            steps.append(bound)
        found.nodes = [node for node in nodes if node in extra or node in set(core)]
        for step, bound in enumerate(steps, found.first):
            for node in found.nodes:
                for mine in node.outputs:
                    pair = bound[mine]
                    if pair is not None and pair[1] and self._level(pair[0]) >= found.first and pair[0].type == mine.type:
                        found.places.setdefault(pair[0], (step, mine))
        return True

    def _after(self, found: Unrolled) -> list[Node]:
        """What else each step computes from its states: the pattern's part of it, in order."""
        inside = {value for node in found.nodes for value in node.outputs}
        given = {*found.states, *found.sequences}
        after = []
        for node in self.at[found.step]:
            if node.outputs[0] in inside or node.body is not None:
                continue
            shared = (value for value in node.operands if value not in inside and value not in given)
            if any(value in inside for value in node.operands) and all(
                self._level(value) == -1 and element_of(value) is None for value in shared
            ):
                after.append(node)
                inside.update(node.outputs)
        return after


def _zeros(type_: TensorType) -> np.ndarray:
    """Zeros for a value of any batch: one sample of them."""
    return np.zeros([1 if isinstance(size, Dim) else size for size in type_.shape], DTYPES[type_.dtype])


def _spreads(initial: TensorType, state: TensorType) -> bool:
    """Whether a value of type `initial` may start the state: as it is, or the same for all samples."""
    return (
        initial.dtype == state.dtype
        and initial.rank == state.rank
        and all(
            a == b or (a == 1 and axis == state.batch_axis)
            for axis, (a, b) in enumerate(zip(initial.shape, state.shape, strict=True))
        )
    )
