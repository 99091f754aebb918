"""Functions: their bodies become microcode, and the sums that they take accumulators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snnir.errors import UnsupportedError
from snnir.ir import ops
from snnir.ir.dims import BATCH
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.op import Op as GraphOp
from snnir.machine.addresses import IndexMap, spread
from snnir.machine.host import concrete_shape
from snnir.machine.lowering.context import Lowering, lowers
from snnir.machine.lowering.summing import sums_of
from snnir.machine.microcode import Step
from snnir.machine.program import Accumulator, Difference, Function, RunningSum, Synapse, Train, trains_of
from snnir.machine.synapses import currents

__all__ = ["KINDS", "STEPS"]

KINDS: dict[type[GraphOp], str] = {
    ops.IntAdd: "add",
    ops.IntSub: "sub",
    ops.IntMul: "mul",
    ops.IntFloorDiv: "floor_div",
    ops.IntLeast: "least",
    ops.IntMost: "most",
    ops.IntShiftLeft: "shift_left",
    ops.IntShiftRight: "shift_right",
    ops.IntAnd: "and",
    ops.IntSqrt: "sqrt",
    ops.IntBitLength: "bit_length",
}
"""The kinds of steps of microcode that compute element by element, by the integer op that becomes one."""

STEPS = frozenset({*KINDS, ops.IntTable, ops.IntReduce})
"""Integer ops that steps of microcode compute, data movement aside."""


@lowers(ops.Accumulate)
def accumulate(work: Lowering, node: Node) -> None:
    """A sum that functions take is known by its name."""
    value = node.output
    shape = work.sample(value)
    synapses, initial, initial_map = sums_of(work, node, shape)
    name = work.name(value.name)
    work.accumulators[value] = name
    if any(user.op.difference for user in value.users if isinstance(user.op, ops.Function)):
        low, high = _reached(work, synapses, initial)
        train = work.trains[value] = Train(name, shape, low, high, 1.0)
        work.add(RunningSum(train, synapses, initial, initial_map))
    else:
        work.add(Accumulator(Train(name, shape, 0, 0, 1.0), synapses, initial, initial_map))


def _reached(work: Lowering, synapses: Sequence[Synapse], initial: np.ndarray) -> tuple[int, int]:
    """The interval of a sum of levels anywhere in their ranges, 0 included."""
    known = {train.name: train for op in work.ops for train in trains_of(op)}
    known.update({train.name: train for train in work.trains.values()})
    low, high = int(initial.min(initial=0)), int(initial.max(initial=0))
    for synapse in synapses:
        weights, source = synapse.expanded(), known[synapse.source]
        ends = np.array([[source.lo], [source.hi]], np.int64) * np.ones(source.size, np.int64)
        up, down = np.maximum(weights, 0), np.minimum(weights, 0)
        least, most = currents(synapse, ends, up) + currents(synapse, ends[::-1], down)
        low, high = low + int(least.min(initial=0)), high + int(most.max(initial=0))
    return low, high


@lowers(ops.Function)
def function(work: Lowering, node: Node) -> None:
    """One emitter for each result, with the steps that it needs."""
    body = node.inner
    assert isinstance(node.op, ops.Function)
    if node.op.difference:
        _difference(work, node)
        return
    names, sums, shapes = [], [], []
    for value in node.operands:
        sums.append(value in work.accumulators)
        names.append(work.accumulators[value] if value in work.accumulators else work.source(value).name)
        shapes.append(work.sample(value))
    code = _Microcode(work, body, shapes)
    phases = work.phases
    start = 0 if phases is None else phases.of[node.outputs[0]].first
    segment = 0 if phases is not None else 1 + max((work.segments.get(name, 0) for name in names), default=0)
    for value, result in zip(node.outputs, body.outputs.values(), strict=True):
        shape = work.sample(value)
        steps = code.of(result, shape)
        used = _used(steps, len(names))
        renamed = _renumbered(steps, used, len(names))
        train = work.root(value, shape)
        work.encoded.add(value)
        given = tuple(names[index] for index in used), tuple(sums[index] for index in used)
        work.add(Function(train, start, segment, *given, renamed))


def _difference(work: Lowering, node: Node) -> None:
    """One emitter for each result, which emits every change of it."""
    trains = [work.trains[value] if value in work.accumulators else work.source(value) for value in node.operands]
    names = [train.name for train in work.in_one_segment(trains)]
    code = _Microcode(work, node.inner, [work.sample(value) for value in node.operands])
    for value, result in zip(node.outputs, node.inner.outputs.values(), strict=True):
        steps = code.of(result, work.sample(value))
        used = _used(steps, len(names))
        train = work.root(value, work.sample(value))
        work.add(Difference(train, tuple(names[index] for index in used), _renumbered(steps, used, len(names))))


def _used(steps: Sequence[Step], sources: int) -> list[int]:
    """The sources that steps read; of constant functions, which read none, the first one stands for when they are known."""
    return sorted({index for step in steps for index in step.operands if index < sources}) or [0]


def _renumbered(steps: list[Step], used: list[int], sources: int) -> tuple[Step, ...]:
    """The steps where only the sources `used` come first."""
    places = {old: new for new, old in enumerate(used)}
    places.update({sources + index: len(used) + index for index in range(len(steps))})
    return tuple(
        Step(step.kind, tuple(places[index] for index in step.operands), step.maps, step.size, step.width, step.data)
        for step in steps
    )


class _Microcode:
    """The body of a function as steps for one sample; values are written when they are asked for."""

    def __init__(self, work: Lowering, body: Graph, shapes: list[tuple[int, ...]]) -> None:
        self.work, self.body = work, body
        self.known: dict[Value, np.ndarray] = {}
        self.shapes = dict(zip(body.inputs, shapes, strict=True))

    def of(self, result: Value, shape: tuple[int, ...]) -> list[Step]:
        """All that a result needs; its own step is the last."""
        self.steps: list[Step] = []
        self.registers: dict[Value, tuple[int, tuple[int, ...]]] = {
            value: (index, self.shapes[value]) for index, value in enumerate(self.body.inputs)
        }
        needed = self._needed(result)
        for node in self.body.nodes:
            if node in needed:
                self._node(node)
        register, own = self._register(result)
        if own != shape or register != len(self.body.inputs) + len(self.steps) - 1:
            self._step("join", (register,), (spread(own, shape),), shape)
        return self.steps

    def _needed(self, result: Value) -> set[Node]:
        found: set[Node] = set()
        rest = [result]
        while rest:
            made = rest.pop().producer
            if made is not None and made not in found:
                found.add(made)
                rest += made.operands
        return found

    def _step(
        self, kind: str, operands: tuple[int, ...], maps: tuple[IndexMap | None, ...], shape: tuple[int, ...], **more: object
    ) -> int:
        size = int(np.prod(shape, dtype=np.int64))
        self.steps.append(Step(kind, operands, maps, size, **more))  # type: ignore[arg-type]
        return len(self.body.inputs) + len(self.steps) - 1

    def _constant(self, value: Value) -> np.ndarray:
        if value not in self.known:
            self.known[value] = value.array
        return self.known[value]

    def _register(self, value: Value) -> tuple[int, tuple[int, ...]]:
        """The register of a value, and the shape of what it holds of one sample."""
        if value not in self.registers:
            array = self._constant(value)
            register = self._step("constant", (), (), array.shape, data=array.reshape(-1).astype(np.int64))
            self.registers[value] = register, array.shape
        return self.registers[value]

    def _node(self, node: Node) -> None:
        op, value = node.op, node.output
        if all(operand.is_constant or operand in self.known for operand in node.operands):
            arrays = [self._constant(operand) for operand in node.operands]
            (self.known[value],) = op.bind(self.work.sizes).evaluate(*arrays)
            return
        shape = concrete_shape(value.type, self.work.sizes)[1:]
        if isinstance(op, ops.Movement):
            self.registers[value] = self._move(node, shape), shape
        elif isinstance(op, ops.IntReduce):
            self.registers[value] = self._reduce(node, op), shape
        elif isinstance(op, ops.IntTable):
            register, own = self._register(node.operands[0])
            data = node.operands[1].array.astype(np.int64)
            self.registers[value] = self._step("table", (register,), (_map(own, shape),), shape, data=data), shape
        elif type(op) in KINDS:
            parts = [self._register(operand) for operand in node.operands]
            maps = tuple(_map(self._fitted(own, shape), shape) for _, own in parts)
            self.registers[value] = self._step(KINDS[type(op)], tuple(register for register, _ in parts), maps, shape), shape
        else:
            raise UnsupportedError(f"{node.describe()}: {op.name} is no step of a function")

    def _fitted(self, own: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of an operand without axes in front that its node's sample lacks: constants may have a batch of 1."""
        return own[len(own) - len(shape) :] if len(own) > len(shape) else own

    def _move(self, node: Node, shape: tuple[int, ...]) -> int:
        """Data movement by its own meaning: it is asked where every place of one sample comes from."""
        parts = [self._register(operand) for operand in node.operands]
        indices, base = [], 1
        for register_shape in (own for _, own in parts):
            count = int(np.prod(register_shape, dtype=np.int64))
            indices.append(np.arange(base, base + count).reshape(1, *register_shape))
            base += count
        (found,) = node.op.bind({**self.work.sizes, BATCH: 1}).evaluate(*indices)
        return self._step("join", tuple(register for register, _ in parts), (IndexMap.of(found[0] - 1),), shape)

    def _reduce(self, node: Node, op: ops.IntReduce) -> int:
        register, own = self._register(node.operands[0])
        axes = [axis - 1 for axis in op.axes]
        kept = [axis for axis in range(len(own)) if axis not in axes]
        index = np.arange(int(np.prod(own, dtype=np.int64))).reshape(own).transpose(*kept, *axes)
        shape = tuple(own[axis] for axis in kept)
        width = int(np.prod([own[axis] for axis in axes], dtype=np.int64))
        return self._step(op.function, (register,), (IndexMap.of(index),), shape, width=width)


def _map(own: tuple[int, ...], shape: tuple[int, ...]) -> IndexMap | None:
    return None if own == shape else spread(own, shape)
