"""Functions that tell every change of their levels, and the running sums that they read."""

from __future__ import annotations

import torch
from torch import Tensor

from snnir.backends.torch_spiking.microcode import Microcode
from snnir.backends.torch_spiking.parts.base import Building, Emission, runs
from snnir.backends.torch_spiking.parts.combining import CombiningPart
from snnir.backends.torch_spiking.parts.summing import SummingPart
from snnir.backends.torch_spiking.trains import lengthen
from snnir.backends.torch_spiking.window import Window
from snnir.machine.emitters import Difference, RunningSum

__all__: list[str] = []


@runs(Difference)
class DifferencePart(CombiningPart[Difference]):
    """Microcode of the tracers after every step."""

    def __init__(self, op: Difference, building: Building, segment: int) -> None:
        super().__init__(op, building, segment)
        self.code = Microcode(op.code, building.device)

    def combine(self, tracers: list[Tensor]) -> Tensor:
        """The function, at every step."""
        steps, batch = tracers[0].shape[:2]
        found = self.code.compute([tracer.reshape(steps * batch, tracer.shape[2]) for tracer in tracers])
        return found.clamp(self.op.train.lo, self.op.train.hi).reshape(steps, batch, self.op.train.size)


@runs(RunningSum)
class RunningSumPart(SummingPart[RunningSum]):
    """What arrives, step by step; the first event of a fresh window holds what the sum starts with."""

    def emit(self, window: Window) -> Emission:
        """The changes of the sum."""
        before, train = window.before(self.op.train.name), self.arriving(window)
        if before is None:
            train = lengthen(train, 1)
            train = torch.cat([train[:1] + self.start(window), train[1:]])
        total = train.sum(dim=0) if before is None else before[0] + train.sum(dim=0)
        return Emission(train, (total,), lambda: total)
