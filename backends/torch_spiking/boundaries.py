"""What crosses the boundaries of a scan's windows: elements and states going in, results going out.

As in the interpreter (`snnir/machine/boundaries.py`): with `reset` a window receives every level; with `carry` its receivers
still hold the level of the window before, so that it receives only the difference.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from snnir.backends.torch_spiking.surrogates import Surrogate, spike
from snnir.backends.torch_spiking.trains import bit_planes, lengthen, raised, unary

__all__ = ["ElementIn", "Protocol", "ResultOut", "StateIn"]


@dataclass
class Protocol:
    """How the windows of a scan receive levels in one run; `undelivered` counts the spikes that the cap on steps cuts off."""

    delivery: str
    carry: bool
    few: bool
    cap: int | None
    surrogate: Surrogate | None = None
    undelivered: list[Tensor] = field(default_factory=list)

    def send(self, levels: Tensor, encoded: bool = False, bits: int = 0) -> Tensor:
        """The train of levels [N, n]: encoded ones at step 0, others as the delivery says (`replay` as `relay`); few-spike
        neurons send that many bits."""
        if encoded or self.delivery == "graded":
            return levels[None]
        if self.few:
            return bit_planes(levels, bits)
        if self.surrogate is not None:
            assert self.cap is not None
            # spike t comes where |level| > t: thresholds at t + 1/2 on both sides, with the same surrogate
            at = torch.arange(self.cap, dtype=levels.dtype, device=levels.device)[:, None, None] + 0.5
            may = torch.ones((), dtype=torch.bool, device=levels.device)
            return spike(levels - at, levels + at, may, may, self.surrogate)
        needed = int(levels.abs().max()) if levels.numel() else 0
        steps = needed if self.cap is None else min(needed, self.cap)
        if steps < needed:
            self.undelivered.append((levels.abs() - steps).clamp(min=0).sum().to(torch.int64))
        return unary(levels, steps)


class ElementIn:
    """A sequence [steps, N, windows * n], one element of which goes into each window.

    `encoded`: nothing but inputs and constants emit it.
    """

    def __init__(self, train: Tensor, windows: int, encoded: bool, protocol: Protocol) -> None:
        self.train = train.reshape(*train.shape[:2], windows, train.shape[2] // max(windows, 1))
        self.encoded, self.protocol = encoded, protocol
        self.sent: Tensor | None = None

    def window(self, element: int) -> Tensor:
        """What the next window gets: the element's own train, or (`carry`, after the first) its change."""
        train = self.train[:, :, element]
        if self.sent is not None:
            train = self.protocol.send(train.sum(dim=0) - self.sent, self.encoded)
        if self.protocol.carry:
            total = train.sum(dim=0)
            self.sent = total if self.sent is None else self.sent + total
        return train


class StateIn:
    """A state of levels of so many `bits` on its way into windows; `initial` is the train that it starts with."""

    def __init__(self, initial: Tensor, protocol: Protocol, bits: int) -> None:
        self.train, self.protocol, self.bits = initial, protocol, bits
        self.level = initial.sum(dim=0)
        self.before, self.sent = torch.zeros_like(self.level), torch.zeros_like(self.level)
        self.windows = 0

    def window(self) -> Tensor:
        """What the next window gets: `replay` the train of the window before, the others its settled level."""
        carry = self.protocol.carry
        if self.protocol.delivery == "replay":
            # the first train of a carried state counts from 0, but its receivers hold what the state started as
            train = raised(self.train, -self.before) if carry and self.windows == 1 else self.train
        else:
            train = self.protocol.send(self.level - self.sent, bits=self.bits)
        if carry:
            self.sent = self.sent + train.sum(dim=0)
        return train

    def follow(self, train: Tensor) -> None:
        """The state has become what `train` of the window that just ended gives."""
        level = train.sum(dim=0)
        if self.protocol.carry and self.windows:
            level = self.level + level
        self.before, self.level, self.train = self.level, level, train
        self.windows += 1

    def final(self) -> Tensor:
        """The last state as the outside receives it."""
        return raised(self.train, self.before) if self.protocol.carry and self.windows > 1 else self.train


class ResultOut:
    """A body's train that leaves it, window after window."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.level: Tensor | None = None
        self.rows: list[Tensor] = []

    def window(self, train: Tensor) -> None:
        """Enter one window. Receivers outside are fresh, so they first receive the level that was kept."""
        if self.protocol.carry:
            train = train if self.level is None else raised(train, self.level)
            self.level = train.sum(dim=0)
        self.rows.append(train)

    def stacked(self, reverse: bool) -> Tensor:
        """All windows, one or more, side by side: [steps, N, windows * n]."""
        steps = max(len(row) for row in self.rows)
        return torch.cat([lengthen(row, steps) for row in (self.rows[::-1] if reverse else self.rows)], dim=2)
