"""What crosses the border of a scan's windows: elements and states going in, results going out.

As in the clock-driven simulator: with `reset` a window is told every level; with `carry` its receivers still hold what
they were told in the window before, so that only the difference is sent.
"""

from __future__ import annotations

import torch
from torch import Tensor

from snnir.backends.torch_spiking.result import Recorder
from snnir.backends.torch_spiking.surrogates import Surrogate, spike
from snnir.backends.torch_spiking.trains import bit_planes, raised, unary
from snnir.ir.graph import Value
from snnir.ir.phases import Phases

__all__ = ["ElementsIn", "Sending", "StateIn", "ValueOut"]


class Sending:
    """How levels are sent in one run: its options. The recorder counts the spikes that the cap on steps cuts off."""

    def __init__(
        self,
        delivery: str,
        carry: bool,
        cap: int | None,
        recorder: Recorder | None,
        surrogate: Surrogate | None,
        phases: Phases | None = None,
    ) -> None:
        self.delivery, self.carry, self.cap = delivery, carry, cap
        self.recorder, self.surrogate, self.phases = recorder, surrogate, phases

    def crossing(self, value: Value, train: Tensor) -> Tensor:
        """A train that crosses the border of a window, from the step on before which few-spike neurons are silent."""
        return train if self.phases is None or value not in self.phases.of else train[self.phases.of[value].first :]

    def send(self, levels: Tensor, encoded: bool, bits: int = 0) -> Tensor:
        """The train of levels [N, ...]: encoded ones at step 0, others as the delivery says (`replay` as `relay`); few-spike
        neurons send that many bits."""
        if encoded or self.delivery == "graded":
            return levels[None]
        if self.phases is not None:
            return bit_planes(levels, bits)
        if self.surrogate is not None:
            assert self.cap is not None
            # spike t comes where |level| > t: thresholds at t + 1/2 on both sides, with the same surrogate
            at = torch.arange(self.cap, dtype=levels.dtype, device=levels.device).reshape(-1, *([1] * levels.ndim)) + 0.5
            may = torch.ones((), dtype=torch.bool, device=levels.device)
            return spike(levels - at, levels + at, may, may, self.surrogate)
        needed = int(levels.abs().max()) if levels.numel() else 0
        steps = needed if self.cap is None else min(needed, self.cap)
        if self.recorder is not None and steps < needed:
            self.recorder.undelivered += (levels.abs() - steps).clamp(min=0).sum().to(torch.int64)
        return unary(levels, steps)


class ElementsIn:
    """A sequence that a scan cuts into elements; `train` [T, N, K, ...] is that of the whole sequence.

    `encoded`: nothing but encoders and constants emit it.
    """

    def __init__(self, train: Tensor, encoded: bool, sending: Sending) -> None:
        self.train, self.encoded, self.sending = train, encoded, sending
        self.sent: Tensor | None = None

    def window(self, element: int) -> Tensor:
        """What the next window gets: the element's own train, or (`carry`, after the first) its change."""
        train = self.train[:, :, element]
        if self.sent is not None:
            train = self.sending.send(train.sum(dim=0) - self.sent, self.encoded)
        if self.sending.carry:
            told = train.sum(dim=0)
            self.sent = told if self.sent is None else self.sent + told
        return train


class StateIn:
    """A state of levels of so many `bits` on its way into windows; `initial` is the train that it starts with."""

    def __init__(self, initial: Tensor, sending: Sending, bits: int) -> None:
        self.train, self.sending, self.bits = initial, sending, bits
        self.level = initial.sum(dim=0)
        self.before, self.sent = torch.zeros_like(self.level), torch.zeros_like(self.level)
        self.windows = 0

    def window(self) -> Tensor:
        """What the next window gets: `replay` the train of the window before, the others its settled level."""
        carry = self.sending.carry
        if self.sending.delivery == "replay":
            # the first train of a carried state counts from 0, but its receivers hold what the state started as
            train = raised(self.train, -self.before) if carry and self.windows == 1 else self.train
        else:
            train = self.sending.send(self.level - self.sent, False, self.bits)
        if carry:
            self.sent = self.sent + train.sum(dim=0)
        return train

    def follow(self, train: Tensor) -> None:
        """The state has become what `train` of the window that just ended gives."""
        level = train.sum(dim=0)
        if self.sending.carry and self.windows:
            level = self.level + level
        self.before, self.level, self.train = self.level, level, train
        self.windows += 1

    def final(self) -> Tensor:
        """The last state as the outside is told of it."""
        return raised(self.train, self.before) if self.sending.carry and self.windows > 1 else self.train


class ValueOut:
    """A value of a body that leaves it, window after window."""

    def __init__(self, sending: Sending) -> None:
        self.sending = sending
        self.level: Tensor | None = None

    def window(self, train: Tensor) -> Tensor:
        """The train that the outside is given: receivers there are fresh, so they are first told what was kept."""
        if not self.sending.carry:
            return train
        whole = train if self.level is None else raised(train, self.level)
        self.level = whole.sum(dim=0)
        return whole
