"""The plain interpreter of machine programs: NumPy integers only, step by step, as docs/machine.md says.

It is slow, meant to be read, and what every backend is tested against.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from snnir.errors import UsageError
from snnir.machine.boundaries import ElementIn, Protocol, ResultOut, StateIn
from snnir.machine.program import Emitter, Input, IntegerProgram, Op, Route, Scan, Summing, outside, walk
from snnir.machine.registers import Observed, Registers, Widths
from snnir.machine.run_counts import RunCounts
from snnir.machine.segments import segments
from snnir.machine.synapses import currents
from snnir.machine.trains import DenseTrain, join, lengthen
from snnir.machine.window import Emission, Memory, Window

__all__ = ["Execution", "Interpreter", "interpret"]


@dataclass
class Execution(RunCounts):
    """What a run gives, by the names of emitters.

    `counts` are the settled tracers of every input, population, max and product, and the sums of readouts: int64 [N, n], or
    [N, windows, n] inside a scan; `trains` their events [N, (windows,) steps, n]; `observed` what registers held; `settled`
    the levels [N, ...] of the outputs that are levels, by their trains. `sums` holds the sums A [N, (windows,) steps, n] after
    each step, where wanted. `arrivals` are the synaptic operations at each neuron [N, n], which `synops` adds up by synapse.
    """

    counts: dict[str, np.ndarray] = field(default_factory=dict)
    trains: dict[str, np.ndarray] = field(default_factory=dict)
    observed: dict[str, Observed] = field(default_factory=dict)
    settled: dict[str, np.ndarray] = field(default_factory=dict)
    sums: dict[str, np.ndarray] = field(default_factory=dict)
    arrivals: dict[str, np.ndarray] = field(default_factory=dict)


def interpret(
    program: IntegerProgram,
    inputs: Mapping[str, np.ndarray],
    widths: Widths | None = None,
    *,
    batch: int | None = None,
    cap: int | None = None,
    spread: bool = False,
    record: Sequence[str] = (),
) -> Execution:
    """Run levels [N, n] (inputs inside a scan: [N, windows, n]) by the names of input trains.

    With `widths`, every register is a two's complement register of that many bits, which wraps around where it overflows.
    `batch` is N, for programs without inputs. Every window takes at most `cap` steps; with `spread`, inputs are charged in
    portions over them. `record` names the populations whose sums are wanted. Raises `UsageError` where an input is missing or
    has another shape.
    """
    work = Interpreter(program, inputs, widths, batch=batch, cap=cap, spread=spread, record=record)
    return work.execution(work.run())


class Interpreter:
    """The ops of a program, one after another, over trains by name."""

    def __init__(
        self,
        program: IntegerProgram,
        inputs: Mapping[str, np.ndarray],
        widths: Widths | None = None,
        *,
        batch: int | None = None,
        cap: int | None = None,
        spread: bool = False,
        record: Sequence[str] = (),
    ) -> None:
        self.program, self.inputs, self.registers = program, inputs, Registers(widths)
        self.batch = next((len(array) for array in inputs.values()), 1) if batch is None else batch
        self.cap, self.spread, self.record = cap, spread, frozenset(record)
        self.sizes = {op.train.name: op.train.size for op, _ in walk(program.ops) if isinstance(op, Input)}
        self.protocol = Protocol(program.delivery, program.carry, program.few, cap)
        self.rows: dict[str, list[Emission]] = {}
        self.inside: set[str] = set()
        self.segments: dict[int, dict[str, int]] = {}
        self.found = Execution(observed=self.registers.observed)
        self.used: dict[str, list[np.ndarray]] = {program.name: []}

    def run(self) -> dict[str, DenseTrain]:
        """Run everything; the trains outside scans."""
        window = self.window(None, {}, None)
        self.ops(self.program.ops, window, None)
        return window.trains

    def window(self, index: int | None, trains: dict[str, DenseTrain], memory: dict[str, Memory] | None) -> Window:
        """A window to run: the one with this index of a scan, or what is outside scans (None)."""

        def levels(name: str) -> np.ndarray:
            return self._levels(name, index)

        wanted = self.record.__contains__
        return Window(index or 0, self.batch, trains, memory, self.registers, levels, self.cap, self.spread, wanted)

    def ops(self, ops: Sequence[Op], window: Window, name: str | None) -> None:
        """Enter the train of every op; `name` is that of a scan's window (None: outside scans)."""
        of = self.segments.setdefault(id(ops), segments(ops))
        for op in ops:
            if isinstance(op, Scan):
                self._scan(op, window)
            elif isinstance(op, Route):
                window.trains[op.train.name] = join([window.trains[source] for source in op.sources]).moved(op.map.array())
            else:
                if isinstance(op, Summing):
                    self._count(op, window)
                emission = self.emitter(op, window)
                shifted = self.program.few and op.shifted
                train = DenseTrain.of_bits(emission.events) if shifted else DenseTrain.of(emission.events, op.charges)
                window.trains[op.train.name] = train
                window.kept[op.train.name] = emission.kept
                self._enter(op, emission, name, of[op.train.name])
                if self.program.few:  # a window takes the steps of its schedule, whatever is silent
                    longest = [emission.events.shape[1], *(window.trains[source].steps for source in op.sources)]
                    self._take(name, of[op.train.name], np.array(max(longest)))

    def emitter(self, op: Emitter, window: Window) -> Emission:
        """What an emitter does in a window."""
        return op.emit(window)

    def _enter(self, op: Emitter, emission: Emission, name: str | None, segment: int) -> None:
        """Note what an emitter did."""
        if op.counted:
            self.rows.setdefault(op.train.name, []).append(emission)
        if name is not None:
            self.inside.add(op.train.name)
        self.found.unsettled += emission.unsettled
        events = emission.events
        if op.fires:
            self._add(self.found.spikes, op.train.name, np.count_nonzero(events, axis=(1, 2)))
        active = events.any(axis=2) * np.arange(1, events.shape[1] + 1)
        self._take(name, segment, active.max(axis=1, initial=0))

    def _take(self, name: str | None, segment: int, steps: np.ndarray) -> None:
        """A segment of a window takes at least these steps."""
        used = self.used[self.program.name if name is None else name]
        used += [np.zeros(self.batch, np.int64) for _ in range(segment + 1 - len(used))]
        used[segment] = np.maximum(used[segment], steps)

    def _count(self, op: Summing, window: Window) -> None:
        """Count synaptic operations: one for each event and synapse that it goes through."""
        for synapse in op.synapses:
            train = window.trains[synapse.source]
            ones = np.ones_like(synapse.weights)
            there = train.values != 0
            for counter, events in ((self.found.synops, there), (self.found.charges, there & train.charged)):
                amount = np.zeros(self.batch, np.int64)
                if events.any():
                    arrived = currents(synapse, events.sum(axis=1), ones)
                    amount = arrived.sum(axis=1)
                    if counter is self.found.synops:
                        self._arrive(op.train.name, arrived)
                self._add(counter, synapse.name, amount)

    def _arrive(self, name: str, amount: np.ndarray) -> None:
        arrivals = self.found.arrivals
        arrivals[name] = arrivals[name] + amount if name in arrivals else amount

    def _add(self, counter: dict[str, np.ndarray], name: str, amount: np.ndarray) -> None:
        counter[name] = counter.get(name, np.zeros(self.batch, np.int64)) + amount

    def _levels(self, name: str, index: int | None) -> np.ndarray:
        levels = self.inputs.get(name)
        if levels is None:
            raise UsageError(f"input {name} is missing; given were {', '.join(self.inputs) or 'none'}")
        levels = levels if index is None else levels[:, index]
        size = self.sizes[name]
        if levels.shape != (self.batch, size):
            raise UsageError(f"input {name}: expected [{self.batch}, {size}] levels, found {list(levels.shape)}")
        return levels.astype(np.int64, copy=False)

    def _scan(self, op: Scan, outer: Window) -> None:
        protocol, trains = self.protocol, outer.trains
        states = [StateIn(trains[state.initial], protocol, state.input.bits) for state in op.states]
        elements = [
            ElementIn(trains[element.source].crossing(element.first), op.windows, element.encoded, protocol)
            for element in op.elements
        ]
        results = [ResultOut(protocol) for _ in op.results]
        memory: dict[str, Memory] | None = None
        for k in range(op.windows):
            at = op.windows - 1 - k if op.reverse else k
            inside: dict[str, DenseTrain] = {}
            for shared in op.shared:
                train = trains[shared.source].crossing(shared.first)
                inside[shared.input.name] = train if memory is None else train.silenced()
            inside.update((plan.input.name, element.window(at)) for plan, element in zip(op.elements, elements, strict=True))
            inside.update((plan.input.name, state.window()) for plan, state in zip(op.states, states, strict=True))
            name = f"{op.name}[{at}]"
            self.used[name] = []
            window = self.window(k, inside, memory)
            self.ops(op.ops, window, name)
            for plan, state in zip(op.states, states, strict=True):
                state.follow(inside[plan.following].crossing(plan.first))
            for result, leaving in zip(op.results, results, strict=True):
                leaving.window(inside[result.source].crossing(result.first))
            memory = window.kept if protocol.carry else None
        for plan, state in zip(op.states, states, strict=True):
            trains[plan.final.name] = state.final()
        for result, leaving in zip(op.results, results, strict=True):
            silent = np.zeros((self.batch, 0, result.train.size), np.int64)
            trains[result.train.name] = leaving.stacked(op.reverse) if leaving.rows else DenseTrain.of(silent)

    def execution(self, trains: Mapping[str, DenseTrain]) -> Execution:
        """What was counted, emitted and observed; `trains` are those outside scans."""
        found = self.found
        shapes = {train.name: train.shape for train in outside(self.program.ops)}
        for output in self.program.outputs:
            if output.kind == "levels":
                found.settled[output.source] = trains[output.source].tracer.reshape(self.batch, *shapes[output.source])
        for name, rows in self.rows.items():
            counts, events = [row.count for row in rows], [row.events for row in rows]
            sums = [row.sums for row in rows if row.sums is not None]
            if name in self.inside:
                steps = max(event.shape[1] for event in events)
                found.counts[name] = np.stack(counts, axis=1)
                found.trains[name] = np.stack([lengthen(event, steps) for event in events], axis=1)
                if sums:
                    longest = max(row.shape[1] for row in sums)
                    found.sums[name] = np.stack([_held(row, longest) for row in sums], axis=1)
            else:
                found.counts[name], found.trains[name] = counts[0], events[0]
                if sums:
                    found.sums[name] = sums[0]
        found.undelivered = self.protocol.undelivered
        found.windows = list(self.used)
        nothing = np.zeros(self.batch, np.int64)
        found.steps = np.stack([np.sum([nothing, *used], axis=0) for used in self.used.values()], axis=1)
        return found


def _held(sums: np.ndarray, steps: int) -> np.ndarray:
    """Sums [N, steps, n], the last ones held until there are `steps`."""
    return np.concatenate([sums, np.repeat(sums[:, -1:], steps - sums.shape[1], axis=1)], axis=1)
