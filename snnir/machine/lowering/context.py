"""What rules of the lowering share: the graph or body that is being lowered, and what is known of its values.

Movement becomes address maps (`Route`), biases of synapses join those of their populations, and everything has the size
it has for one sample. Convolutions keep their geometry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from snnir.errors import UnsupportedError
from snnir.ir import ops
from snnir.ir.execute import apply
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.op import Op as GraphOp
from snnir.ir.ops import Movement
from snnir.ir.phases import Phases
from snnir.machine.addresses import IndexMap
from snnir.machine.host import concrete_shape, fixed_values
from snnir.machine.movement import Wiring, move
from snnir.machine.program import Constant, Op, Output, Route, Settled, Train
from snnir.machine.scans import Scan as MachineScan
from snnir.machine.segments import segment_of

__all__ = ["RULES", "Lowering", "Rule", "lowers"]

Rule = Callable[["Lowering", Node], None]
"""Writes what one node of the spiking graph is at the machine level."""

RULES: dict[type[GraphOp], Rule] = {}
"""The rules by the ops that they lower, subclasses included."""


def lowers(*ops: type[GraphOp]) -> Callable[[Rule], Rule]:
    """Enter a rule for nodes of these ops that take or give spikes."""

    def enter(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(ops, rule))
        return rule

    return enter


def _rule(node: Node) -> Rule | None:
    """The rule of a node that takes or gives spikes, or has a body."""
    spiking = any(value.type.dtype in ("spike", "current") for value in (*node.operands, *node.outputs))
    if not spiking and not isinstance(node.op, ops.Scan):
        return None
    return next((RULES[kind] for kind in type(node.op).__mro__ if kind in RULES), None)


class Lowering:
    """Writes the ops of one graph or body; `prefix` stands before the names of a body's values.

    `wirings` says where the elements of spiking values come from, `trains` which train a value emits, `currents` which synapse
    gives a current, `readouts` by which name the sums of a real value are known, `late` what the host knows only after the
    network, `encoded` what is charged at once and emitted by nothing else. `accumulators` says by which name the sums that
    functions take are known, `segments` in which segment of the window a train is. `nodes` are those behind the ops, by the ops'
    names. `phases` is the schedule of few-spike neurons (None: of no other).
    """

    def __init__(
        self,
        graph: Graph,
        sizes: Mapping[str, int],
        constants: Mapping[Value, np.ndarray],
        prefix: str,
        names: set[str],
        phases: Phases | None,
    ) -> None:
        self.phases = phases
        self.graph, self.sizes, self.prefix, self.names = graph, dict(sizes), prefix, names
        self.constants = {**{value: value.array for value in graph.constants}, **constants}
        self.fixed = fixed_values(graph, constants)
        self.levels: dict[Value, np.ndarray] = {}
        self.late: set[Value] = set()
        self.wirings: dict[Value, Wiring] = {}
        self.trains: dict[Value, Train] = {}
        self.encoded: set[Value] = set()
        self.routes: dict[tuple[tuple[str, ...], bytes, tuple[int, ...]], Train] = {}
        self.readouts: dict[Value, str] = {}
        self.nodes: dict[str, Node] = {}
        self.currents: dict[Value, Node] = {}
        self.accumulators: dict[Value, str] = {}
        self.segments: dict[str, int] = {}
        self.settled: dict[tuple[str, int], Train] = {}
        self.ops: list[Op] = []
        self.host: list[str] = []

    def all(self) -> None:
        """Write every node."""
        for node in self.graph.nodes:
            before = len(self.ops)
            self._node(node)
            for op in self.ops[before:]:
                self.nodes[op.name if isinstance(op, MachineScan) else op.train.name] = node

    def _node(self, node: Node) -> None:
        op = node.op
        if all(value in self.fixed for value in node.outputs):
            known = [self.known(value) for value in node.operands]
            self.levels.update(zip(node.outputs, apply(node, known, self.sizes), strict=True))
            return
        rule = _rule(node)
        if rule is not None:
            rule(self, node)
        elif isinstance(op, Movement) and node.operands[0].type.dtype == "spike":
            wirings = [self.wiring(value) for value in node.operands]
            self.wirings[node.output] = move(node, wirings, self.sizes, concrete_shape(node.operands[0].type, self.sizes)[0])
        elif any(not (value.type.is_plain or value in self.fixed) for value in node.operands):
            types = ", ".join(str(value.type) for value in node.operands)
            raise UnsupportedError(f"{node.describe()}: the machine level cannot run {op.name} on {types}")
        else:
            self.host.append(f"{self.prefix}{node.outputs[0].name} = {op.name}")
            if any(value in self.late for value in node.operands):
                self.late.update(node.outputs)

    def add(self, op: Op) -> None:
        """Append an op; its train is in the segment that follows from what it reads."""
        self.ops.append(op)
        segment = segment_of(op, self.segments)
        if isinstance(op, MachineScan):
            self.segments.update({state.final.name: segment for state in op.states})
            self.segments.update({result.train.name: segment for result in op.results})
        else:
            self.segments[op.train.name] = segment

    def in_one_segment(self, trains: Sequence[Train]) -> list[Train]:
        """The trains that one op reads, all in one segment: those of earlier ones as what they settled to."""
        last = max((self.segments.get(train.name, 0) for train in trains), default=0)
        return [self.settle(train, last) for train in trains]

    def settle(self, train: Train, segment: int) -> Train:
        """A train in a segment: itself, or its settled levels."""
        if self.segments.get(train.name, 0) == segment:
            return train
        key = train.name, segment
        if key not in self.settled:
            name = self.name(f"{train.name.removeprefix(self.prefix)}.settled")
            self.settled[key] = Train(name, train.shape, train.lo, train.hi, train.scale)
            self.add(Settled(self.settled[key], 0, segment, train.name))
        return self.settled[key]

    def first(self, value: Value) -> int:
        """The step before which a value is silent."""
        return 0 if self.phases is None or value not in self.phases.of else self.phases.of[value].first

    def known(self, value: Value) -> np.ndarray:
        """The levels or numbers of a fixed value."""
        return self.levels[value] if value in self.levels else self.constants[value]

    def constant(self, node: Node, value: Value) -> np.ndarray:
        """A weight or parameter of a node. Raises `UnsupportedError` where it is no constant."""
        if value not in self.constants:
            raise UnsupportedError(f"{node.describe()}: {value.name} must be a constant; the machine level keeps weights fixed")
        return self.constants[value]

    def name(self, name: str) -> str:
        """A name that no other train has."""
        unique, count = self.prefix + name, 0
        while unique in self.names:
            count += 1
            unique = f"{self.prefix}{name}~{count}"
        self.names.add(unique)
        return unique

    def train(self, value: Value, shape: Sequence[int], name: str | None = None) -> Train:
        """A new train of a spiking value's levels."""
        quantization = value.type.levels
        unique = self.name(value.name if name is None else name)
        return Train(unique, tuple(int(size) for size in shape), quantization.lo, quantization.hi, quantization.scale)

    def root(self, value: Value, shape: Sequence[int]) -> Train:
        """The new train of a value that emits its own events."""
        self.wirings[value] = Wiring.root(value, shape)
        self.trains[value] = self.train(value, shape)
        return self.trains[value]

    def sample(self, value: Value) -> tuple[int, ...]:
        """The shape of one sample; only a fixed value may lack a batch axis."""
        shape = concrete_shape(value.type, self.sizes)
        if value in self.fixed and not (shape and (value.type.batch_axis == 0 or shape[0] == 1)):
            return shape
        if not shape:
            raise UnsupportedError(f"value {value.name} {value.type} has no batch axis; the machine level needs it as axis 0")
        return shape[1:]

    def wiring(self, value: Value) -> Wiring:
        """Where a spiking value's elements come from; a fixed value becomes a constant when it is first asked for."""
        if value not in self.wirings:
            shape = self.sample(value)
            levels = self.known(value)
            sample = levels[0] if levels.ndim > len(shape) else levels
            self.encoded.add(value)
            train = self.root(value, shape)
            self.add(Constant(train, np.broadcast_to(sample, shape).reshape(-1).astype(np.int64)))
        return self.wirings[value]

    def source(self, value: Value, shape: Sequence[int] | None = None, wiring: Wiring | None = None) -> Train:
        """The train whose addresses are the value's elements (spread over `shape`), routed where it must be."""
        wiring = self.wiring(value) if wiring is None else wiring
        index = wiring.index if shape is None else np.broadcast_to(wiring.index, tuple(shape))
        compact = np.full(index.shape, -1, np.int64)
        starts: dict[Value, int] = {}
        base = total = 0
        for root, size in zip(wiring.roots, wiring.sizes, strict=True):
            inside = (index >= base) & (index < base + size)
            if inside.any():
                if root not in starts:
                    starts[root], total = total, total + size
                compact[inside] = index[inside] - base + starts[root]
            base += size
        used = list(starts) or [wiring.roots[0]]
        if len(used) == 1 and np.array_equal(compact.reshape(-1), np.arange(self.trains[used[0]].size)):
            return self.trains[used[0]]
        names = tuple(train.name for train in self.in_one_segment([self.trains[root] for root in used]))
        key = names, np.ascontiguousarray(compact).tobytes(), compact.shape
        if key not in self.routes:
            train = self.train(value, compact.shape, f"{value.name}.routed")
            self.add(Route(train, names, IndexMap.of(compact)))
            self.routes[key] = train
        return self.routes[key]

    def output(self, name: str, value: Value) -> Output:
        """An output of the model, and what it is in the program."""
        if value.type.dtype == "spike":
            source, shape = self.source(value), self.wiring(value).index.shape
            if source.shape != shape:
                train = self.train(value, shape, f"{value.name}.shaped")
                self.add(Route(train, (source.name,), IndexMap.of(np.arange(source.size).reshape(shape))))
                source = train
            return Output(name, "levels", source.name)
        return Output(name, "real", self.readouts[value]) if value in self.readouts else Output(name, "host", "")

    def is_charged(self, value: Value) -> bool:
        """Whether nothing but inputs and constants emit a spiking value."""
        return self.encoded.issuperset(self.wiring(value).roots)
