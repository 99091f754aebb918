"""The proof that the steps of a recurrence are the same computation.

The graph holds no two nodes that compute the same: then a computation is a key (op and operands), and whether a step is
the pattern is a look-up for each of its nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from snnir.ir import BATCH, Dim, Graph, Node, TensorType, Value
from snnir.ir.execute import apply
from snnir.ir.ops import Add, Mul
from snnir.ir.types import DTYPES
from snnir.passes.rolling.elements import Table, element_of, sequences
from snnir.passes.rolling.pattern import Steps, Unrolled

__all__ = ["LEAST_STEPS", "find_unrolled"]

LEAST_STEPS = 4
"""Fewer steps than this stay as they are: one step is the pattern, and its neighbours on both sides tell what it is."""
_MOST_TRIED = 64


def find_unrolled(graph: Graph, table: Table) -> Unrolled | None:
    """The first recurrence that can be proven, longest sequences first; None where there is none."""
    known = sequences(graph, LEAST_STEPS)
    for source, axis, indices in known[:_MOST_TRIED]:
        alone = {(source, axis)}
        alike = {(other, place) for other, place, taken in known if taken == indices}
        for along in (alone, alike) if alike != alone else (alone,):  # alone first: loops that share nothing stay two
            for slope in (1, -1):
                found = _Proof(graph, table, along, indices, slope).find()
                if found is not None:
                    return found
    return None


class _Proof(Steps):
    """The search along sequences that go alike, in one direction."""

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

    def _element(self, found: Unrolled, leaf: Value, step: int) -> Value | None:
        element = element_of(leaf)
        assert element is not None
        index = element.index + found.sequences[leaf] * (step - found.step)
        results = self.table.get((element.source, element.axis, index, element.kept))
        return results[0] if results else None

    def _in_range(self, found: Unrolled, leaf: Value, step: int) -> bool:
        element = element_of(leaf)
        assert element is not None
        size = element.source.type.shape[element.axis]
        return isinstance(size, int) and 0 <= element.index + found.sequences[leaf] * (step - found.step) < size

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
        if not bound.keys() >= set(found.states):
            return None  # a step that does not take what the step before gives is none of a recurrence
        before = [bound[state] for state in found.states]
        return before if not step or _types(before) == _types(states) else None

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
        if not all(self._in_range(found, leaf, step) for leaf in found.sequences for step in (found.first, found.last)):
            return False
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
        found.nodes = list(core)
        inside = {value for node in nodes for value in node.outputs}
        for node in nodes[len(core) :]:
            if node in extra and not any(value in inside and value.producer not in found.nodes for value in node.operands):
                found.nodes.append(node)
        for step, bound in enumerate(steps, found.first):
            for node in found.nodes:
                for mine in node.outputs:
                    pair = bound[mine]
                    if pair is not None and pair[1] and self._level(pair[0]) >= found.first and pair[0].type == mine.type:
                        found.places.setdefault(pair[0], (step, mine))
        return None not in states or not self._differs(found)

    def _differs(self, found: Unrolled) -> bool:
        """Whether the last step, where it lacks a state, computes something else from what it has in common."""

        def leaves(value: Value) -> bool:
            return any(user is None or user.outputs[0] not in found.places for user, _ in value.uses)

        return any(
            step == found.last and mine not in found.next_states and leaves(value) and not leaves(mine)
            for value, (step, mine) in found.places.items()
        )

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
                self._level(value) == -1 and not self._is_leaf(value) for value in shared
            ):
                after.append(node)
                inside.update(node.outputs)
        return after


def _types(values: Sequence[Value]) -> list[TensorType]:
    return [value.type for value in values]


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
