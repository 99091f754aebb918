"""Levels that are charged at once: inputs, constants, and settled levels where a new segment begins."""

from __future__ import annotations

import torch
from torch import Tensor

from snnir.backends.torch_spiking.parts.base import Building, Emission, EmitterPart, runs
from snnir.backends.torch_spiking.window import Memory, Run, Window
from snnir.machine.emitters import Constant, Input, Settled

__all__ = ["charge"]


def charge(run: Run, start: int, levels: Tensor, before: Memory | None, kept: Memory = ()) -> Emission:
    """Levels [N, n], or where the window goes on their change, at step `start`."""
    events = (levels if before is None else levels - before[0])[None]
    if start:
        events = torch.cat([run.silent(levels.shape[1], start), events])
    return Emission(events[: run.cap], (levels, *kept), lambda: levels)


@runs(Input)
class InputPart(EmitterPart[Input]):
    """What the host gives."""

    def emit(self, window: Window) -> Emission:
        """Its levels of this window."""
        levels = window.run.levels[self.op.train.name]
        before = window.before(self.op.train.name)
        return charge(window.run, 0, levels if window.index is None else levels[:, window.index], before)


@runs(Constant)
class ConstantPart(EmitterPart[Constant]):
    """Levels that never change: nothing where receivers still hold them."""

    def __init__(self, op: Constant, building: Building, segment: int) -> None:
        super().__init__(op, building, segment)
        self.levels = torch.tensor(op.levels, dtype=torch.float64, device=building.device)

    def emit(self, window: Window) -> Emission:
        """Its levels, the same for every sample."""
        levels = self.levels.expand(window.run.batch, -1)
        return Emission(levels[None] if window.memory is None else levels[None][:0], (), lambda: levels)


@runs(Settled)
class SettledPart(EmitterPart[Settled]):
    """What a train of an earlier segment settled to."""

    def emit(self, window: Window) -> Emission:
        """The tracer of its source."""
        before, tracer = window.before(self.op.train.name), window.trains[self.op.source].sum(dim=0)
        return charge(window.run, self.op.start, tracer if before is None else before[0] + tracer, before)
