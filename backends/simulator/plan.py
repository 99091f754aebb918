"""From a graph and concrete sizes to a plan: steps over arrays that the driver and the kernels run.

A plan does not depend on the batch size. Populations are ordered as in the graph, and each one can be simulated over
all steps of a window once its input trains are known, because a spike takes no time from one layer to the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from snnir.backends.simulator.blocks import Emission, EncodePlan, Plan, PopulationPlan, ScanPlan, StatePlan, Step, TracerPlan
from snnir.backends.simulator.pool import Pool
from snnir.backends.simulator.synapses import Segments, Synapse, build
from snnir.backends.simulator.wiring import AddressMap, Source, invert, sources
from snnir.errors import UnsupportedError
from snnir.ir.dims import BATCH
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.ops import Bif, Conv, Dense, Diagonal, Encode, MaxPool, Movement, Product, Readout, Scan, Sparse
from snnir.machine.host import concrete_shape, fixed_values
from snnir.machine.movement import Wiring, move

__all__ = ["Cache", "make_plan", "rounds_plainly"]

_LARGEST_EVENT = (1 << 30) - 1
"""An event is a number of 32 bits: twice its value, and a mark."""


@dataclass
class Cache:
    """Segments by node and input shapes, and all of them in flat arrays, shared by the plans of different sequence lengths."""

    segments: dict[tuple[Node, tuple[tuple[int, ...], ...]], Segments] = field(default_factory=dict)
    pool: Pool = field(default_factory=Pool)


def make_plan(graph: Graph, sizes: Mapping[str, int], cache: Cache) -> Plan:
    """The plan of a spiking graph. Raises `UnsupportedError` naming the node that cannot be simulated."""
    trial = dict(sizes)
    if BATCH in trial:
        trial[BATCH] = 2  # movement is tried on two samples, to see that none reaches into the other
    return _Planner(graph, trial, {}, "", cache).plan()


def rounds_plainly(node: Node) -> bool:
    """Whether a node is an encoder that rounds numbers of float32 half up, sample by sample: the kernel does that."""
    op = node.op
    if not isinstance(op, Encode) or op.rounding != "half-up" or op.single:
        return False
    type_ = node.operands[0].type
    return type_.dtype == "f32" and type_.batch_axis == 0


class _Planner:
    """Builds the plan of one graph or body; `prefix` stands before the names of a body's values."""

    def __init__(
        self, graph: Graph, sizes: Mapping[str, int], constants: Mapping[Value, np.ndarray], prefix: str, cache: Cache
    ) -> None:
        self.graph = graph
        self.sizes = sizes
        self.constants = {**{value: value.array for value in graph.constants}, **constants}
        self.prefix = prefix
        self.cache = cache
        self.fixed = fixed_values(graph, constants)
        self.reals = {value for value in graph.inputs if value.type.is_plain and value not in constants}
        self.late: set[Value] = set()
        self.wirings: dict[Value, Wiring] = {}
        self.currents: dict[Value, tuple[Synapse, Wiring]] = {}
        self.steps: list[Step] = []
        self.read: dict[int, tuple[Wiring, tuple[Source, ...]]] = {}

    def plan(self, inputs: Mapping[Value, Wiring] | None = None) -> Plan:
        self.wirings.update(inputs or {})
        for value in self.graph.inputs:
            if value not in self.reals and value not in self.wirings and value not in self.constants:
                raise UnsupportedError(f"input {value.name} is {value.type}; the simulator takes real inputs and encodes them")
        for node in self.graph.nodes:
            self._node(node)
        outputs = []
        for name, value in self.graph.outputs.items():
            if value.type.dtype == "spike":
                outputs.append((name, self.emission(value)))
            elif value not in self.fixed and value not in self.reals:
                raise UnsupportedError(f"output {name} is {value.type}; the simulator gives out real values and spikes")
        return Plan(tuple(self.steps), tuple(outputs))

    def sources(self, wiring: Wiring) -> tuple[Source, ...]:
        """The roots of a wiring; the same objects whenever it is read, so that its events are gathered once."""
        if id(wiring) not in self.read:
            self.read[id(wiring)] = wiring, sources(wiring)
        return self.read[id(wiring)][1]

    def emission(self, value: Value) -> Emission:
        return self._emission(value, self.wiring(value))

    def _emission(self, value: Value, wiring: Wiring) -> Emission:
        encoded = {step.value for step in self.steps if isinstance(step, EncodePlan)}
        return Emission(value, self.sources(wiring), wiring.index.shape, encoded.issuperset(wiring.roots))

    def wiring(self, value: Value) -> Wiring:
        """Where a spiking value's elements come from; a fixed value becomes an encoder when it is first asked for."""
        if value not in self.wirings:
            shape = self._sample(value)
            self.steps.append(EncodePlan(value, self.prefix + value.name, shape, True))
            self.wirings[value] = Wiring.root(value, shape)
        return self.wirings[value]

    def _sample(self, value: Value) -> tuple[int, ...]:
        """The shape of one sample; only a fixed value may lack a batch axis."""
        shape = concrete_shape(value.type, self.sizes)
        if value in self.fixed and not (shape and (value.type.batch_axis == 0 or shape[0] == 1)):
            return shape
        if not shape:
            raise UnsupportedError(f"value {value.name} {value.type} has no batch axis; the simulator needs it as axis 0")
        return shape[1:]

    def _node(self, node: Node) -> None:
        op, operands = node.op, node.operands
        for value in node.outputs:
            levels = value.type.quantization if value.type.dtype == "spike" else None
            if levels is not None and levels.hi - levels.lo > _LARGEST_EVENT:
                raise UnsupportedError(
                    f"{node.describe()}: {value.name} changes by up to {levels.hi - levels.lo} levels at once; an event of the "
                    f"simulator carries at most {_LARGEST_EVENT}. Give what it comes from fewer bits"
                )
        if isinstance(op, Encode):
            self._encode(node)
        elif isinstance(op, Scan):
            self._scan(node, op)
        elif isinstance(op, Dense | Diagonal | Sparse | Conv) and operands[0].type.dtype == "spike":
            self._synapse(node)
        elif isinstance(op, Bif | Readout):
            self._population(node, op)
        elif isinstance(op, Product):
            self._product(node)
        elif isinstance(op, MaxPool) and operands[0].type.dtype == "spike":
            self._max(node, op)
        elif isinstance(op, Movement) and operands[0].type.dtype == "spike":
            if not all(value in self.fixed for value in operands):
                self.wirings[node.output] = self._move(node)
        elif all(value in self.reals or value in self.fixed for value in operands):
            if not all(value in self.fixed for value in operands):
                self.reals.update(node.outputs)
                if any(value in self.late for value in operands):
                    self.late.update(node.outputs)
        else:
            raise UnsupportedError(
                f"{node.describe()}: the simulator cannot run {op.name} on {', '.join(str(value.type) for value in operands)}"
            )

    def _encode(self, node: Node) -> None:
        (value,) = node.operands
        if value in self.late:
            raise UnsupportedError(
                f"{node.describe()}: encodes {value.name}, which is known only after the simulation; "
                "the simulator encodes inputs and constants"
            )
        if value not in self.fixed:
            shape = self._sample(node.output)
            given = value if rounds_plainly(node) else None
            self.steps.append(EncodePlan(node.output, self.prefix + node.output.name, shape, False, given))
            self.wirings[node.output] = Wiring.root(node.output, shape)

    def _move(self, node: Node) -> Wiring:
        batch = concrete_shape(node.operands[0].type, self.sizes)[0]
        return move(node, [self.wiring(value) for value in node.operands], self.sizes, batch)

    def _constant(self, node: Node, value: Value) -> np.ndarray:
        if value not in self.constants:
            raise UnsupportedError(f"{node.describe()}: {value.name} must be a constant; the simulator keeps weights fixed")
        return self.constants[value]

    def _synapse(self, node: Node) -> None:
        value, *rest = node.operands
        op = node.op
        assert isinstance(op, Dense | Diagonal | Sparse | Conv)
        weight, *others = (self._constant(node, operand) for operand in rest)
        constants = op.expanded(weight), *others
        quantization = value.type.quantization
        assert quantization is not None
        wiring = self.wiring(value)
        reach = max(-quantization.lo, quantization.hi)
        # An input without batch axis gives a current without one.
        rank = node.output.type.rank - value.type.rank + wiring.index.ndim
        outputs = concrete_shape(node.output.type, self.sizes)[node.output.type.rank - rank :]
        name = self.prefix + node.output.name
        self.currents[node.output] = Synapse(name, op.without_gain(), constants, wiring.index.shape, outputs, reach), wiring

    def _population(self, node: Node, op: Bif | Readout) -> None:
        value = node.output
        shape = self._sample(value)
        parameters = self._constant(node, node.operands[0])
        bias = self._constant(node, node.operands[1])
        currents = []
        for current in node.operands[2:]:
            if current not in self.currents:
                raise UnsupportedError(f"{node.describe()}: {current.name} must come from a synapse")
            currents.append(self.currents[current])
        key = (node, tuple(wiring.index.shape for _, wiring in currents))
        if key not in self.cache.segments:
            self.cache.segments[key] = build([synapse for synapse, _ in currents], bias, shape, _largest_theta(op, parameters))
        segments = self.cache.segments[key]
        inputs = tuple(self.sources(wiring) for _, wiring in currents)
        readout = isinstance(op, Readout)
        if isinstance(op, Bif):
            levels = (op.quantization.lo, op.quantization.hi, op.staircase)
            table, parameter = _thresholds(parameters, op.staircase, shape)
        else:
            levels = (0, 0, False)
            table, parameter = np.ones((1, 1), np.int64), np.zeros(int(np.prod(shape)), np.int32)
            self.reals.add(value)
            self.late.add(value)
        parameter = parameter[segments.layout]
        name = self.prefix + value.name
        self.steps.append(PopulationPlan(value, name, shape, inputs, segments, table, parameter, levels, readout))
        if not readout:
            self.wirings[value] = Wiring.root(value, shape)

    def _max(self, node: Node, op: MaxPool) -> None:
        value, wiring = node.output, self.wiring(node.operands[0])
        count = wiring.index.size
        windows = op.windows(np.arange(count).reshape(1, *wiring.index.shape), -1)[0]
        shape = windows.shape[: windows.ndim - len(op.kernel)]
        members = np.ascontiguousarray(windows.reshape(int(np.prod(shape)), -1)).astype(np.int32)
        if (members < 0).all(axis=1).any():
            raise UnsupportedError(f"{node.describe()}: a window of max_pool lies in the padding only; it has no largest element")
        held = invert(members, count)
        rows = AddressMap(held.offsets, held.targets // max(members.shape[1], 1))
        self.steps.append(TracerPlan(value, self.prefix + value.name, shape, self.sources(wiring), rows, members, False))
        self.wirings[value] = Wiring.root(value, shape)

    def _product(self, node: Node) -> None:
        value, (a, b) = node.output, (self.wiring(operand) for operand in node.operands)
        shape = np.broadcast_shapes(a.index.shape, b.index.shape)
        left, right = (np.broadcast_to(wiring.index, shape).reshape(-1) for wiring in (a, b))
        both = np.concatenate([left, np.where(right >= 0, right + sum(a.sizes), -1)])
        wiring = Wiring((*a.roots, *b.roots), (*a.sizes, *b.sizes), both)
        count = left.size
        places = np.arange(2 * count, dtype=np.int32)
        rows = AddressMap(np.arange(2 * count + 1, dtype=np.int32), places % max(count, 1))
        members = np.ascontiguousarray(places.reshape(2, count).T)
        self.steps.append(TracerPlan(value, self.prefix + value.name, shape, self.sources(wiring), rows, members, True))
        self.wirings[value] = Wiring.root(value, shape)

    def _scan(self, node: Node, op: Scan) -> None:
        body = node.body
        assert body is not None
        if self.prefix:
            raise UnsupportedError(f"{node.describe()}: a scan inside the body of a scan is not supported by the simulator")
        if op.axis != 1:
            raise UnsupportedError(f"{node.describe()}: a scan along axis {op.axis}; the simulator supports axis 1")
        pairs = list(zip(body.inputs, node.operands, strict=True))
        first, last = op.states, op.states + op.elements
        constants = {inner: self.constants[outer] for inner, outer in pairs[last:] if outer in self.constants}
        inner = _Planner(body, self.sizes, constants, f"{node.outputs[0].name}/", self.cache)
        given: dict[Value, Wiring] = {}
        for value, outer in pairs:
            if value.type.dtype == "spike":
                given[value] = Wiring.root(value, concrete_shape(value.type, self.sizes)[1:])
            elif value in body.inputs[:first]:
                raise UnsupportedError(f"{node.describe()}: state {value.name} is {value.type}; the simulator keeps spikes only")
            elif outer in self.late:
                raise UnsupportedError(f"{node.describe()}: takes {outer.name}, which is known only after the simulation")
        inner_plan = inner.plan(given)
        emitted = dict(inner_plan.outputs)
        results = list(zip(node.outputs, body.outputs.items(), strict=True))
        states = []
        for (value, outer), (final, (name, _)) in zip(pairs[:first], results, strict=False):
            initial = self._initial(node, outer, given[value].index.shape)
            states.append(StatePlan(value, initial, emitted[name], final))
        elements = [(value, self.emission(outer)) for value, outer in pairs[first:last] if value in given]
        shared = [(value, self.emission(outer)) for value, outer in pairs[last:] if value in given]
        stacked = [(outer, emitted[name]) for outer, (name, _) in results[first:] if name in emitted]
        length = concrete_shape(pairs[first][1].type, self.sizes)[1]
        self.steps.append(ScanPlan(node, length, tuple(states), tuple(elements), tuple(shared), tuple(stacked), inner_plan))
        for outer, _ in results:
            if outer.type.dtype == "spike":
                self.wirings[outer] = Wiring.root(outer, concrete_shape(outer.type, self.sizes)[1:])
            else:
                self.reals.add(outer)
                self.late.add(outer)

    def _initial(self, node: Node, value: Value, shape: tuple[int, ...]) -> Emission:
        wiring = self.wiring(value)
        try:
            index = np.broadcast_to(wiring.index, shape)
        except ValueError:
            raise UnsupportedError(
                f"{node.describe()}: the initial state {value.name} {value.type} does not spread over samples of {list(shape)}"
            ) from None
        return self._emission(value, Wiring(wiring.roots, wiring.sizes, index))


def _largest_theta(op: Bif | Readout, parameters: np.ndarray) -> int:
    """The largest distance of two thresholds of uniform neurons."""
    return int(parameters.max(initial=0)) if isinstance(op, Bif) and not op.staircase else 0


def _thresholds(theta: np.ndarray, staircase: bool, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds as rows int64[parameters, levels or 1], and the row of each element of a sample (int32)."""
    rows = theta if staircase else theta[np.newaxis]
    own = rows.shape[1:]
    count = int(np.prod(own))
    table = np.ascontiguousarray(rows.reshape(rows.shape[0], count).T).astype(np.int64)
    parameter = np.broadcast_to(np.arange(count, dtype=np.int32).reshape(own), shape).reshape(-1)
    return table, parameter
