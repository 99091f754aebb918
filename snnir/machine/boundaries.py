"""Boundaries: how states, elements and results cross the border of a scan's windows. This is the one place that says it.

With execution `reset`, a window receives every level. With `carry`, its receivers still hold the level of the window before, so
that it receives only the difference; what leaves it is a change as well, which the outside receives as a level.

Each class says it three times: as events (`window`), as spans of what they can be (`*_span`), and as numbers of steps
(`*_steps`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnir.ir.bits import bit_planes
from snnir.machine.scans import Element
from snnir.machine.spans import FIRST, LATER, TRACER, Interval, anything, bits_span, charged, swing, union, with_zero
from snnir.machine.trains import DenseTrain, lengthen

__all__ = ["ElementIn", "Protocol", "ResultOut", "StateIn"]


@dataclass
class Protocol:
    """How the windows of a scan receive levels: the options of a run; `undelivered` counts the spikes of states and elements
    that the cap on steps cut off."""

    delivery: str
    carry: bool
    few: bool = False
    cap: int | None = None
    undelivered: int = 0

    def send(self, levels: np.ndarray, encoded: bool = False, bits: int = 0) -> DenseTrain:
        """Levels [samples, n]: encoded ones at step 0, others as the delivery says (`replay` sends them as `relay` does);
        few-spike neurons send that many bits."""
        if encoded or self.delivery == "graded":
            return DenseTrain.of(levels[:, np.newaxis], encoded)
        if self.few:
            return DenseTrain.of_bits(np.moveaxis(bit_planes(levels, bits), 0, 1))
        most = int(np.abs(levels).max(initial=0))
        steps = np.arange(most if self.cap is None else min(most, self.cap))[np.newaxis, :, np.newaxis]
        self.undelivered += int(np.maximum(np.abs(levels) - steps.size, 0).sum())
        return DenseTrain.of(np.sign(levels)[:, np.newaxis] * (np.abs(levels)[:, np.newaxis] > steps))

    def resumed(self, k: int) -> bool:
        """Whether window k goes on from the one before."""
        return self.carry and k > 0

    # What `send` can send.

    def _sent_span(self, tracer: np.ndarray, changes: bool, encoded: bool = False) -> np.ndarray:
        if encoded or self.delivery == "graded":
            return charged(tracer, changes)
        if self.few:
            return bits_span(tracer, first=True)
        step = np.clip(swing(tracer) if changes else tracer, -1, 1)
        return np.stack([tracer, step, step])

    def _sent_steps(self, tracer: Interval, changes: bool, encoded: bool = False, bits: int = 0) -> int:
        low, high = tracer
        if encoded or self.delivery == "graded":
            return 1
        if self.few:
            return bits
        return high - low if changes else max(high, -low)

    # Values that every window takes, and results.

    def shared_span(self, span: np.ndarray, k: int) -> np.ndarray:
        """A shared value's span in window k: receivers that go on still hold it."""
        return np.stack([span[TRACER], np.zeros_like(span[FIRST]), np.zeros_like(span[LATER])]) if self.resumed(k) else span

    def shared_steps(self, steps: int, k: int) -> int:
        """A shared value's steps in window k."""
        return 0 if self.resumed(k) else steps

    def result_span(self, span: np.ndarray, k: int) -> np.ndarray:
        """A body's span as the outside receives it: at step 0 the level that was kept, and its change."""
        return np.stack([span[TRACER], with_zero(span[TRACER]), span[LATER]]) if self.resumed(k) else span

    def result_steps(self, steps: int, k: int) -> int:
        """A body's steps as the outside receives them."""
        return max(steps, int(self.resumed(k)))

    # Elements.

    def element_span(self, element: Element, whole: np.ndarray, windows: int, k: int) -> np.ndarray:
        """The span of any element of a sequence [3, 2, windows * n] in window k."""
        if not windows:
            return anything(element.input)
        cut = whole.reshape(3, 2, windows, -1)
        span = np.stack([cut[:, 0].min(axis=1), cut[:, 1].max(axis=1)], axis=1)
        return self._sent_span(span[TRACER], True, element.encoded) if self.resumed(k) else span

    def element_steps(self, element: Element, steps: int, tracer: Interval, k: int) -> int:
        """An element's steps in window k; its tracer stays in `tracer`."""
        return self._sent_steps(tracer, True, element.encoded) if self.resumed(k) else steps

    # States.

    def state_span(self, span: np.ndarray, k: int) -> np.ndarray:
        """A state's span in window k, given that of what it has been."""
        tracer = with_zero(span[TRACER])
        if self.delivery == "replay":
            if not self.resumed(k):
                return span
            return np.stack([tracer, swing(tracer), union([span, self._sent_span(tracer, True)])[LATER]])
        return self._sent_span(tracer, self.resumed(k))

    def state_steps(self, train: int, tracer: Interval, k: int, bits: int) -> int:
        """A state's steps in window k, whose train in the window before took `train`, and whose level has so many bits."""
        if self.delivery == "replay":
            return max(train, 1) if self.resumed(k) else train
        return self._sent_steps(tracer, self.resumed(k), bits=bits)

    def different(self, windows: int) -> int:
        """How many windows of a scan may take different numbers of steps; those after them are like the last of them."""
        if self.delivery == "replay":
            return windows
        return min(windows, 2) if self.carry else 1


