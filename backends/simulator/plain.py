"""The plain simulator: clock-driven NumPy, the oracle of the fast one. Slow, and meant to be read.

A train is an int64 array [steps, N, ...]: what each element emits at each step. Synapses are the ops' own `evaluate`
on the spikes of one step, and neurons are written as in SpikeZIP-TF (arXiv:2406.03470), with the membrane potential V.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from snnir.backends.simulator.dense_trains import DenseTrain, by_step, lengthen, pad, spread, stack
from snnir.backends.simulator.host import Host, concrete_shape, fixed_values, window_order
from snnir.backends.simulator.options import batch_size, check_graph, check_options
from snnir.errors import UnsupportedError
from snnir.ir.execute import bind_sizes, check_inputs
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.ops import Bif, Encode, MaxPool, Movement, Product, Readout, Scan

__all__ = ["PlainResult", "simulate_plain"]


@dataclass
class PlainResult:
    """As `SimulationResult`, with dense trains: int64 [steps, N, ...], [windows, steps, N, ...] inside a body."""

    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    trains: dict[str, np.ndarray] = field(default_factory=dict)
    counts: dict[str, np.ndarray] = field(default_factory=dict)
    spikes: dict[str, np.ndarray] = field(default_factory=dict)
    synops: dict[str, np.ndarray] = field(default_factory=dict)
    charges: dict[str, np.ndarray] = field(default_factory=dict)
    windows: list[str] = field(default_factory=list)
    steps: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    unsettled: int = 0
    undelivered: int = 0
    membranes: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Whether nothing was left to fire or to be delivered."""
        return not self.unsettled and not self.undelivered


def simulate_plain(
    graph: Graph,
    inputs: Mapping[str, np.ndarray],
    *,
    steps: int | None = None,
    delivery: str = "relay",
    record: Sequence[str] = (),
) -> PlainResult:
    """Simulate a spiking graph step by step; options as in `Simulator.run`. Raises `InputError` and `UsageError`."""
    check_graph(graph)
    arrays = check_inputs(graph, inputs)
    sizes = bind_sizes(graph, arrays)
    check_options(steps, delivery, record, _names(graph))
    host = Host(graph, sizes, {value: arrays[value.name] for value in graph.inputs}, {})
    run = _Run(sizes, batch_size(graph, sizes), steps, delivery, frozenset(record))
    return run.whole(graph, host)


def _names(graph: Graph, prefix: str = "") -> list[str]:
    names = []
    for node in graph.nodes:
        if node.body is not None:
            names += _names(node.body, f"{node.outputs[0].name}/")
        elif isinstance(node.op, Encode | Bif | MaxPool | Product):
            names.append(prefix + node.output.name)
    return names


@dataclass
class _Window:
    graph: Graph
    host: Host | None
    trains: dict[Value, DenseTrain]
    constants: dict[Value, np.ndarray]
    prefix: str
    name: str


