"""What crosses the border of a scan's windows in the plain simulator: elements and states going in, results going out.

With `reset`, a window is told every level. With `carry`, its receivers still hold what they were told in the window
before, so that only the difference is sent; what goes out is a change as well, and is told to the outside as a level.
"""

from __future__ import annotations

import numpy as np

from snnir.backends.simulator.dense_trains import DenseTrain, raised, unary
from snnir.ir.bits import bit_planes
from snnir.ir.graph import Value
from snnir.ir.phases import Phases
from snnir.ir.types import Quantization

__all__ = ["ElementsIn", "Sending", "StateIn", "ValueOut"]


class Sending:
    """How levels are sent in one run: its options, and the spikes that the cap on steps cut off.

    `phases` are those of few-spike neurons; None for others.
    """

    def __init__(self, delivery: str, carry: bool, cap: int | None, phases: Phases | None) -> None:
        self.delivery, self.carry, self.cap, self.phases = delivery, carry, cap, phases
        self.undelivered = 0

    def first(self, value: Value) -> int:
        """The first step in which a value's events may lie."""
        return 0 if self.phases is None or value not in self.phases.of else self.phases.of[value].first

    def send(self, levels: np.ndarray, encoded: bool, quantization: Quantization) -> DenseTrain:
        """Levels [N, ...]: encoded ones at step 0, others as the delivery says (`replay` sends them as `relay` does)."""
        if encoded or self.delivery == "graded":
            return DenseTrain.of(levels[np.newaxis], encoded)
        if self.phases is not None:
            return DenseTrain.of_bits(bit_planes(levels, quantization.magnitude_bits))
        train, lost = unary(levels, self.cap)
        self.undelivered += lost
        return train


class ElementsIn:
    """A sequence that a scan cuts into elements; `train` [steps, N, K, ...] is that of the whole sequence."""

    def __init__(self, train: DenseTrain, quantization: Quantization, sending: Sending) -> None:
        self.train, self.quantization, self.sending = train, quantization, sending
        self.sent: np.ndarray | None = None

    def window(self, element: int) -> DenseTrain:
        """What the next window gets: the element's own train, or (`carry`, after the first) its change."""
        whole = self.train
        train = DenseTrain(whole.values[:, :, element], whole.charged[:, :, element], whole.encoded)
        if self.sent is not None:
            train = self.sending.send(train.tracer - self.sent, train.encoded, self.quantization)
        if self.sending.carry:
            self.sent = train.tracer if self.sent is None else self.sent + train.tracer
        return train


class StateIn:
    """A state on its way into windows; `initial` is the train that it starts with."""

    def __init__(self, initial: DenseTrain, quantization: Quantization, sending: Sending) -> None:
        self.train, self.quantization, self.sending = initial, quantization, sending
        self.level, self.before = initial.tracer, np.zeros_like(initial.tracer)
        self.sent = np.zeros_like(self.level)
        self.windows = 0

    def window(self) -> DenseTrain:
        """What the next window gets: `replay` the train of the window before, the others its settled level."""
        carry = self.sending.carry
        if self.sending.delivery == "replay":
            # The first train of a carried state counts from 0, but its receivers hold what the state started as.
            train = raised(self.train, -self.before) if carry and self.windows == 1 else self.train
        else:
            train = self.sending.send(self.level - self.sent, False, self.quantization)
        if carry:
            self.sent = self.sent + train.tracer
        return train

    def follow(self, train: DenseTrain) -> None:
        """The state has become what `train` of the window that just ended gives."""
        kept = self.level if self.sending.carry and self.windows else np.zeros_like(self.level)
        self.before, self.level, self.train = self.level, kept + train.tracer, train
        self.windows += 1

    def final(self) -> DenseTrain:
        """The last state as the outside is told of it."""
        whole = raised(self.train, self.before) if self.sending.carry and self.windows > 1 else self.train
        return DenseTrain(whole.values, whole.charged)


class ValueOut:
    """A value of a body that leaves it, window after window."""

    def __init__(self, sending: Sending) -> None:
        self.sending = sending
        self.level: np.ndarray | None = None

    def window(self, train: DenseTrain) -> DenseTrain:
        """The train that the outside is given: receivers there are fresh, so they are first told what was kept."""
        if not self.sending.carry:
            return train
        whole = train if self.level is None else raised(train, self.level)
        self.level = whole.tracer
        return whole
