"""Populations of ST-BIF neurons.

With A the sum of all that came in and q(A) the level it settles to, the rules of the ST-BIF neuron (arXiv:2406.03470) say
"+1 if S < q(A), -1 if S > q(A)": the thresholds t[j] increase with j, so `A >= t[S+1]` and `S < hi` hold exactly where
S < q(A). Levels are therefore found for all steps at once, and what is left of a step is a sign and a sum.
"""

from __future__ import annotations

import torch
from torch import Tensor

from snnir.backends.torch_spiking.parts.base import Building, Emission, runs
from snnir.backends.torch_spiking.parts.summing import SummingPart
from snnir.backends.torch_spiking.parts.thresholds import Thresholds
from snnir.backends.torch_spiking.surrogates import Surrogate, spike
from snnir.backends.torch_spiking.trains import lengthen, unary
from snnir.backends.torch_spiking.window import Window
from snnir.machine.emitters import Population

__all__: list[str] = []


@runs(Population)
class PopulationPart(SummingPart[Population]):
    """Neurons that fire at most once a step."""

    def __init__(self, op: Population, building: Building, segment: int) -> None:
        super().__init__(op, building, segment)
        self.thresholds = Thresholds(op, building.device)

    def emit(self, window: Window) -> Emission:
        """The spikes of what arrives, until nothing fires or for as many steps as the run says."""
        run, before, arriving = window.run, window.before(self.op.train.name), self.arriving(window)
        start, tracer = (self.start(window), None) if before is None else before
        if run.surrogate is not None:
            assert run.cap is not None
            train = self._fire(start, arriving, run.cap, run.surrogate)
            return Emission(train, (), lambda: train.sum(dim=0))
        first = torch.zeros_like(start) if tracer is None else tracer
        train, unsettled = self._settle(start, first, arriving, run.cap)
        if run.recorder is not None:
            run.recorder.unsettled += unsettled
        kept = (start + arriving.sum(dim=0), first + train.sum(dim=0)) if run.protocol.carry else ()
        return Emission(train, kept, lambda: kept[1] if kept else train.sum(dim=0))

    def _settle(self, start: Tensor, tracer: Tensor, currents: Tensor, cap: int | None) -> tuple[Tensor, Tensor]:
        """The spikes [steps, N, n] of currents [steps, N, n], exactly, and the number of neurons that could go on firing.

        `start` and `tracer` [N, n] are the sum and the tracer at first. Without a cap the train ends when no neuron can fire.
        """
        levels = self.thresholds.levels(torch.cat([start[None], currents]).cumsum_(0))
        train = []
        for level in levels[1:]:
            spikes = (level - tracer).sign()
            tracer = tracer + spikes
            train.append(spikes)
        # no input is left: each neuron goes straight to its level, one spike a step
        rest = levels[-1] - tracer
        steps = int(rest.abs().max()) if rest.numel() else 0
        if cap is not None:
            steps = min(steps, cap - len(train))
        after = unary(rest, steps)
        return torch.cat([torch.stack(train), after]) if train else after, (rest.abs() > steps).sum()

    def _fire(self, start: Tensor, currents: Tensor, steps: int, surrogate: Surrogate) -> Tensor:
        """The same spikes for a fixed number of steps, one step after another, with surrogate gradients.

        Backward, A reaches a spike through its distances from both thresholds, in thetas; the tracer does so too, with
        t[S] read as theta S.
        """
        sums = start + lengthen(currents, steps)[:steps].cumsum(0)
        tracer, train, theta = torch.zeros_like(start), [], self.thresholds.theta
        for total in sums:
            known = tracer.detach()
            change = theta * (tracer - known)
            spikes = spike(
                (total - self.thresholds.at(known + 1) - change) / theta,
                (total - self.thresholds.at(known) - change) / theta,
                tracer < self.op.train.hi,
                tracer > self.op.train.lo,
                surrogate,
            )
            tracer = tracer + spikes
            train.append(spikes)
        return torch.stack(train)
