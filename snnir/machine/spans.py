"""Spans: for every address of a train, intervals of what its tracer may be and of what it may emit.

A span is int64 [3, 2, n]: rows `TRACER`, `FIRST` (an event of step 0) and `LATER` (one of a later step), each with its least
and greatest integer, inclusive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from snnir.machine.trains import Train

__all__ = [
    "FIRST",
    "LATER",
    "TRACER",
    "Bounds",
    "Interval",
    "Spans",
    "anything",
    "bits_of",
    "bits_span",
    "charged",
    "crossing",
    "hull",
    "levels_of",
    "limited",
    "swing",
    "times",
    "union",
    "with_zero",
]

Interval = tuple[int, int]
Spans = dict[str, np.ndarray]
"""Spans by the names of trains."""

TRACER, FIRST, LATER = 0, 1, 2


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


def hull(intervals: np.ndarray) -> Interval:
    """The interval around intervals [..., 2, n], and 0."""
    return int(intervals[..., 0, :].min(initial=0)), int(intervals[..., 1, :].max(initial=0))


def union(spans: Sequence[np.ndarray]) -> np.ndarray:
    """The span around several."""
    stacked = np.stack(spans)
    return np.stack([stacked[:, :, 0].min(axis=0), stacked[:, :, 1].max(axis=0)], axis=1)


def with_zero(tracer: np.ndarray) -> np.ndarray:
    """Intervals [2, n] of a tracer, and 0, where every tracer starts."""
    return np.stack([np.minimum(tracer[0], 0), np.maximum(tracer[1], 0)])


def levels_of(train: Train) -> np.ndarray:
    """The levels of a train, int64 [2, n]."""
    return np.stack([np.full(train.size, train.lo, np.int64), np.full(train.size, train.hi, np.int64)])


def swing(tracer: np.ndarray) -> np.ndarray:
    """The changes that a tracer can make at once, int64 [2, n]."""
    return np.stack([tracer[0] - tracer[1], tracer[1] - tracer[0]])


def anything(train: Train) -> np.ndarray:
    """The span of a train of which only the levels are known."""
    tracer = levels_of(train)
    return np.stack([tracer, swing(tracer), swing(tracer)])


def charged(tracer: np.ndarray, changes: bool) -> np.ndarray:
    """The span of levels (or of their changes) that are sent at step 0."""
    return np.stack([tracer, swing(tracer) if changes else tracer, np.zeros_like(tracer)])


def bits_span(tracer: np.ndarray, first: bool) -> np.ndarray:
    """The span of levels [2, n] that are sent as bits, from step 0 on (`first`) or later."""
    highest = np.frompyfunc(lambda level: 1 << int(level).bit_length() >> 1, 1, 1)
    bits = np.stack([-highest(np.maximum(-tracer[0], 0)), highest(np.maximum(tracer[1], 0))]).astype(np.int64)
    return np.stack([tracer, bits if first else np.zeros_like(bits), bits])


def crossing(span: np.ndarray, first: int) -> np.ndarray:
    """The span of a train from its step `first` on."""
    if not first:
        return span
    later = span[LATER]
    return np.stack([span[TRACER], later, later])


def times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intervals [2, n] of the products of two intervals."""
    corners = np.stack([a[i] * b[j] for i in (0, 1) for j in (0, 1)])
    return np.stack([corners.min(axis=0), corners.max(axis=0)])


def limited(tracer: np.ndarray, events: np.ndarray) -> np.ndarray:
    """A span of a tracer [2, n] and events [2, 2, n] (step 0, later): no event is more than what the tracer can change by."""
    most = swing(with_zero(tracer))
    events = np.stack([np.maximum(events[:, 0], most[0]), np.minimum(events[:, 1], most[1])], axis=1)
    return np.concatenate([tracer[np.newaxis], events])
