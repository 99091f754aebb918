"""The range proof: intervals that hold every integer a program can reach, at any moment of any window.

Interval analysis over the integer program, one interval for every address. What a receiver holds of a source is always a
tracer value of that source, also between two events of one step and also where a scan is carried (docs/bundle.md, "Why the
ranges hold"), so that sums lie in `initial + sum of weight * tracer`. Membranes follow from them by `membranes.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from snnir.backends.bundle.currents import currents
from snnir.backends.bundle.membranes import membrane_range
from snnir.backends.bundle.program import (
    Constant,
    Input,
    IntegerProgram,
    Max,
    Op,
    Population,
    Readout,
    Route,
    Scan,
    Summing,
    Train,
)

__all__ = ["Bounds", "Interval", "bits_of", "certify"]

Interval = tuple[int, int]

_TRACER, _FIRST, _LATER = 0, 1, 2
"""Rows of a span: what the tracer may be, an event of step 0, and one of a later step; int64 [3, 2, n], low and high."""

_ROUNDS = 4
"""How often a scan is gone through before the tracers of states that still grow are taken to be anything in their levels."""


@dataclass
class Bounds:
    """Certified inclusive ranges: `trains` has `tracer` and `events` of every train; `registers` those of summing ops:
    `sum` (A), `membrane` (V, or A of a staircase or readout), `current` (what arrives in one step) and `tracer`."""

    trains: dict[str, dict[str, Interval]] = field(default_factory=dict)
    registers: dict[str, dict[str, Interval]] = field(default_factory=dict)

    def see(self, name: str, ranges: dict[str, Interval], table: dict[str, dict[str, Interval]]) -> None:
        """Widen ranges; every range holds 0, where registers are cleared to."""
        held = table.setdefault(name, {})
        for key, (low, high) in ranges.items():
            before = held.get(key, (0, 0))
            held[key] = min(before[0], low), max(before[1], high)


def bits_of(interval: Interval) -> int:
    """Bits of a two's complement register that holds the interval."""
    low, high = interval
    return max(high.bit_length(), (~low).bit_length() if low < 0 else 0) + 1


def certify(program: IntegerProgram) -> Bounds:
    """The ranges of everything in a program."""
    work = _Analysis(program)
    work.ops(program.ops, {}, False)
    return work.bounds


Spans = dict[str, np.ndarray]


