"""The graph in which one recurrence is a scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snnir.ir import Graph, Node, TensorType, Value
from snnir.ir.ops import Add, Concat, Div, Expand, Gather, Linear, MatMul, Mul, Reshape, Scan, Slice, Sub, Transpose
from snnir.ir.rewrite import copy_constants, like
from snnir.passes.rolling.elements import element_of
from snnir.passes.rolling.pattern import Unrolled

__all__ = ["rolled"]


def rolled(graph: Graph, found: Unrolled) -> Graph:
    """`graph` with the steps that `found` proves the same written as one scan; what nothing takes any more is left in it."""
    return _Roll(graph, found).graph()


class _Roll:
    """The graph with one recurrence rolled; in the scan, the batch is axis 0 of all values and steps are axis 1."""

    def __init__(self, old: Graph, found: Unrolled) -> None:
        self.old, self.found, self.new = old, found, like(old)
        self.values: dict[Value, Value] = {}
        elements = [element_of(leaf) for leaf, slope in found.sequences.items() if slope]
        self.sources = [element for element in elements if element is not None]
        batched = any(value.type.batch_axis is not None for value in (*found.states, *(e.source for e in self.sources)))
        self.axis = 1 if batched else 0
        self.reverse = all(slope != 1 for slope in found.sequences.values())
        self.inside: set[Node] = set()
        self.stacked: dict[Value, Value] = {}
        self.final: dict[Value, Value] = {}

    def graph(self) -> Graph:
        """What comes before the steps, the scan, and what comes after, each in the old order."""
        old, new, found = self.old, self.new, self.found
        self.values.update((value, new.input(value.name, value.type)) for value in old.inputs)
        copy_constants(old, new, self.values)
        inside = self.inside = {
            node
            for value in found.places
            if (node := value.producer) is not None and all(output in found.places for output in node.outputs)
        }
        outside = [node for node in old.nodes if node not in inside]
        for node in outside:
            if found.level[node] < found.first:
                self._copy(node)
        taken = [value for node in outside for value in node.operands] + list(old.outputs.values())
        self._scan([value for value in dict.fromkeys(taken) if value in found.places])
        for node in outside:
            if found.level[node] >= found.first:
                self._copy(node)
        for name, value in old.outputs.items():
            new.output(name, self._get(value))
        return new

    def _copy(self, node: Node) -> None:
        if isinstance(node.op, Concat):
            operands = self._joined(node, node.op.axis)
        else:
            operands = [self._get(value) for value in node.operands]
        names = [value.name for value in node.outputs]
        if isinstance(node.op, Concat) and len(operands) == 1:
            self.values[node.output] = operands[0]
            return
        results = self.new.add(node.op, *operands, names=names, origin=node.origin, body=node.body)
        self.values.update(zip(node.outputs, results, strict=True))

    # The scan

    def _scan(self, taken: Sequence[Value]) -> None:
        """Add the scan, with a sequence for each value of a step that something takes at more than the last step."""
        found, new = self.found, self.new
        steps: dict[Value, set[int]] = {}
        for value in taken:
            step, mine = found.places[value]
            steps.setdefault(mine, set()).add(step)
        last = [mine for mine in found.next_states if steps.get(mine) == {found.last}]
        stacked = [mine for mine in steps if mine not in last]
        origin = tuple(found.next_states[0].producer.origin) if found.next_states[0].producer else ()
        body = Graph(f"{found.next_states[0].name}.body")
        inner: dict[Value, Value] = {}
        operands: list[Value] = []
        for value, initial in zip(found.states, found.initial, strict=True):
            entry = body.input(f"{value.name}.state", _moved(value.type, self._front(value.type)))
            inner[value] = _back(body, entry, self._front(value.type), value.name)
            operands.append(self._initial(initial, value.type))
        entered: dict[tuple[Value, int, int, int], Value] = {}
        sequences: dict[tuple[Value, int, int, int], Value] = {}
        for leaf, slope in found.sequences.items():
            element = element_of(leaf)
            assert element is not None
            if not slope:
                continue
            start = element.index + slope * (found.first - found.step)
            key = (element.source, element.axis, start, slope)
            if key not in sequences:
                source, axis, prefix = self._prefix(element.source, element.axis)
                base = (source, axis, start, slope)
                if base not in entered:
                    operands.append(self._sequence(*base))
                    type_ = operands[-1].type
                    type_ = type_.with_shape((*type_.shape[: self.axis], *type_.shape[self.axis + 1 :]))
                    front = self._front(source.type, axis)
                    front = front - 1 if front is not None and front > axis else front
                    entered[base] = _back(body, body.input(f"{leaf.name}.element", type_), front, leaf.name)
                sequences[key] = self._computed(body, entered[base], source, axis, prefix)
            inner[leaf] = _shaped(body, sequences[key], leaf)
        for value in dict.fromkeys(operand for node in found.nodes for operand in node.operands):
            if value.is_constant:
                inner[value] = body.constant(value.name, value.array)
            elif value not in inner and (value.producer is None or found.level[value.producer] == -1):
                operands.append(self._get(value))
                inner[value] = body.input(value.name, value.type)
        for node in found.nodes:
            names = [value.name for value in node.outputs]
            results = body.add(node.op, *(inner[value] for value in node.operands), names=names, origin=node.origin)
            inner.update(zip(node.outputs, results, strict=True))
        given = [*found.next_states, *stacked]
        fronted = {value: _fronted(body, inner[value], self._front(value.type)) for value in given}
        for place, value in enumerate(given):
            body.output(f"{'next' if place < len(found.next_states) else 'element'}_{value.name}", fronted[value])
        scan = Scan(len(found.states), len(entered), self.axis, self.reverse)
        names = [f"{value.name}.last" for value in found.next_states] + [f"{value.name}.steps" for value in stacked]
        results = new.add(scan, *operands, names=names, origin=origin, body=body)
        self.stacked = dict(zip(stacked, results[len(found.states) :], strict=True))
        for value, result in zip(found.next_states, results, strict=False):
            self.final[value] = result

    def _front(self, type_: TensorType, without: int | None = None) -> int | None:
        """Which axis goes to the front: the batch, or any one before which steps can stand; None without a batch."""
        if not self.axis:
            return None
        axes = [axis for axis in range(type_.rank) if axis != without]
        return type_.batch_axis if type_.batch_axis in axes else axes[0] if axes else None

    def _prefix(self, source: Value, axis: int) -> tuple[Value, int, list[Node]]:
        """The sequence that `source` is an affine function of, element by element, and the nodes on the way.

        They go into the body, so that a sum meets the sum of the states before there are neurons.
        """
        prefix: list[Node] = []
        affine: tuple[Value, int, list[Node]] = (source, axis, [])
        while (node := source.producer) is not None and all(self._only_steps(user, bool(prefix)) for user, _ in source.uses):
            x, op = node.operands[0], node.op
            if not all(value.is_constant for value in node.operands[1:]) or x.is_constant:
                break
            if isinstance(op, Transpose):
                axis = op.perm[axis]
            elif isinstance(op, MatMul | Linear):
                if axis == x.type.rank - 1 or x.type.rank != node.output.type.rank or node.operands[1].type.rank != 2:
                    break
            elif isinstance(op, Add | Sub | Mul | Div):
                place = node.operands[1].type.rank - x.type.rank + axis
                if x.type.shape != node.output.type.shape or (place >= 0 and node.operands[1].type.shape[place] != 1):
                    break
            else:
                break
            prefix.insert(0, node)
            source = x
            if not isinstance(op, Transpose):
                affine = (source, axis, list(prefix))
        return affine

    def _only_steps(self, user: Node | None, inner: bool) -> bool:
        """Whether `user` is the prefix itself, or an element that only the steps take."""
        if user is None:
            return False
        if inner:
            return len(user.operands[0].uses) == 1
        if element_of(user.outputs[0]) is not None:
            return all(node in self.inside for node, _ in user.outputs[0].uses)
        return isinstance(user.op, Slice) and all(self._only_steps(node, False) for node, _ in user.outputs[0].uses)

    def _computed(self, body: Graph, value: Value, source: Value, axis: int, prefix: Sequence[Node]) -> Value:
        """What `prefix` makes of an element of `source`."""
        if not prefix:
            return value
        shape = source.type.shape
        value = body.add1(Reshape((*shape[:axis], 1, *shape[axis + 1 :])), value, name=f"{value.name}.kept")
        for node in prefix:
            constants = [body.constant(each.name, each.array) for each in node.operands[1:]]
            value = body.add1(node.op, value, *constants, name=node.output.name, origin=node.origin)
        return value

    def _initial(self, value: Value, state: TensorType) -> Value:
        producer = value.producer
        if producer is not None and isinstance(producer.op, Expand) and producer.operands[0].is_constant:
            array = producer.operands[0].array
            value = Graph("constant").constant(value.name, array.reshape((1,) * (value.type.rank - array.ndim) + array.shape))
        front = self._front(state)
        if value.is_constant:
            perm = _permutation(value.type.rank, front)
            return self.new.constant(value.name, np.ascontiguousarray(value.array.transpose(perm)))
        return _fronted(self.new, self._get(value), front)

    def _sequence(self, source: Value, axis: int, start: int, slope: int) -> Value:
        """The elements that the steps take, from the lowest to the highest, steps along axis 0 or 1."""
        count = self.found.last - self.found.first + 1
        low = min(start, start + slope * (count - 1))
        value, name = self._get(source), source.name
        front = self._front(source.type, axis)
        perm = (*(() if front is None else (front,)), axis, *(a for a in range(value.type.rank) if a not in (front, axis)))
        if perm != tuple(range(value.type.rank)):
            value = self.new.add1(Transpose(perm), value, name=f"{name}.steps")
        if value.type.shape[self.axis] != count:
            value = self.new.add1(Slice(self.axis, low, low + count), value, name=f"{name}.cut")
        if (slope == -1) != self.reverse:
            value = self.new.add1(Slice(self.axis, None, None, -1), value, name=f"{name}.turned")
        return value

    # What takes values of the steps

    def _index(self, step: int) -> int:
        """Where a step stands in the sequences that the scan gives."""
        return self.found.last - step if self.reverse else step - self.found.first

    def _get(self, value: Value) -> Value:
        """What stands for an old value in the new graph."""
        if value not in self.values:
            step, mine = self.found.places[value]
            front = self._front(mine.type)
            if mine in self.stacked:
                cut = self.new.add1(Gather(self.axis, (self._index(step),)), self.stacked[mine], name=f"{value.name}.cut")
            else:
                assert step == self.found.last
                cut = self.final[mine]
            self.values[value] = _back(self.new, cut, front, value.name)
        return self.values[value]

    def _joined(self, node: Node, axis: int) -> list[Value]:
        """Operands of a concatenation, runs of steps being one."""
        runs: list[list[Value]] = []
        for value in node.operands:
            run = runs[-1] if runs else []
            if run and self._follows(run, value):
                run.append(value)
            else:
                runs.append([value])
        return [self._run(run, axis, node.output.name) if len(run) > 1 else self._get(run[0]) for run in runs]

    def _follows(self, run: Sequence[Value], value: Value) -> bool:
        places = self.found.places
        if run[-1] not in places or value not in places or places[run[-1]][1] not in self.stacked:
            return False
        (before, mine), (step, other) = places[run[-1]], places[value]
        slope = step - before
        return mine is other and abs(slope) == 1 and (len(run) == 1 or before - places[run[-2]][0] == slope)

    def _run(self, run: Sequence[Value], axis: int, name: str) -> Value:
        """The concatenation of consecutive steps along `axis` of their values."""
        places = [self._index(self.found.places[value][0]) for value in run]
        mine = self.found.places[run[0]][1]
        value = self.stacked[mine]
        if places[0] > places[-1]:
            stop = places[-1] - 1
            value = self.new.add1(Slice(self.axis, places[0], None if stop < 0 else stop, -1), value, name=f"{name}.turned")
        elif len(places) != value.type.shape[self.axis]:
            value = self.new.add1(Slice(self.axis, places[0], places[-1] + 1), value, name=f"{name}.cut")
        axes: list[int] = list(_permutation(mine.type.rank, self._front(mine.type)))
        axes.insert(self.axis, -1)
        wanted = [*range(axis), -1, *range(axis, mine.type.rank)]
        perm = tuple(axes.index(each) for each in wanted)
        if perm != tuple(range(len(perm))):
            value = self.new.add1(Transpose(perm), value, name=f"{name}.steps")
        shape = mine.type.shape
        joined = (*shape[:axis], shape[axis] * len(run), *shape[axis + 1 :])
        return self.new.add1(Reshape(joined), value, name=name)


def _permutation(rank: int, front: int | None) -> tuple[int, ...]:
    return tuple(range(rank)) if not front else (front, *(axis for axis in range(rank) if axis != front))


def _moved(type_: TensorType, front: int | None) -> TensorType:
    return type_.with_shape(tuple(type_.shape[axis] for axis in _permutation(type_.rank, front)))


def _shaped(graph: Graph, value: Value, like: Value) -> Value:
    """`value` in the shape of `like`, which holds the same elements in the same order."""
    return value if value.type == like.type else graph.add1(Reshape(like.type.shape), value, name=like.name)


def _fronted(graph: Graph, value: Value, front: int | None) -> Value:
    """`value` with axis `front` first."""
    return graph.add1(Transpose(_permutation(value.type.rank, front)), value, name=f"{value.name}.front") if front else value


def _back(graph: Graph, value: Value, front: int | None, name: str) -> Value:
    """`value` with its first axis back at `front`."""
    if not front:
        return value
    return graph.add1(Transpose(tuple(np.argsort(_permutation(value.type.rank, front)).tolist())), value, name=name)
