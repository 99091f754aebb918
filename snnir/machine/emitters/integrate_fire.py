"""Populations of integrate-and-fire neurons on a clock: at most one spike a step, for T steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnir.ir.ops.clocked import RESETS, WHOLE
from snnir.machine.addresses import IndexMap
from snnir.machine.emitters.population import threshold_problems
from snnir.machine.emitters.summing import Summing
from snnir.machine.spans import TRACER, Bounds, Spans, hull
from snnir.machine.trains import Train
from snnir.machine.window import Emission, Window

__all__ = ["IntegrateFire"]


@dataclass(frozen=True, eq=False)
class IntegrateFire(Summing):
    """Neurons of the op `if`, for T = `train.hi` steps; `theta` and `theta_map` are those of `Population`.

    What neurons start with (`initial`, the bias) arrives in T portions, together with the hundredths `shift` of theta; the
    membrane register starts with the hundredths `start_potential` of theta. It holds the potential V.

    A neuron is settled after T steps where its spikes are the level of the sum that it received: 0 <= V < theta, or V < 0 without
    a spike, or V >= theta with T of them. If all are, every count is the quantized network's level.
    """

    fires: ClassVar[bool] = True

    theta: np.ndarray
    theta_map: IndexMap
    reset: str
    start_potential: int
    shift: int
    leak: int
    delayed: bool

    @property
    def steps(self) -> int:
        """The T of its clock."""
        return self.train.hi

    def problems(self, trains: Mapping[str, Train]) -> Iterator[str]:
        """Thresholds are 1 or more, levels 0..T with T at least 1, and attributes in their ranges."""
        yield from super().problems(trains)
        yield from threshold_problems(self.train, self.theta, self.theta_map, False)
        if self.train.lo != 0 or self.train.hi < 1:
            yield f"levels {self.train.lo}..{self.train.hi} are not 0..T"
        if self.reset not in RESETS:
            yield f"reset {self.reset!r} is none of {', '.join(RESETS)}"
        if not (0 <= self.start_potential <= WHOLE and 0 <= self.shift <= WHOLE and 0 <= self.leak <= 30):
            yield f"start_potential and shift are 0..{WHOLE} hundredths of theta, leak is 0..30 bits"

    def rows(self) -> np.ndarray:
        """The threshold of each neuron, int64 [n]."""
        return np.asarray(self.theta[self.theta_map.array()])

    def potentials(self) -> np.ndarray:
        """V(0) of each neuron, int64 [n]."""
        return np.asarray(self.rows() * self.start_potential // WHOLE)

    def drive(self) -> np.ndarray:
        """What arrives in all T steps together beside spikes: D of each neuron, int64 [n]."""
        return np.asarray(self.initial[self.initial_map.array()] + self.rows() * self.shift // WHOLE)

    def emit(self, window: Window) -> Emission:
        """T steps of the equations of the op `if`."""
        name, registers, size = self.train.name, window.registers, (window.batch, self.train.size)
        rows, drive, steps = self.rows(), self.drive(), self.steps
        current = self.arriving(window)
        membrane = registers.hold(name, "membrane", np.broadcast_to(self.potentials(), size))
        tracer, spikes = np.zeros(size, np.int64), np.zeros(size, np.int64)
        train, potentials = np.zeros((size[0], steps, size[1]), np.int64), np.zeros((size[0], steps, size[1]), np.int64)
        for t in range(steps):
            if self.leak:
                membrane = membrane - (membrane >> self.leak)
            membrane = membrane + (drive * (t + 1) // steps - drive * t // steps)
            if t < current.shape[1]:
                membrane = membrane + current[:, t]
            membrane = registers.hold(name, "membrane", membrane)
            if self.delayed:
                membrane = registers.hold(name, "membrane", self._lowered(membrane, spikes, rows))
            spikes = (membrane >= rows).astype(np.int64)
            if not self.delayed:
                membrane = registers.hold(name, "membrane", self._lowered(membrane, spikes, rows))
            tracer = registers.hold(name, "tracer", tracer + spikes)
            train[:, t], potentials[:, t] = spikes, membrane
        unsettled = self._unsettled(membrane - rows * spikes * self.delayed, tracer, rows)
        return Emission(train, (), tracer, unsettled, potentials if window.sums(name) else None)

    @property
    def telling(self) -> bool:
        """Whether the potential after T steps shows if a neuron has settled: all of its sum is in it, and half a theta."""
        return self.reset == "soft" and not self.leak and (self.start_potential, self.shift) in ((50, 0), (0, 50))

    def _unsettled(self, membrane: np.ndarray, tracer: np.ndarray, rows: np.ndarray) -> int:
        """How many neurons have not settled; all of them where that is unknown."""
        if not self.telling:
            return membrane.size
        wrong = ((membrane < 0) & (tracer > 0)) | ((membrane >= rows) & (tracer < self.steps))
        return int(np.count_nonzero(wrong))

    def _lowered(self, membrane: np.ndarray, spikes: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Potentials after the reset of the neurons that sent `spikes`."""
        return np.asarray(membrane - rows * spikes if self.reset == "soft" else np.where(spikes == 1, 0, membrane))

    def span(self, spans: Spans, bounds: Bounds, resumed: bool) -> np.ndarray:
        """At most a spike a step.

        Trains of this family go one way, up or down, so that V never leaves what the negative, or the positive, part of all its
        input can reach from V(0) and from 0: a spike takes V no lower than 0, or, where the reset is delayed, no lower than 0 and
        one step's input.
        """
        total = self.sum_span(spans, bounds, whole=False)
        drive, initial = self.drive(), self.initial[self.initial_map.array()]
        arriving = total[TRACER] - initial + np.stack([np.minimum(drive, 0), np.maximum(drive, 0)])
        start = self.potentials()
        low, high = np.minimum(arriving[0], 0), start + np.maximum(arriving[1], 0)
        bounds.see(
            self.train.name,
            {"membrane": hull(np.stack([low, high])), "tracer": (0, self.steps)},
            bounds.registers,
        )
        fires = (high >= self.rows()).astype(np.int64)
        none = np.zeros_like(fires)
        return np.stack([np.stack([none, fires * self.steps]), np.stack([none, fires]), np.stack([none, fires])])

    def last_step(self, steps: Mapping[str, int], bounds: Bounds, resumed: bool) -> int:
        """Its clock's."""
        return self.steps
