"""The change, step by step, of the largest tracer of each window, or of the product of two tracers."""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar

import torch
from torch import Tensor

from snnir.backends.torch_spiking.parts.base import Emission, EmitterPart, runs
from snnir.backends.torch_spiking.trains import as_long, lengthen
from snnir.backends.torch_spiking.window import Window
from snnir.machine.emitters import Combining, Max, Product

__all__ = ["CombiningPart"]

AnyCombining = TypeVar("AnyCombining", bound=Combining)


class CombiningPart(EmitterPart[AnyCombining]):
    """Differences of a function of tracers; it keeps its last result and a tracer of every source."""

    @abstractmethod
    def combine(self, tracers: list[Tensor]) -> Tensor:
        """The function, of tracers [steps, N, n] of each source."""

    def emit(self, window: Window) -> Emission:
        """Differences from step to step."""
        trains = as_long([window.trains[source] for source in self.op.sources])
        before = window.before(self.op.train.name)
        if before is None:
            trains = [lengthen(train, self.op.least_steps) for train in trains]
        held = [torch.zeros_like(train[:1]).sum(dim=0) for train in trains] if before is None else list(before[1:])
        # the tracers before the first step come first, so that a train without steps needs no case of its own
        tracers = [torch.cat([own[None], own + train.cumsum(0)]) for own, train in zip(held, trains, strict=True)]
        results = self.combine(tracers)
        if before is None and self.op.least_steps:  # receivers count from 0, whatever the function of zeros is
            results = torch.cat([torch.zeros_like(results[:1]), results[1:]])
        return Emission(results.diff(dim=0), (results[-1], *(tracer[-1] for tracer in tracers)), lambda: results[-1])


@runs(Max)
class MaxPart(CombiningPart[Max]):
    """The largest of every `width` neighbouring addresses."""

    def combine(self, tracers: list[Tensor]) -> Tensor:
        """The largest of each."""
        (tracer,) = tracers
        return tracer.reshape(*tracer.shape[:2], self.op.train.size, self.op.width).amax(dim=3)


@runs(Product)
class ProductPart(CombiningPart[Product]):
    """The product, address by address."""

    def combine(self, tracers: list[Tensor]) -> Tensor:
        """The product of the two."""
        return tracers[0] * tracers[1]

    def emit(self, window: Window) -> Emission:
        """Its changes, or among few-spike neurons one event of complete levels in the step `step`."""
        if self.op.step is None:
            return super().emit(window)
        left, right = (window.trains[source].sum(dim=0) for source in self.op.sources)
        levels = left * right
        return Emission(torch.cat([window.run.silent(self.op.train.size, self.op.step), levels[None]]), (), lambda: levels)