class _Analysis:
    def __init__(self, program: IntegerProgram) -> None:
        self.program = program
        self.bounds = Bounds()

    def ops(self, ops: Sequence[Op], spans: Spans, resumed: bool) -> None:
        """Enter the spans of all trains; `resumed`: the window is a carried one that goes on."""
        for op in ops:
            if isinstance(op, Scan):
                self._scan(op, spans)
                continue
            if isinstance(op, Input):
                span = _charged(_levels(op.train), resumed)
            elif isinstance(op, Constant):
                span = np.zeros((3, 2, op.train.size), np.int64)
                span[_TRACER] = np.minimum(op.levels, 0), np.maximum(op.levels, 0)
                if not resumed:
                    span[_FIRST] = span[_TRACER]
            elif isinstance(op, Route):
                index = op.map.array()
                joined = np.concatenate([spans[name] for name in op.sources], axis=2)
                span = np.where(index >= 0, joined[:, :, np.maximum(index, 0)], 0)
            elif isinstance(op, Population):
                span = self._population(op, spans, resumed)
            elif isinstance(op, Readout):
                self._summing(op, spans)
                continue
            elif isinstance(op, Max):
                span = _max(op, spans[op.source])
            else:
                left, right = (spans[name] for name in op.sources)
                span = _product(left, right, resumed)
            self._enter(op.train.name, span, spans)

    def _enter(self, name: str, span: np.ndarray, spans: Spans) -> None:
        spans[name] = span
        low, high = span[:, 0].min(axis=1, initial=0), span[:, 1].max(axis=1, initial=0)
        events = int(low[1:].min()), int(high[1:].max())
        self.bounds.see(name, {"tracer": (int(low[0]), int(high[0])), "events": events}, self.bounds.trains)

    def _summing(self, op: Summing, spans: Spans) -> np.ndarray:
        """The intervals [3, 2, n] of the sum, and of what arrives at step 0 and at later steps."""
        total = np.zeros((3, 2, op.train.size), np.int64)
        for synapse in op.synapses:
            up, down = np.maximum(synapse.weights, 0), np.minimum(synapse.weights, 0)
            span = spans[synapse.source]
            rows = span.reshape(6, -1)
            crossed = span[:, ::-1].reshape(6, -1)
            total += (currents(synapse, rows, up) + currents(synapse, crossed, down)).reshape(total.shape)
        total[_TRACER] += op.initial[op.initial_map.array()]
        swing = total[_TRACER, 1] - total[_TRACER, 0]
        np.maximum(total[1:, 0], -swing, out=total[1:, 0])
        np.minimum(total[1:, 1], swing, out=total[1:, 1])
        sums = _hull(total[_TRACER])
        ranges = {"sum": sums, "membrane": sums, "current": _hull(total[1:])}
        if isinstance(op, Population) and not op.staircase:
            del ranges["membrane"]
        self.bounds.see(op.train.name, ranges, self.bounds.registers)
        return total

    def _population(self, op: Population, spans: Spans, resumed: bool) -> np.ndarray:
        total = self._summing(op, spans)
        rows, lo, hi = op.theta[op.theta_map.array()], op.train.lo, op.train.hi
        if op.staircase:
            settled = lo + (total[_TRACER][:, :, np.newaxis] >= rows).sum(axis=2)
        else:
            settled = np.clip((total[_TRACER] + rows // 2) // rows, lo, hi)
        least, most = np.minimum(settled[0], 0), np.maximum(settled[1], 0)
        registers = {"tracer": _hull(np.stack([least, most]))}
        if not op.staircase:
            initial = op.initial[op.initial_map.array()]
            registers["membrane"] = membrane_range(total, initial, rows, least, most, resumed)
        self.bounds.see(op.train.name, registers, self.bounds.registers)
        moves = (most > least).astype(np.int64)
        first = np.stack([-np.minimum(moves, -least if not resumed else 1), np.minimum(moves, most if not resumed else 1)])
        return np.stack([np.stack([least, most]), first, np.stack([-moves, moves])])

    def _scan(self, op: Scan, spans: Spans) -> None:
        delivery, carry = self.program.delivery, self.program.carry
        starts = [spans[state.initial] for state in op.states]
        held = list(starts)
        leaving: list[list[np.ndarray]] = [[] for _ in op.results]
        following: list[list[np.ndarray]] = [[] for _ in op.states]
        # A fresh window; then, until nothing grows, windows whose states are what those before them made.
        for k in range(min(op.windows, _ROUNDS + 1)):
            resumed = carry and k > 0
            inside: Spans = {}
            for shared in op.shared:
                inside[shared.input.name] = _silenced(spans[shared.source]) if resumed else spans[shared.source]
            for element in op.elements:
                inside[element.input.name] = _element(spans[element.source], op.windows, element.at_once, resumed)
            for state, span in zip(op.states, held, strict=True):
                inside[state.input.name] = _delivered(span, delivery, carry, k)
            for name, span in list(inside.items()):
                self._enter(name, span, inside)
            self.ops(op.ops, inside, resumed)
            for rows, result in zip(leaving, op.results, strict=True):
                rows.append(_told(inside[result.source]) if resumed else inside[result.source])
            for rows, state in zip(following, op.states, strict=True):
                rows.append(_told(inside[state.following]) if resumed else inside[state.following])
            grown = [_union([span, inside[state.following]]) for span, state in zip(held, op.states, strict=True)]
            if k == _ROUNDS - 1:
                grown = [_union([span, _anything(state.input)]) for span, state in zip(grown, op.states, strict=True)]
            same = all(np.array_equal(new, old) for new, old in zip(grown, held, strict=True))
            held = grown
            if same and (k > 0 or not carry):
                break
        for state, rows, start in zip(op.states, following, starts, strict=True):
            self._enter(state.final.name, _union([*rows, start]), spans)
        for result, rows in zip(op.results, leaving, strict=True):
            self._enter(result.train.name, np.tile(_union(rows), (1, 1, op.windows)), spans)


def _hull(intervals: np.ndarray) -> Interval:
    """The interval around intervals [..., 2, n], and 0."""
    return int(intervals[..., 0, :].min(initial=0)), int(intervals[..., 1, :].max(initial=0))


def _union(spans: Sequence[np.ndarray]) -> np.ndarray:
    stacked = np.stack(spans)
    return np.stack([stacked[:, :, 0].min(axis=0), stacked[:, :, 1].max(axis=0)], axis=1)


def _levels(train: Train) -> np.ndarray:
    return np.stack([np.full(train.size, train.lo, np.int64), np.full(train.size, train.hi, np.int64)])


def _anything(train: Train) -> np.ndarray:
    tracer = _levels(train)
    return np.stack([tracer, _swing(tracer), _swing(tracer)])


def _swing(tracer: np.ndarray) -> np.ndarray:
    return np.stack([tracer[0] - tracer[1], tracer[1] - tracer[0]])


def _charged(tracer: np.ndarray, changes: bool) -> np.ndarray:
    return np.stack([tracer, _swing(tracer) if changes else tracer, np.zeros_like(tracer)])


def _silenced(span: np.ndarray) -> np.ndarray:
    return np.stack([span[_TRACER], np.zeros_like(span[_FIRST]), np.zeros_like(span[_LATER])])


def _told(span: np.ndarray) -> np.ndarray:
    """A carried train as the outside is told of it: at step 0 the level that was kept, and its change."""
    tracer = span[_TRACER]
    first = np.stack([np.minimum(tracer[0], 0), np.maximum(tracer[1], 0)])
    return np.stack([tracer, first, span[_LATER]])


def _unary(tracer: np.ndarray, changes: bool) -> np.ndarray:
    step = _swing(tracer) if changes else tracer
    step = np.clip(step, -1, 1)
    return np.stack([tracer, step, step])


def _element(whole: np.ndarray, windows: int, at_once: bool, resumed: bool) -> np.ndarray:
    cut = whole.reshape(3, 2, windows, -1)
    span = np.stack([cut[:, 0].min(axis=1), cut[:, 1].max(axis=1)], axis=1)
    if not resumed:
        return span
    return _charged(span[_TRACER], True) if at_once else _unary(span[_TRACER], True)


def _delivered(span: np.ndarray, delivery: str, carry: bool, k: int) -> np.ndarray:
    """A state's span in a window, given that of what it has been."""
    tracer = np.stack([np.minimum(span[_TRACER, 0], 0), np.maximum(span[_TRACER, 1], 0)])
    if delivery == "replay":
        if not (carry and k > 0):
            return span
        return np.stack([tracer, _swing(tracer), _union([span, _unary(tracer, True)])[_LATER]])
    changes = carry and k > 0
    return _charged(tracer, changes) if delivery == "graded" else _unary(tracer, changes)


def _max(op: Max, span: np.ndarray) -> np.ndarray:
    grouped = span.reshape(3, 2, op.train.size, op.width)
    tracer = grouped[_TRACER].max(axis=2)
    events = np.stack([grouped[1:, 0].min(axis=2), grouped[1:, 1].max(axis=2)], axis=1)
    return _limited(tracer, events)


def _product(a: np.ndarray, b: np.ndarray, resumed: bool) -> np.ndarray:
    tracer = _times(a[_TRACER], b[_TRACER])
    tracer = np.stack([np.minimum(tracer[0], 0), np.maximum(tracer[1], 0)])
    # d(ab) = da S_b(t) + S_a(t-1) db, and at step 0 of a fresh window S_a(t-1) = 0
    events = np.stack([_times(a[row], b[_TRACER]) + _times(a[_TRACER], b[row]) for row in (_FIRST, _LATER)])
    if not resumed:
        events[0] = _times(a[_FIRST], b[_FIRST])
    return _limited(tracer, events)


def _times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    corners = np.stack([a[i] * b[j] for i in (0, 1) for j in (0, 1)])
    return np.stack([corners.min(axis=0), corners.max(axis=0)])


def _limited(tracer: np.ndarray, events: np.ndarray) -> np.ndarray:
    swing = _swing(np.stack([np.minimum(tracer[0], 0), np.maximum(tracer[1], 0)]))
    events = np.stack([np.maximum(events[:, 0], swing[0]), np.minimum(events[:, 1], swing[1])], axis=1)
    return np.concatenate([tracer[np.newaxis], events])
