"""Runs the integer program of a bundle: NumPy integers only, step by step, as docs/bundle.md says.

A train is an int64 array [samples, steps, n]; after its last step it is silent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from snnir.backends.bundle.currents import currents
from snnir.backends.bundle.program import (
    Constant,
    Input,
    IntegerProgram,
    Max,
    Op,
    Population,
    Product,
    Readout,
    Route,
    Scan,
    Summing,
    Synapse,
    outside,
)
from snnir.errors import UsageError

__all__ = ["Observed", "Replay", "Run", "Window", "replay"]

Widths = Mapping[str, Mapping[str, int]]
"""Bits of the registers `membrane`, `current` and `tracer` of populations and readouts by name."""


@dataclass
class Observed:
    """The least and greatest integer that each register of a population held."""

    ranges: dict[str, list[int]] = field(default_factory=dict)

    def see(self, register: str, values: np.ndarray) -> None:
        """Widen the range of a register."""
        if values.size:
            low, high = int(values.min()), int(values.max())
            held = self.ranges.setdefault(register, [low, high])
            held[0], held[1] = min(held[0], low), max(held[1], high)


@dataclass
class Replay:
    """What a run gives: settled tracers of every input, population, max and product and sums of readouts, int64 [N, n]
    or [N, windows, n]; their trains [N, (windows,) steps, n]; and what registers held."""

    counts: dict[str, np.ndarray] = field(default_factory=dict)
    trains: dict[str, np.ndarray] = field(default_factory=dict)
    observed: dict[str, Observed] = field(default_factory=dict)
    settled: dict[str, np.ndarray] = field(default_factory=dict)
    """Levels [N, ...] of the outputs that are levels, by their trains."""


def replay(program: IntegerProgram, inputs: Mapping[str, np.ndarray], widths: Widths | None = None) -> Replay:
    """Run levels [N, n] (inputs inside a scan: [N, windows, n]) by the names of input trains.

    With `widths`, every register is a two's complement register of that many bits, which wraps around where it overflows.
    Raises `UsageError` where an input is missing or has another shape.
    """
    work = Run(program, inputs, widths)
    trains: Trains = {}
    work.ops(program.ops, trains, None)
    shapes = {train.name: train.shape for train in outside(program.ops)}
    levels = [output.source for output in program.outputs if output.kind == "levels"]
    return work.result({name: trains[name].sum(axis=1).reshape(-1, *shapes[name]) for name in levels})


Trains = dict[str, np.ndarray]


class Window:
    """The window of a scan that is being run; `memory` is what its ops keep (None: it starts afresh)."""

    def __init__(self, k: int, memory: dict[str, tuple[np.ndarray, ...]] | None) -> None:
        self.k, self.memory = k, memory
        self.kept: dict[str, tuple[np.ndarray, ...]] = {}


class Run:
    """The ops of a program, one after another, over trains by name."""

    def __init__(self, program: IntegerProgram, inputs: Mapping[str, np.ndarray], widths: Widths | None) -> None:
        self.program, self.inputs, self.widths = program, inputs, widths
        self.batch = next((len(array) for array in inputs.values()), 1)
        self.rows: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
        self.inside: set[str] = set()
        self.observed: dict[str, Observed] = {}

    def ops(self, ops: Sequence[Op], trains: Trains, window: Window | None) -> None:
        """Enter the train of every op."""
        for op in ops:
            if isinstance(op, Scan):
                self._scan(op, trains)
            elif isinstance(op, Route):
                joined = _join([trains[name] for name in op.sources])
                index = op.map.array()
                trains[op.train.name] = np.where(index >= 0, joined[:, :, np.maximum(index, 0)], 0)
            elif isinstance(op, Constant):
                levels = np.broadcast_to(op.levels, (self.batch, 1, op.train.size))
                trains[op.train.name] = levels if window is None or window.memory is None else levels[:, :0]
            else:
                self.emitter(op, trains, window)

    def emitter(self, op: Input | Population | Readout | Max | Product, trains: Trains, window: Window | None) -> None:
        """Enter the train of an op that has registers, and what they keep."""
        name = op.train.name
        before = window.memory[name] if window is not None and window.memory is not None else None
        if isinstance(op, Input):
            levels = self._levels(op, window)
            train = (levels if before is None else levels - before[0])[:, np.newaxis]
            kept: tuple[np.ndarray, ...] = (levels,)
            count = levels
        elif isinstance(op, Population):
            train, kept = self._population(op, trains, before)
            count = kept[1]
        elif isinstance(op, Readout):
            total = self._start(op) if before is None else before[0]
            current = self._currents(op, trains)
            for t in range(current.shape[1]):
                total = self._hold(op, "membrane", total + current[:, t])
            train, kept, count = current[:, :0], (total,), total
        else:
            train, kept = self._combined(op, trains, before)
            count = kept[0]
        if window is not None:
            window.kept[name] = kept
            self.inside.add(name)
        trains[name] = train
        self.rows.setdefault(name, []).append((count, train))

    def _levels(self, op: Input, window: Window | None) -> np.ndarray:
        levels = self.inputs.get(op.train.name)
        if levels is None:
            raise UsageError(f"input {op.train.name} is missing; given were {', '.join(self.inputs) or 'none'}")
        levels = levels if window is None else levels[:, window.k]
        if levels.shape != (self.batch, op.train.size):
            raise UsageError(
                f"input {op.train.name}: expected [{self.batch}, {op.train.size}] levels, found {list(levels.shape)}"
            )
        return levels.astype(np.int64, copy=False)

    def _see(self, op: Summing, register: str, values: np.ndarray) -> None:
        """Note what a register was to hold."""
        self.observed.setdefault(op.train.name, Observed()).see(register, values)

    def _hold(self, op: Summing, register: str, values: np.ndarray) -> np.ndarray:
        """A register's values, noted, as it holds them."""
        self._see(op, register, values)
        return self._wrap(op, register, values)

    def _wrap(self, op: Summing, register: str, values: np.ndarray) -> np.ndarray:
        """A register's values as it holds them."""
        if self.widths is None:
            return values
        half = 1 << (self.widths[op.train.name][register] - 1)
        return (values + half) % (2 * half) - half

    def _start(self, op: Summing) -> np.ndarray:
        """The sum that neurons start with."""
        initial = np.broadcast_to(op.initial[op.initial_map.array()], (self.batch, op.train.size))
        return self._hold(op, "membrane", initial)

    def _currents(self, op: Summing, trains: Trains) -> np.ndarray:
        """What arrives at every neuron at every step, all synapses together."""
        steps = max((trains[synapse.source].shape[1] for synapse in op.synapses), default=0)
        total = np.zeros((self.batch, steps, op.train.size), np.int64)
        for synapse in op.synapses:
            train = trains[synapse.source]
            if train.size:
                total[:, : train.shape[1]] += _through(synapse, train)
        return self._hold(op, "current", total)

    def _population(
        self, op: Population, trains: Trains, before: tuple[np.ndarray, ...] | None
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        rows = op.theta[op.theta_map.array()]
        lo, hi = op.train.lo, op.train.hi
        shape = self.batch, op.train.size
        if before is not None:
            membrane, tracer = before
        else:
            tracer = np.zeros(shape, np.int64)
            membrane = self._start(op) if op.staircase else self._hold(op, "membrane", _initial(op, rows, shape))
        current = self._currents(op, trains)
        table = np.pad(rows, ((0, 0), (1, 1))) if op.staircase else rows
        train: list[np.ndarray] = []
        membranes: list[np.ndarray] = []
        tracers: list[np.ndarray] = []
        while True:
            t = len(train)
            if t < current.shape[1]:
                membranes.append(membrane + current[:, t])
                membrane = self._wrap(op, "membrane", membranes[-1])
            spikes = _fire(op, membrane, tracer, table, lo, hi)
            if not op.staircase:
                membranes.append(membrane - rows * spikes)
                membrane = self._wrap(op, "membrane", membranes[-1])
            tracers.append(tracer + spikes)
            tracer = self._wrap(op, "tracer", tracers[-1])
            if t >= current.shape[1] and not spikes.any():
                break
            train.append(spikes)
        for register, held in (("membrane", membranes), ("tracer", tracers)):
            if held:
                self._see(op, register, np.stack(held))
        emitted = np.stack(train, axis=1) if train else np.zeros((self.batch, 0, op.train.size), np.int64)
        return emitted, (membrane, tracer)

    def _combined(
        self, op: Max | Product, trains: Trains, before: tuple[np.ndarray, ...] | None
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """The change, step by step, of what the tracers combine to."""
        names = (op.source,) if isinstance(op, Max) else op.sources
        parts = [trains[name] for name in names]
        steps = max(part.shape[1] for part in parts)
        held = [np.zeros((self.batch, part.shape[2]), np.int64) for part in parts] if before is None else list(before[1:])
        last = np.zeros((self.batch, op.train.size), np.int64) if before is None else before[0]
        tracers = [own[:, np.newaxis] + _lengthen(part, steps).cumsum(axis=1) for own, part in zip(held, parts, strict=True)]
        if isinstance(op, Max):
            results = tracers[0].reshape(self.batch, steps, op.train.size, op.width).max(axis=3)
        else:
            results = tracers[0] * tracers[1]
        kept = (results[:, -1], *(tracer[:, -1] for tracer in tracers)) if steps else (last, *held)
        return np.diff(results, axis=1, prepend=last[:, np.newaxis]), kept

    def _scan(self, op: Scan, trains: Trains) -> None:
        from snnir.backends.bundle.borders import ElementIn, ResultOut, StateIn

        delivery, carry = self.program.delivery, self.program.carry
        states = [StateIn(trains[state.initial], delivery, carry) for state in op.states]
        elements = [ElementIn(trains[element.source], op.windows, element.at_once, carry) for element in op.elements]
        results = [ResultOut(carry) for _ in op.results]
        memory: dict[str, tuple[np.ndarray, ...]] | None = None
        for k in range(op.windows):
            at = op.windows - 1 - k if op.reverse else k
            inside: Trains = {}
            for shared in op.shared:
                train = trains[shared.source]
                inside[shared.input.name] = train if memory is None else train[:, :0]
            inside.update((plan.input.name, element.window(at)) for plan, element in zip(op.elements, elements, strict=True))
            inside.update((plan.input.name, state.window()) for plan, state in zip(op.states, states, strict=True))
            window = Window(k, memory)
            self.ops(op.ops, inside, window)
            for plan, state in zip(op.states, states, strict=True):
                state.follow(inside[plan.following])
            for result, leaving in zip(op.results, results, strict=True):
                leaving.window(inside[result.source])
            memory = window.kept if carry else None
        for plan, state in zip(op.states, states, strict=True):
            trains[plan.final.name] = state.final()
        for result, leaving in zip(op.results, results, strict=True):
            trains[result.train.name] = leaving.stacked(op.reverse, (self.batch, result.train.size))

    def result(self, settled: dict[str, np.ndarray]) -> Replay:
        """What was counted, emitted and observed."""
        found = Replay(observed=self.observed, settled=settled)
        for name, rows in self.rows.items():
            counts, trains = zip(*rows, strict=True)
            if name in self.inside:
                steps = max(train.shape[1] for train in trains)
                found.counts[name] = np.stack(counts, axis=1)
                found.trains[name] = np.stack([_lengthen(train, steps) for train in trains], axis=1)
            else:
                found.counts[name], found.trains[name] = counts[0], trains[0]
        return found


def _initial(op: Population, rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(op.initial[op.initial_map.array()] + rows // 2, shape)


def _fire(op: Population, membrane: np.ndarray, tracer: np.ndarray, table: np.ndarray, lo: int, hi: int) -> np.ndarray:
    """What neurons fire: +1, -1 or 0. A staircase's `table` has an entry more at each end, which is never asked for."""
    if op.staircase:
        at = (tracer - lo).T
        neurons = np.arange(len(table))[:, np.newaxis]
        up, down = membrane >= table[neurons, at + 1].T, membrane < table[neurons, at].T
    else:
        up, down = membrane >= table, membrane < 0
    return np.where(up & (tracer < hi), 1, np.where(down & (tracer > lo), -1, 0))


def _through(synapse: Synapse, train: np.ndarray) -> np.ndarray:
    batch, steps, size = train.shape
    return currents(synapse, train.reshape(batch * steps, size)).reshape(batch, steps, -1)


def _lengthen(train: np.ndarray, steps: int) -> np.ndarray:
    missing = steps - train.shape[1]
    return np.pad(train, ((0, 0), (0, missing), (0, 0))) if missing else train


def _join(parts: Sequence[np.ndarray]) -> np.ndarray:
    steps = max(part.shape[1] for part in parts)
    return np.concatenate([_lengthen(part, steps) for part in parts], axis=2)
