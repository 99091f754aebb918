"""The plain simulator: clock-driven NumPy, the oracle of the fast one. Slow, and meant to be read.

A train is an int64 array [steps, N, ...]: what each element emits at each step. Synapses are the ops' own `evaluate`
on the spikes of each step, and neurons are written as in SpikeZIP-TF (arXiv:2406.03470), with the membrane potential V.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from snnir.backends.simulator.dense_trains import DenseTrain, by_step, lengthen, pad, spread, stack
from snnir.backends.simulator.plain_result import PlainResult
from snnir.backends.simulator.plain_scan import ElementsIn, Sending, StateIn, ValueOut
from snnir.errors import UnsupportedError
from snnir.ir.execute import bind_sizes, check_inputs
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.op import Op
from snnir.ir.ops import (
    Bif,
    Conv,
    Dense,
    Diagonal,
    Encode,
    Fs,
    MaxPool,
    Movement,
    Population,
    Product,
    Readout,
    Scan,
    Sparse,
)
from snnir.ir.phases import FEW_SPIKES, Phases, neuron_of, phases_of
from snnir.ir.types import Quantization
from snnir.machine.encodings import portions
from snnir.machine.host import Host, concrete_shape, fixed_values, window_order
from snnir.machine.options import RunOptions, batch_size, check_graph

__all__ = ["PlainResult", "simulate_plain"]

_STEPS = 16
"""Steps whose currents are computed together."""


def simulate_plain(
    graph: Graph,
    inputs: Mapping[str, np.ndarray],
    *,
    steps: int | None = None,
    delivery: str = "relay",
    execution: str = "reset",
    encoding: str = "s-analog",
    record: Sequence[str] = (),
) -> PlainResult:
    """Simulate a spiking graph step by step; options as in `Simulator.run`. Raises `InputError` and `UsageError`."""
    check_graph(graph)
    arrays = check_inputs(graph, inputs)
    sizes = bind_sizes(graph, arrays)
    options = RunOptions.of(steps=steps, delivery=delivery, execution=execution, encoding=encoding, record=record)
    options.check(graph, _names(graph))
    host = Host(graph, sizes, {value: arrays[value.name] for value in graph.inputs}, {})
    phases = phases_of(graph, delivery, _lengths(graph, sizes)) if neuron_of(graph) == FEW_SPIKES else None
    sending = Sending(delivery, options.carry, steps, phases)
    run = _Run(sizes, batch_size(graph, sizes), sending, frozenset(record), options.in_portions)
    return run.whole(graph, host)


def _lengths(graph: Graph, sizes: Mapping[str, int]) -> dict[str, int]:
    """The number of elements of each scan, by its first result."""
    scans = [(node, node.op) for node in graph.nodes if isinstance(node.op, Scan)]
    return {node.outputs[0].name: concrete_shape(node.operands[op.states].type, sizes)[op.axis] for node, op in scans}


def _names(graph: Graph, prefix: str = "") -> list[str]:
    names = []
    for node in graph.nodes:
        if node.body is not None:
            names += _names(node.body, f"{node.outputs[0].name}/")
        elif isinstance(node.op, Encode | Population | MaxPool | Product):
            names.append(prefix + node.output.name)
    return names


@dataclass
class _Window:
    """One window: `memory` is what a carried body kept of the window before it (None: the window starts afresh)."""

    graph: Graph
    host: Host | None
    trains: dict[Value, DenseTrain]
    constants: dict[Value, np.ndarray]
    prefix: str
    name: str
    memory: dict[Value, tuple[np.ndarray, ...]] | None = None
    kept: dict[Value, tuple[np.ndarray, ...]] = field(default_factory=dict)

    def before(self, value: Value) -> tuple[np.ndarray, ...] | None:
        """What `value` kept of the window before."""
        return None if self.memory is None else self.memory[value]


class _Run:
    def __init__(self, sizes: dict[str, int], batch: int, sending: Sending, record: frozenset[str], spread: bool) -> None:
        self.sizes, self.batch, self.sending, self.record = sizes, batch, sending, record
        self.cap = sending.cap
        self.spread = spread
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
            if in_body and self.sending.carry:
                result.counts[name] = result.counts[name].cumsum(axis=1)
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
        result.undelivered = self.sending.undelivered
        result.steps = np.stack([self.used[name] for name in result.windows], axis=1)
        if self.phases is not None:  # a window takes the steps of its schedule, whatever is silent
            steps = [self.phases.windows[_scan_of(name) if place else ""] for place, name in enumerate(result.windows)]
            result.steps = np.maximum(result.steps, steps)
        return result

    @property
    def phases(self) -> Phases | None:
        """The schedule of few-spike neurons; None for others."""
        return self.sending.phases

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
                levels, before = window.host.levels[value], window.before(value)
                window.kept[value] = (levels,)
                change = levels if before is None else levels - before[0]
                charged = portions(change, self.cap) if self.spread and self.cap is not None else change[np.newaxis]
                self._emit(window, value, DenseTrain.of(charged, charged=True))
            elif isinstance(op, Population):
                if isinstance(op, Fs):
                    train = DenseTrain.of_bits(self._few_spikes(window, node, op))
                else:
                    assert isinstance(op, Bif)
                    train = DenseTrain.of(self._population(window, node, op))
                self._emit(window, value, train)
                self._add(self.result.spikes, window.prefix + value.name, (train.values != 0).astype(np.int64), 1)
            elif isinstance(op, Readout):
                before = window.before(value)
                total = self._start(window, node) if before is None else before[0]
                for current in self._currents(window, node, self._length(window, node)):
                    total = total + current
                window.kept[value] = (total,)
                self.sums.setdefault(value, []).append(total)
            elif isinstance(op, Scan):
                self._scan(window, node, op)
            elif value.type.dtype == "spike" and isinstance(op, MaxPool | Product):
                few = self.phases is not None and isinstance(op, MaxPool)
                self._emit(window, value, (DenseTrain.of_bits if few else DenseTrain.of)(self._combined(window, node, op)))
            elif value.type.dtype == "spike" and isinstance(op, Movement):
                window.trains[value] = self._moved(window, node, op)

    def _combined(self, window: _Window, node: Node, op: MaxPool | Product) -> np.ndarray:
        """The change, step by step, of the largest tracer of each window of a max, or of the product of two tracers."""
        trains = [self._train(window, operand).values for operand in node.operands]
        shape = concrete_shape(node.output.type, self.sizes)
        start = [np.zeros(train.shape[1:], np.int64) for train in trains], np.zeros(shape, np.int64)
        before = window.before(node.output)
        held, last = start if before is None else (list(before[1:]), before[0])
        steps = max(len(train) for train in trains)
        tracers = [own + np.cumsum(lengthen(train, steps), axis=0) for own, train in zip(held, trains, strict=True)]
        if self.phases is not None and isinstance(op, Product):  # one event, of complete levels
            train = np.zeros((self.phases.of[node.output].end, *shape), np.int64)
            train[-1:] = op.evaluate(*(own.sum(axis=0) for own in trains))[0]
            return train
        results = by_step(op, tracers, (0, *shape))
        if steps:
            window.kept[node.output] = results[-1], *(tracer[-1] for tracer in tracers)
        else:
            window.kept[node.output] = last, *held
        return np.diff(results, axis=0, prepend=last[np.newaxis])

    def _train(self, window: _Window, value: Value) -> DenseTrain:
        """The train of a value; a fixed one charges its levels into every sample, once where its receivers keep them."""
        if value not in window.trains:
            assert window.host is not None
            levels, batched = window.host.reals[value], value.type.batch_axis == 0
            sample = levels.shape[1:] if levels.ndim and (batched or levels.shape[0] == 1) else levels.shape
            train = DenseTrain.of(np.broadcast_to(levels, (self.batch, *sample))[np.newaxis], charged=True)
            if window.memory is not None:
                train = DenseTrain.silent((self.batch, *sample))
            window.trains[value] = train
            self._use(window, train)
        return window.trains[value]

    def _emit(self, window: _Window, value: Value, train: DenseTrain) -> None:
        window.trains[value] = train
        self.emitted.setdefault(window.prefix + value.name, []).append(train.values)
        self._use(window, train)

    def _use(self, window: _Window, train: DenseTrain) -> None:
        values = train.values
        active = values.any(axis=tuple(range(2, values.ndim))) * np.arange(1, len(values) + 1)[:, np.newaxis]
        self.used[window.name] = np.maximum(self.used[window.name], active.max(axis=0, initial=0))

    def _moved(self, window: _Window, node: Node, op: Movement) -> DenseTrain:
        bound = op.bind(self.sizes)
        trains = [self._train(window, value) for value in node.operands]
        steps = max(len(train.values) for train in trains)
        shape = (0, *concrete_shape(node.output.type, self.sizes))
        values = [lengthen(train.values, steps) for train in trains]
        charged = [lengthen(train.charged, steps) for train in trains]
        encoded = all(train.encoded for train in trains)
        return DenseTrain(by_step(bound, values, shape), by_step(bound, charged, shape).astype(bool), encoded)

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

    def _currents(self, window: _Window, node: Node, steps: int) -> np.ndarray:
        """The currents of the first steps [steps, N, ...], and their synaptic operations counted.

        Those are one for each event and synapse that it goes through. A synapse knows no time: its steps are samples to it.
        """
        shape = concrete_shape(node.output.type, self.sizes)
        totals = np.zeros((steps, *shape), np.int64)
        for synapse in self._synapses(node):
            op, train, (weight, *rest) = synapse.op, self._train(window, synapse.operands[0]), self._weights(window, synapse)
            if not (rest and len(rest) == 2):  # a bias is no current; a sparse synapse's rows and columns stay
                rest = []
            name = window.prefix + synapse.output.name
            assert isinstance(op, Dense | Diagonal | Sparse | Conv)
            ones, counted = np.ones_like(weight), op.without_gain()
            for first in range(0, min(steps, len(train.values)), _STEPS):
                last = min(first + _STEPS, steps)
                values, charged = train.values[first:last], train.charged[first:last]
                for total, current in zip(totals[first:last], _by_sample(op, values, weight, *rest), strict=False):
                    total += current
                for counter, events in ((self.result.synops, values != 0), (self.result.charges, (values != 0) & charged)):
                    if events.any():
                        for used in _by_sample(counted, events.astype(np.int64), ones, *rest):
                            self._add(counter, name, np.broadcast_to(used, shape)[np.newaxis], 1)
        return totals

    def _add(self, counters: dict[str, np.ndarray], name: str, amounts: np.ndarray, axis: int) -> None:
        """Add amounts [steps, N, ...] to a counter [N]."""
        axes = tuple(other for other in range(amounts.ndim) if other != axis)
        counters[name] = counters.get(name, np.zeros(self.batch, np.int64)) + amounts.sum(axis=axes)

    def _population(self, window: _Window, node: Node, op: Bif) -> np.ndarray:
        theta = window.constants[node.operands[0]].astype(np.int64)
        lo, hi = op.quantization.lo, op.quantization.hi
        before = window.before(node.output)
        total, tracer = (self._start(window, node), np.zeros((), np.int64)) if before is None else before
        tracer = np.broadcast_to(tracer, total.shape)
        length = self._length(window, node)
        currents = self._currents(window, node, length if self.cap is None else min(length, self.cap))
        name = window.prefix + node.output.name
        train: list[np.ndarray] = []
        sums: list[np.ndarray] = []
        while self.cap is None or len(train) < self.cap:
            if len(train) < length:
                total = total + currents[len(train)]
            spikes = _fire(total, tracer, theta, op.staircase, lo, hi)
            tracer = tracer + spikes
            train.append(spikes)
            sums.append(total)
            if len(train) >= length and not spikes.any():
                break
        window.kept[node.output] = total, tracer
        self.result.unsettled += int(np.count_nonzero(_fire(total, tracer, theta, op.staircase, lo, hi)))
        if name in self.record:
            self.potentials.setdefault(name, []).append(np.stack(sums))
        return np.stack(train)

    def _few_spikes(self, window: _Window, node: Node, op: Fs) -> np.ndarray:
        """The bits of the levels, from the step on at which the input is complete: [steps, N, ...]."""
        assert self.phases is not None
        first, steps = self.phases.of[node.output]
        theta = window.constants[node.operands[0]].astype(np.int64)
        sums = self._start(window, node) + self._currents(window, node, steps).cumsum(axis=0)
        if self._length(window, node) > first:
            raise UnsupportedError(f"{node.describe()}: input arrives after step {first}, from which on it should be complete")
        train = np.zeros((steps, *concrete_shape(node.output.type, self.sizes)), np.int64)
        if steps > first:
            train[first:] = _tell(sums[first], theta, op)
        name = window.prefix + node.output.name
        if name in self.record:
            self.potentials.setdefault(name, []).append(sums)
        return train

    def _scan(self, window: _Window, node: Node, op: Scan) -> None:
        body = node.body
        assert body is not None
        assert window.host is not None
        pairs = list(zip(body.inputs, node.operands, strict=True))
        constants = {value: value.array for value in body.constants}
        constants.update({inner: window.constants[outer] for inner, outer in pairs if outer in window.constants})
        outputs = list(body.outputs.values())
        states = []
        for inner, outer in pairs[: op.states]:
            initial = spread(self._train(window, outer), concrete_shape(inner.type, self.sizes))
            states.append(StateIn(initial, _levels(inner), self.sending))
        spikes_in = [
            (inner, self._train(window, outer).crossing(self.sending.first(outer)))
            for inner, outer in pairs[op.states :]
            if inner.type.dtype == "spike"
        ]
        cut = body.inputs[op.states : op.states + op.elements]
        elements = {inner: ElementsIn(train, _levels(inner), self.sending) for inner, train in spikes_in if inner in cut}
        shared = {inner: train for inner, train in spikes_in if inner not in cut}
        stacked: list[tuple[Value, ValueOut, list[DenseTrain]]] = [
            (value, ValueOut(self.sending), []) for value in outputs[op.states :] if value.type.dtype == "spike"
        ]
        bodies = window.host.windows.get(node)
        memory = None
        for k, element in enumerate(self._order(node)):
            trains = dict(shared)
            if memory is not None:  # receivers still hold what they were told: it does not change
                trains = {inner: DenseTrain.silent(train.values.shape[1:]) for inner, train in shared.items()}
            trains.update((inner, sequence.window(element)) for inner, sequence in elements.items())
            trains.update((inner, state.window()) for inner, state in zip(body.inputs, states, strict=False))
            prefix = f"{node.outputs[0].name}/"
            host = bodies[k] if bodies is not None else None
            inside = _Window(body, host, trains, constants, prefix, f"{prefix[:-1]}[{element}]", memory)
            self._window(inside)
            for state, value in zip(states, outputs, strict=False):
                state.follow(self._train(inside, value).crossing(self.sending.first(value)))
            for value, leaving, rows in stacked:
                rows.append(leaving.window(self._train(inside, value).crossing(self.sending.first(value))))
            memory = inside.kept if self.sending.carry else None
        window.trains.update(zip(node.outputs, (state.final() for state in states), strict=False))
        results = [value for value in node.outputs[op.states :] if value.type.dtype == "spike"]
        for outer, (_, _, rows) in zip(results, stacked, strict=True):
            window.trains[outer] = stack(rows[::-1] if op.reverse else rows, concrete_shape(outer.type, self.sizes))


def _levels(value: Value) -> Quantization:
    assert value.type.quantization is not None
    return value.type.quantization


def _scan_of(window: str) -> str:
    """The scan that a window `name[element]` is of."""
    return window.rpartition("[")[0]


def _by_sample(op: Op, values: np.ndarray, *weights: np.ndarray) -> np.ndarray:
    """A synapse applied to each step of [steps, N, ...]."""
    steps, batch, *sample = values.shape
    (results,) = op.evaluate(values.reshape(steps * batch, *sample), *weights)
    return results.reshape(steps, batch, *results.shape[1:])


def _tell(total: np.ndarray, theta: np.ndarray, op: Fs) -> np.ndarray:
    """The events of few-spike neurons of complete sums A, as `Fs` states them: int64 [bits, ...]."""
    lo, hi = op.quantization.lo, op.quantization.hi

    def threshold(level: np.ndarray) -> np.ndarray:
        """t[level], the least sum of that level; for levels outside of lo+1..hi any number."""
        if not op.staircase:
            result: np.ndarray = level * theta - theta // 2
            return result
        rows = np.broadcast_to(
            theta.reshape(hi - lo, *([1] * (total.ndim - theta.ndim + 1)), *theta.shape[1:]), (hi - lo, *total.shape)
        )
        found: np.ndarray = np.take_along_axis(rows, np.clip(level - lo - 1, 0, hi - lo - 1)[np.newaxis], axis=0)[0]
        return found

    zero = np.zeros(total.shape, np.int64)
    negative = (total < threshold(zero)) & (lo < 0)
    told, train = zero, []
    for k in range(op.quantization.magnitude_bits - 1, op.omitted - 1, -1):
        up = ~negative & (told + (1 << k) <= hi) & (total >= threshold(told + (1 << k)))
        down = negative & (told - (1 << k) >= lo) & (total < threshold(told - (1 << k) + 1))
        events = np.where(up, 1 << k, np.where(down, -(1 << k), 0))
        told = told + events
        train.append(events)
    return np.stack(train)


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