class _Run:
    def __init__(self, sizes: dict[str, int], batch: int, steps: int | None, delivery: str, record: frozenset[str]) -> None:
        self.sizes, self.batch, self.cap, self.delivery, self.record = sizes, batch, steps, delivery, record
        self.result = PlainResult()
        self.used: dict[str, np.ndarray] = {}
        self.emitted: dict[str, list[np.ndarray]] = {}
        self.sums: dict[Value, list[np.ndarray]] = {}
        self.potentials: dict[str, list[np.ndarray]] = {}

    def whole(self, graph: Graph, host: Host) -> PlainResult:
        result = self.result
        for node in graph.nodes:
            if isinstance(node.op, Scan):
                result.windows += [f"{node.outputs[0].name}[{element}]" for element in self._order(node)]
        result.windows.insert(0, graph.name)
        self.used = {name: np.zeros(self.batch, np.int64) for name in result.windows}
        window = _Window(graph, host, {}, {value: value.array for value in graph.constants}, "", graph.name)
        self._window(window)
        inside = {inner.outputs[0] for node in graph.nodes if node.body is not None for inner in node.body.nodes}
        names = {f"{node.outputs[0].name}/" for node in graph.nodes if node.body is not None}
        for name, trains in self.emitted.items():
            in_body = any(name.startswith(prefix) for prefix in names)
            result.counts[name] = np.stack([train.sum(axis=0) for train in trains], axis=1)
            result.trains[name] = pad(trains, hold=False)
            if not in_body:
                result.counts[name], result.trains[name] = result.counts[name][:, 0], result.trains[name][0]
        for name, potentials in self.potentials.items():
            padded = np.moveaxis(pad(potentials, hold=True), 2, 0)
            result.membranes[name] = padded if any(name.startswith(prefix) for prefix in names) else padded[:, 0]
        sums = {value: np.stack(windows, axis=1) if value in inside else windows[0] for value, windows in self.sums.items()}
        reals = host.finish(sums)
        for name, value in graph.outputs.items():
            if value.type.dtype == "spike":
                result.outputs[name] = self._train(window, value).values.sum(axis=0)
            else:
                result.outputs[name] = reals[value]
        result.steps = np.stack([self.used[name] for name in result.windows], axis=1)
        return result

    def _order(self, node: Node) -> Sequence[int]:
        assert isinstance(node.op, Scan)
        return window_order(node.op, concrete_shape(node.operands[node.op.states].type, self.sizes)[1])

    def _window(self, window: _Window) -> None:
        fixed = fixed_values(window.graph, window.constants)
        for node in window.graph.nodes:
            op, value = node.op, node.outputs[0]
            if value in fixed or value.type.dtype == "current":
                continue
            if isinstance(op, Encode):
                assert window.host is not None
                self._emit(window, value, DenseTrain.of(window.host.levels[value][np.newaxis], charged=True))
            elif isinstance(op, Bif):
                self._emit(window, value, DenseTrain.of(self._population(window, node, op)))
                self._add(self.result.spikes, window.prefix + value.name, np.abs(window.trains[value].values), 1)
            elif isinstance(op, Readout):
                total = self._start(window, node)
                for t in range(self._length(window, node)):
                    total = total + self._current(window, node, t)
                self.sums.setdefault(value, []).append(total)
            elif isinstance(op, Scan):
                self._scan(window, node, op)
            elif value.type.dtype == "spike" and isinstance(op, MaxPool):
                summed = np.cumsum(self._train(window, node.operands[0]).values, axis=0)
                largest = by_step(op, [summed], (0, *concrete_shape(value.type, self.sizes)))
                self._emit(window, value, DenseTrain.of(np.diff(largest, axis=0, prepend=0)))
            elif isinstance(op, Product):
                trains = [self._train(window, operand).values for operand in node.operands]
                steps = max(len(train) for train in trains)
                tracers = [np.cumsum(lengthen(train, steps), axis=0) for train in trains]
                products = by_step(op, tracers, (0, *concrete_shape(value.type, self.sizes)))
                changes = np.diff(products, axis=0, prepend=0)
                self._emit(window, value, DenseTrain(changes, np.abs(changes) > 1))
            elif value.type.dtype == "spike" and isinstance(op, Movement):
                window.trains[value] = self._moved(window, node, op)

    def _train(self, window: _Window, value: Value) -> DenseTrain:
        """The train of a value; a fixed one charges its levels into every sample."""
        if value not in window.trains:
            assert window.host is not None
            levels, batched = window.host.reals[value], value.type.batch_axis == 0
            sample = levels.shape[1:] if levels.ndim and (batched or levels.shape[0] == 1) else levels.shape
            train = DenseTrain.of(np.broadcast_to(levels, (self.batch, *sample))[np.newaxis], charged=True)
            window.trains[value] = train
            self._use(window, train)
        return window.trains[value]

    def _emit(self, window: _Window, value: Value, train: DenseTrain) -> None:
        window.trains[value] = train
        self.emitted.setdefault(window.prefix + value.name, []).append(train.values)
        self._use(window, train)

    def _use(self, window: _Window, train: DenseTrain) -> None:
        for t, values in enumerate(train.values):
            active = values.any(axis=tuple(range(1, values.ndim)))
            self.used[window.name] = np.where(active, np.maximum(self.used[window.name], t + 1), self.used[window.name])

    def _moved(self, window: _Window, node: Node, op: Movement) -> DenseTrain:
        op = op.bind(dict(self.sizes))
        trains = [self._train(window, value) for value in node.operands]
        steps = max(len(train.values) for train in trains)
        shape = (0, *concrete_shape(node.output.type, self.sizes))
        values = [lengthen(train.values, steps) for train in trains]
        charged = [lengthen(train.charged, steps) for train in trains]
        return DenseTrain(by_step(op, values, shape), by_step(op, charged, shape).astype(bool))

    def _weights(self, window: _Window, synapse: Node) -> list[np.ndarray]:
        return [window.constants[value] for value in synapse.operands[1:]]

    def _synapses(self, node: Node) -> list[Node]:
        found = [value.producer for value in node.operands[2:]]
        for value, producer in zip(node.operands[2:], found, strict=True):
            if producer is None or isinstance(producer.op, Movement):
                raise UnsupportedError(f"{node.describe()}: {value.name} must come from a synapse")
        return [producer for producer in found if producer is not None]

    def _length(self, window: _Window, node: Node) -> int:
        """Number of steps in which input arrives."""
        return max(len(self._train(window, synapse.operands[0]).values) for synapse in self._synapses(node))

    def _start(self, window: _Window, node: Node) -> np.ndarray:
        """The sum that a population starts with: its bias and those of its synapses."""
        shape = concrete_shape(node.output.type, self.sizes)
        total = np.broadcast_to(window.constants[node.operands[1]], shape).astype(np.int64)
        for synapse in self._synapses(node):
            for counter in (self.result.synops, self.result.charges):  # also where no event ever comes
                counter.setdefault(window.prefix + synapse.output.name, np.zeros(self.batch, np.int64))
            weights = self._weights(window, synapse)
            train = self._train(window, synapse.operands[0])
            total = total + synapse.op.evaluate(np.zeros(train.values.shape[1:], np.int64), *weights)[0]
        return total

    def _current(self, window: _Window, node: Node, t: int) -> np.ndarray:
        """The current of step t, and its synaptic operations counted: one for each event and synapse it goes through."""
        shape = concrete_shape(node.output.type, self.sizes)
        total = np.zeros(shape, np.int64)
        for synapse in self._synapses(node):
            op, train, (weight, *rest) = synapse.op, self._train(window, synapse.operands[0]), self._weights(window, synapse)
            if not (rest and len(rest) == 2):  # a bias is no current; a sparse synapse's rows and columns stay
                rest = []
            total = total + op.evaluate(train.at(t), weight, *rest)[0]
            name = window.prefix + synapse.output.name
            ones = np.ones_like(weight)
            for counter, events in (
                (self.result.synops, train.at(t) != 0),
                (self.result.charges, (train.at(t) != 0) & lengthen(train.charged, t + 1)[t]),
            ):
                used = op.evaluate(events.astype(np.int64), ones, *rest)[0]
                self._add(counter, name, np.broadcast_to(used, shape)[np.newaxis], 1)
        return total

    def _add(self, counters: dict[str, np.ndarray], name: str, amounts: np.ndarray, axis: int) -> None:
        """Add amounts [steps, N, ...] to a counter [N]."""
        axes = tuple(other for other in range(amounts.ndim) if other != axis)
        counters[name] = counters.get(name, np.zeros(self.batch, np.int64)) + amounts.sum(axis=axes)

    def _population(self, window: _Window, node: Node, op: Bif) -> np.ndarray:
        theta = window.constants[node.operands[0]].astype(np.int64)
        lo, hi = op.quantization.lo, op.quantization.hi
        total = self._start(window, node)
        tracer = np.zeros(total.shape, np.int64)
        length = self._length(window, node)
        name = window.prefix + node.output.name
        train: list[np.ndarray] = []
        sums: list[np.ndarray] = []
        while self.cap is None or len(train) < self.cap:
            if len(train) < length:
                total = total + self._current(window, node, len(train))
            spikes = _fire(total, tracer, theta, op.staircase, lo, hi)
            tracer = tracer + spikes
            train.append(spikes)
            sums.append(total)
            if len(train) >= length and not spikes.any():
                break
        self.result.unsettled += int(np.count_nonzero(_fire(total, tracer, theta, op.staircase, lo, hi)))
        if name in self.record:
            self.potentials.setdefault(name, []).append(np.stack(sums))
        return np.stack(train)

    def _scan(self, window: _Window, node: Node, op: Scan) -> None:
        body = node.body
        assert body is not None
        assert window.host is not None
        pairs = list(zip(body.inputs, node.operands, strict=True))
        spiking = [(inner, outer) for inner, outer in pairs if inner.type.dtype == "spike"]
        constants = {value: value.array for value in body.constants}
        constants.update({inner: window.constants[outer] for inner, outer in pairs if outer in window.constants})
        outputs = list(body.outputs.values())
        states = []
        for inner, outer in pairs[: op.states]:
            states.append(spread(self._train(window, outer), concrete_shape(inner.type, self.sizes)))
        stacked: list[list[DenseTrain]] = [[] for _ in outputs[op.states :]]
        bodies = window.host.windows.get(node)
        for k, element in enumerate(self._order(node)):
            trains = {inner: self._train(window, outer) for inner, outer in spiking if inner not in body.inputs[: op.states]}
            for inner in body.inputs[op.states : op.states + op.elements]:
                if inner in trains:
                    trains[inner] = DenseTrain(trains[inner].values[:, :, element], trains[inner].charged[:, :, element])
            trains.update(zip(body.inputs, map(self._deliver, states), strict=False))
            prefix = f"{node.outputs[0].name}/"
            inside = _Window(
                body, bodies[k] if bodies is not None else None, trains, constants, prefix, f"{prefix[:-1]}[{element}]"
            )
            self._window(inside)
            states = [self._train(inside, value) for value in outputs[: op.states]]
            for rows, value in zip(stacked, outputs[op.states :], strict=True):
                if value.type.dtype == "spike":
                    rows.append(self._train(inside, value))
        window.trains.update(zip(node.outputs, states, strict=False))
        for value, rows in zip(node.outputs[op.states :], stacked, strict=True):
            if value.type.dtype == "spike":
                window.trains[value] = stack(rows[::-1] if op.reverse else rows, concrete_shape(value.type, self.sizes))

    def _deliver(self, train: DenseTrain) -> DenseTrain:
        if self.delivery == "replay":
            return train
        tracer = train.values.sum(axis=0)
        if self.delivery == "graded":
            return DenseTrain.of(tracer[np.newaxis])
        needed = int(np.abs(tracer).max(initial=0))
        steps = needed if self.cap is None else min(needed, self.cap)
        self.result.undelivered += int(np.maximum(np.abs(tracer) - steps, 0).sum())
        spikes = [np.sign(tracer) * (np.abs(tracer) > t) for t in range(steps)]
        return DenseTrain.of(np.stack(spikes) if spikes else np.zeros((0, *tracer.shape), np.int64))


def _fire(total: np.ndarray, tracer: np.ndarray, theta: np.ndarray, staircase: bool, lo: int, hi: int) -> np.ndarray:
    """What neurons fire, given their sums A and tracers S: +1, -1 or 0, int64."""
    if not staircase:
        potential = total + theta // 2 - theta * tracer
        up, down = potential >= theta, potential < 0
    else:
        shape = (hi - lo + 2, *np.broadcast_shapes(total.shape, theta.shape[1:]))
        table = np.zeros(shape, np.int64)
        table[1:-1] = theta.reshape(hi - lo, *([1] * (total.ndim - theta.ndim + 1)), *theta.shape[1:])
        up = total >= np.take_along_axis(table, (tracer + 1 - lo)[np.newaxis], axis=0)[0]
        down = total < np.take_along_axis(table, (tracer - lo)[np.newaxis], axis=0)[0]
    return np.where(up & (tracer < hi), 1, np.where(down & (tracer > lo), -1, 0))
