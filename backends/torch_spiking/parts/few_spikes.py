"""Populations of few-spike neurons: the bits of a level, most significant first."""

from __future__ import annotations

import torch
from torch import Tensor

from snnir.backends.torch_spiking.parts.base import Building, Emission, runs
from snnir.backends.torch_spiking.parts.summing import SummingPart
from snnir.backends.torch_spiking.parts.thresholds import Thresholds
from snnir.backends.torch_spiking.surrogates import Surrogate, spike
from snnir.backends.torch_spiking.trains import bit_planes
from snnir.backends.torch_spiking.window import Window
from snnir.machine.emitters import FewSpikes

__all__: list[str] = []


@runs(FewSpikes)
class FewSpikesPart(SummingPart[FewSpikes]):
    """Neurons that wait until their input is complete."""

    def __init__(self, op: FewSpikes, building: Building, segment: int) -> None:
        super().__init__(op, building, segment)
        self.thresholds = Thresholds(op, building.device)

    def emit(self, window: Window) -> Emission:
        """The bits of the levels of complete sums, from the step on at which they are complete."""
        total, surrogate = self.total(window), window.run.surrogate
        bits = self._exact(total) if surrogate is None else self._trained(total, surrogate)
        train = torch.cat([window.run.silent(self.op.train.size, self.op.start_step), bits])
        return Emission(train, (), lambda: train.sum(dim=0))

    def _exact(self, total: Tensor) -> Tensor:
        return bit_planes(self.thresholds.levels(total.clone()), self.op.train.bits)[: len(self.op.bits)]

    def _trained(self, total: Tensor, surrogate: Surrogate) -> Tensor:
        """Bit after bit, with gradients.

        Backward, A reaches the event of bit k through its distance from the threshold, in steps of 2^k thetas, and so do the bits
        before it, with t[S] read as theta S.
        """
        lo, hi, thresholds = self.op.train.lo, self.op.train.hi, self.thresholds
        tracer, train = torch.zeros_like(total), [total.new_zeros((0, *total.shape))]
        negative = total < thresholds.at(tracer) if lo < 0 else torch.zeros_like(total, dtype=torch.bool)
        for k in self.op.bits:
            bit, known = 2.0**k, tracer.detach()
            change, unit = thresholds.theta * (tracer - known), bit * thresholds.theta
            above, below = (known + bit).clamp(lo, hi + 1), (known - bit + 1).clamp(lo, hi + 1)
            spikes = bit * spike(
                (total - thresholds.at(above) - change) / unit,
                (total - thresholds.at(below) - change) / unit,
                ~negative & (known + bit <= hi),
                negative & (known - bit >= lo),
                surrogate,
            )
            tracer = tracer + spikes
            train.append(spikes[None])
        return torch.cat(train)
