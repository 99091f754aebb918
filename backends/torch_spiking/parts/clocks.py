"""Clocks, and populations of integrate-and-fire neurons that run for their steps."""

from __future__ import annotations

import torch
from torch import Tensor

from snnir.backends.torch_spiking.parts.base import Building, Emission, EmitterPart, runs
from snnir.backends.torch_spiking.parts.summing import SummingPart
from snnir.backends.torch_spiking.surrogates import spike
from snnir.backends.torch_spiking.trains import Places, lengthen
from snnir.backends.torch_spiking.window import Window
from snnir.ir.generator import spikes_of
from snnir.ir.ops.clocked import BERNOULLI, CONSTANT, RATE, WHOLE, WINDOW
from snnir.machine.emitters import Clock, IntegrateFire

__all__: list[str] = []


@runs(Clock)
class ClockPart(EmitterPart[Clock]):
    """What complete levels send in each step, or the later steps of a train."""

    def emit(self, window: Window) -> Emission:
        """T steps; what is drawn is drawn on the host, by the generator of all backends, and passes no gradient."""
        op, recorder = self.op, window.run.recorder
        source = window.trains[op.source]
        if op.kind == WINDOW:
            later = lengthen(source, op.steps)[op.first :]
            train = torch.cat([window.run.silent(op.train.size, op.first), later])
        else:
            levels = source.sum(dim=0)
            train = torch.stack([self._step(levels, t) for t in range(op.steps)])
            if recorder is not None and op.kind == BERNOULLI:
                recorder.unsettled += (train.sum(dim=0) != levels).sum()
        if recorder is not None and op.kind == WINDOW:
            recorder.unsettled += window.run.batch * op.train.size
        return Emission(train, (), lambda: train.sum(dim=0))

    def _step(self, levels: Tensor, t: int) -> Tensor:
        """What levels [N, n] send in step t."""
        steps = self.op.steps
        if self.op.kind == CONSTANT:
            return levels
        if self.op.kind == RATE:
            size = levels.abs()
            return levels.sign() * (_floor(size * (t + 1), steps) - _floor(size * t, steps))
        whole = levels.detach().to(torch.int64).cpu().numpy()
        return torch.from_numpy(spikes_of(whole, 0, t, steps, self.op.seed)).to(levels)


@runs(IntegrateFire)
class IntegrateFirePart(SummingPart[IntegrateFire]):
    """Neurons of the op `if`, with surrogate gradients in training."""

    def __init__(self, op: IntegrateFire, building: Building, segment: int) -> None:
        super().__init__(op, building, segment)
        theta = torch.tensor(op.theta, dtype=torch.float64, device=building.device)
        self.theta = Places(op.theta_map, building.device).of(theta)

    def emit(self, window: Window) -> Emission:
        """T steps, one after another. Backward, V reaches a spike through its distance from theta, in thetas, and the reset."""
        op, theta, run = self.op, self.theta, window.run
        drive = self.start(window) + _floor(theta * op.shift, WHOLE)
        potential = _floor(theta * op.start_potential, WHOLE).expand_as(drive)
        arriving = lengthen(self.arriving(window), op.steps)
        before, train = torch.zeros_like(drive), []
        for t in range(op.steps):
            if op.leak:
                potential = potential - _floor(potential, 1 << op.leak)
            potential = potential + (_floor(drive * (t + 1), op.steps) - _floor(drive * t, op.steps)) + arriving[t]
            if op.delayed:
                potential = self._lowered(potential, before)
            before = self._fired(potential, window)
            if not op.delayed:
                potential = self._lowered(potential, before)
            train.append(before)
        spikes = torch.stack(train)
        if run.recorder is not None:
            left = potential - theta * before if op.delayed else potential
            run.recorder.unsettled += self._unsettled(left, spikes.sum(dim=0))
        return Emission(spikes, (), lambda: spikes.sum(dim=0))

    def _fired(self, potential: Tensor, window: Window) -> Tensor:
        above = (potential - self.theta) / self.theta
        surrogate = window.run.surrogate
        if surrogate is None:
            return (potential >= self.theta).to(potential.dtype)
        never = torch.zeros_like(above, dtype=torch.bool)
        return spike(above, above, ~never, never, surrogate)

    def _lowered(self, potential: Tensor, spikes: Tensor) -> Tensor:
        """Potentials after the reset of the neurons that sent `spikes`."""
        return potential - self.theta * spikes if self.op.reset == "soft" else potential * (1 - spikes)

    def _unsettled(self, potential: Tensor, count: Tensor) -> Tensor | int:
        """How many neurons have not settled; all of them where that is unknown."""
        if not self.op.telling:
            return potential.numel()
        return (((potential < 0) & (count > 0)) | ((potential >= self.theta) & (count < self.op.steps))).sum()


def _floor(total: Tensor, divisor: int) -> Tensor:
    """The whole quotient of integers below 2^52, rounded down; its gradient is that of the quotient."""
    quotient = total / divisor
    return quotient + (quotient.floor() - quotient).detach() if quotient.requires_grad else quotient.floor()
