"""What crosses the border of a scan's windows: elements and states going in, results going out; and what a body keeps.

With `reset`, a window is told every level. With `carry`, its receivers still hold what they were told in the window
before, so that only the difference is sent; what goes out is a change as well, and is told to the outside as a level.
`plain_scan.py` says the same on dense trains.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from snnir.backends.simulator.blocks import EncodePlan, PopulationPlan, TracerPlan
from snnir.backends.simulator.trains import Train, charge, raised, settled, split, unary
from snnir.ir.graph import Value

__all__ = ["ElementsIn", "Memory", "Sending", "StateIn", "ValueOut"]


@dataclass
class Sending:
    """How levels are sent in one run: its options, and the spikes that the cap on steps cut off."""

    delivery: str
    carry: bool
    cap: int
    undelivered: int = 0

    def send(self, levels: np.ndarray, encoded: bool) -> Train:
        """Levels [batch, n]: encoded ones at step 0, others as the delivery says (`replay` sends them as `relay` does)."""
        if encoded or self.delivery == "graded":
            return charge(levels, encoded)
        train, lost = unary(levels, self.cap)
        self.undelivered += lost
        return train


@dataclass
class Memory:
    """What the steps of a body keep from one window to the next, for some samples; `windows` have ended so far."""

    batch: int
    windows: int = 0
    sums: dict[PopulationPlan, np.ndarray] = field(default_factory=dict)
    levels: dict[PopulationPlan, np.ndarray] = field(default_factory=dict)
    tracers: dict[TracerPlan, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    encoded: dict[EncodePlan, np.ndarray] = field(default_factory=dict)

    def neurons(self, step: PopulationPlan) -> tuple[np.ndarray, np.ndarray]:
        """Sums and tracers [batch, n] of a population, which its kernel reads and writes."""
        if step not in self.sums:
            bias = step.segments.bias
            self.sums[step] = np.zeros((self.batch, bias.size), bias.dtype)
            self.levels[step] = np.zeros((self.batch, bias.size), np.int32)
        return self.sums[step], self.levels[step]

    def combined(self, step: TracerPlan) -> tuple[np.ndarray, np.ndarray]:
        """Tracers of what is combined, and what they were combined to: both [batch, ...], read and written."""
        if step not in self.tracers:
            shapes = (self.batch, step.rows.offsets.size - 1), (self.batch, len(step.members))
            self.tracers[step] = np.zeros(shapes[0], np.int64), np.zeros(shapes[1], np.int64)
        return self.tracers[step]

    def change(self, step: EncodePlan, levels: np.ndarray) -> np.ndarray:
        """What an encoder charges to go on to `levels` [batch, n]; constants are charged once."""
        before = self.encoded.get(step)
        self.encoded[step] = levels
        return levels if before is None else levels - before


class ElementsIn:
    """A sequence that a scan cuts into `length` elements of `size` addresses; `train` is that of the whole sequence."""

    def __init__(self, train: Train, length: int, size: int, encoded: bool, sending: Sending) -> None:
        self.elements = split(train, length, size)
        self.size, self.encoded, self.sending = size, encoded, sending
        self.sent: np.ndarray | None = None

    def window(self, element: int) -> Train:
        """What the next window gets: the element's own train, or (`carry`, after the first) its change."""
        train = self.elements[element]
        if self.sent is not None:
            train = self.sending.send(settled(train, self.size) - self.sent, self.encoded)
        if self.sending.carry:
            self.sent = settled(train, self.size) + (0 if self.sent is None else self.sent)
        return train


class StateIn:
    """A state on its way into windows; `initial` is the train that it starts with."""

    def __init__(self, value: Value, initial: Train, size: int, sending: Sending) -> None:
        self.input, self.train, self.size, self.sending = value, initial, size, sending
        self.level = settled(initial, size)
        self.before = np.zeros_like(self.level)
        self.sent = np.zeros_like(self.level)
        self.windows = 0

    def window(self) -> Train:
        """What the next window gets: `replay` the train of the window before, the others its settled level."""
        if self.sending.delivery == "replay":
            # The first train of a carried state counts from 0, but its receivers hold what the state started as.
            return raised(self.train, -self.before) if self.sending.carry and self.windows == 1 else self.train
        train = self.sending.send(self.level - self.sent, False)
        if self.sending.carry:
            self.sent = self.sent + settled(train, self.size)
        return train

    def follow(self, train: Train) -> None:
        """The state has become what `train` of the window that just ended gives."""
        kept = self.level if self.sending.carry and self.windows else 0
        self.before, self.level, self.train = self.level, kept + settled(train, self.size), train
        self.windows += 1

    def final(self) -> Train:
        """The last state as the outside is told of it."""
        return raised(self.train, self.before) if self.sending.carry and self.windows > 1 else self.train


class ValueOut:
    """A value of a body that leaves it, window after window, to be stacked."""

    def __init__(self, size: int, sending: Sending) -> None:
        self.size, self.sending = size, sending
        self.level: np.ndarray | None = None
        self.parts: list[tuple[Train, None, int]] = []

    def window(self, element: int, train: Train) -> None:
        """Enter what one element gives. Receivers outside are fresh, so they are first told what was kept."""
        if self.sending.carry:
            train = train if self.level is None else raised(train, self.level)
            self.level = settled(train, self.size)
        self.parts.append((train, None, element * self.size))