class StateIn:
    """A state of levels of so many `bits` on its way into windows; `initial` is the train that it starts with."""

    def __init__(self, initial: DenseTrain, protocol: Protocol, bits: int) -> None:
        self.protocol, self.train, self.bits = protocol, initial, bits
        self.level = initial.tracer
        self.before, self.sent = np.zeros_like(self.level), np.zeros_like(self.level)
        self.windows = 0

    def window(self) -> DenseTrain:
        """What the next window gets: `replay` the train of the window before, the others its settled level."""
        carry = self.protocol.carry
        if self.protocol.delivery == "replay":
            # The first train of a carried state counts from 0, but its receivers hold what the state started as.
            train = self.train.raised(-self.before) if carry and self.windows == 1 else self.train
        else:
            train = self.protocol.send(self.level - self.sent, bits=self.bits)
        if carry:
            self.sent = self.sent + train.tracer
        return train

    def follow(self, train: DenseTrain) -> None:
        """The state has become what `train` of the window that just ended gives."""
        kept = self.level if self.protocol.resumed(self.windows) else np.zeros_like(self.level)
        self.before, self.level, self.train = self.level, kept + train.tracer, train
        self.windows += 1

    def final(self) -> DenseTrain:
        """The last state as the outside receives it."""
        return self.train.raised(self.before) if self.protocol.carry and self.windows > 1 else self.train


class ElementIn:
    """A sequence [samples, steps, windows * n], one element of which goes into each window."""

    def __init__(self, train: DenseTrain, windows: int, encoded: bool, protocol: Protocol) -> None:
        self.train, self.encoded, self.protocol = train, encoded, protocol
        self.size = train.values.shape[2] // max(windows, 1)
        self.sent: np.ndarray | None = None

    def window(self, element: int) -> DenseTrain:
        """What the next window gets: the element's own train, or (`carry`, after the first) its change."""
        own = slice(element * self.size, (element + 1) * self.size)
        train = DenseTrain(self.train.values[:, :, own], self.train.charged[:, :, own])
        if self.sent is not None:
            train = self.protocol.send(train.tracer - self.sent, self.encoded)
        if self.protocol.carry:
            self.sent = train.tracer if self.sent is None else self.sent + train.tracer
        return train


class ResultOut:
    """A body's train that leaves it, window after window."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.level: np.ndarray | None = None
        self.rows: list[DenseTrain] = []

    def window(self, train: DenseTrain) -> None:
        """Enter one window. Receivers outside are fresh, so they first receive the level that was kept."""
        if self.protocol.carry:
            train = train if self.level is None else train.raised(self.level)
            self.level = train.tracer
        self.rows.append(train)

    def stacked(self, reverse: bool) -> DenseTrain:
        """All windows, one or more, side by side: [samples, steps, windows * n]."""
        steps = max(row.steps for row in self.rows)
        rows = self.rows[::-1] if reverse else self.rows
        values = np.concatenate([lengthen(row.values, steps) for row in rows], axis=2)
        return DenseTrain(values, np.concatenate([lengthen(row.charged, steps) for row in rows], axis=2))
