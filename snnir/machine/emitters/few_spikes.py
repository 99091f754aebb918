"""Populations of few-spike neurons (after Stoeckl and Maass, arXiv:2002.00860): the bits of a level, most significant first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnir.ir.bits import truncated
from snnir.machine.addresses import IndexMap
from snnir.machine.emitters.population import settled_levels, threshold_problems
from snnir.machine.emitters.summing import Summing
from snnir.machine.spans import TRACER, Bounds, Spans, bits_span, hull
from snnir.machine.trains import Train
from snnir.machine.window import Emission, Window

__all__ = ["FewSpikes"]


@dataclass(frozen=True, eq=False)
class FewSpikes(Summing):
    """Neurons that wait until step `start`, at which their input is complete, and then emit the bits of their levels, one a
    step, without the last `omitted` ones; `theta`, `theta_map` and `staircase` are those of `Population`.

    The membrane register holds V = A + theta//2 - theta S of a uniform population, and the sum A of a staircase.
    """

    fires: ClassVar[bool] = True
    shifted: ClassVar[bool] = True

    theta: np.ndarray
    theta_map: IndexMap
    staircase: bool
    start_step: int
    omitted: int

    @property
    def bits(self) -> tuple[int, ...]:
        """The bits that are emitted, in order."""
        return tuple(range(self.train.bits - 1, self.omitted - 1, -1))

    def problems(self, trains: Mapping[str, Train]) -> Iterator[str]:
        """Every neuron has thresholds: one of 1 or more, or a sorted table of one for each level above the lowest."""
        yield from super().problems(trains)
        yield from threshold_problems(self.train, self.theta, self.theta_map, self.staircase)

    def emit(self, window: Window) -> Emission:
        """Nothing before the step `start`; then, for k from the highest bit on, +-2^k where the level has that bit."""
        name, registers, batch, size = self.train.name, window.registers, window.batch, self.train.size
        rows = self.theta[self.theta_map.array()]
        start = 0 if self.staircase else rows // 2
        membrane = registers.hold(name, "membrane", self.start(batch) + start)
        tracer = np.zeros((batch, size), np.int64)
        current = self.arriving(window)
        assert current.shape[1] <= self.start_step, f"{name}: input arrives after step {self.start_step}"
        sums = np.zeros((batch, self.start_step + len(self.bits), size), np.int64)
        for t in range(self.start_step):
            if t < current.shape[1]:
                membrane = registers.hold(name, "membrane", membrane + current[:, t])
            sums[:, t] = membrane - start
        sums[:, self.start_step :] = (membrane - start)[:, np.newaxis]
        events = np.zeros_like(sums)
        negative = self._negative(membrane, rows)
        for step, k in enumerate(self.bits):
            spikes = self._fire(membrane, tracer, rows, negative, 1 << k)
            if not self.staircase:
                membrane = registers.hold(name, "membrane", membrane - rows * spikes)
            tracer = registers.hold(name, "tracer", tracer + spikes)
            events[:, self.start_step + step] = spikes
        return Emission(events, (), tracer, sums=sums if window.sums(name) else None)

    def _negative(self, membrane: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Which levels are below 0: decided by the first step's comparison with t[0]."""
        if self.train.lo == 0:
            return np.zeros(membrane.shape, bool)
        return membrane < (rows[:, -self.train.lo - 1] if self.staircase else 0)

    def _fire(self, membrane: np.ndarray, tracer: np.ndarray, rows: np.ndarray, negative: np.ndarray, bit: int) -> np.ndarray:
        """What neurons emit in the step of a bit: it, its negative, or 0."""
        lo, hi = self.train.lo, self.train.hi
        above, below = tracer + bit <= hi, tracer - bit >= lo
        if self.staircase:
            neurons = np.arange(len(rows))
            up = membrane >= rows[neurons, np.clip(tracer + bit - lo - 1, 0, hi - lo - 1)]
            down = membrane < rows[neurons, np.clip(tracer - bit - lo, 0, hi - lo - 1)]
        else:
            up, down = membrane >= bit * rows, membrane < (1 - bit) * rows
        return np.where(~negative & above & up, bit, np.where(negative & below & down, -bit, 0))

    def span(self, spans: Spans, bounds: Bounds, resumed: bool) -> np.ndarray:
        """The levels that the interval of its sum reaches, bit by bit."""
        total = self.sum_span(spans, bounds, whole=self.staircase)
        rows = self.theta[self.theta_map.array()]
        reached = settled_levels(total[TRACER], rows, self.staircase, self.train)
        least, most = (truncated(level, self.omitted) for level in reached)
        registers = {"tracer": hull(np.stack([least, most]))}
        if not self.staircase:
            # Before the first bit S is 0. After that V of a level >= 0 falls, to no less than 0; that of a level < 0 rises, to
            # less than theta.
            low, high = total[TRACER] + rows // 2
            registers["membrane"] = hull(np.stack([np.minimum(low, 0), np.maximum(high, np.where(low < 0, rows - 1, 0))]))
        bounds.see(self.train.name, registers, bounds.registers)
        return bits_span(np.stack([least, most]), first=self.start_step == 0)

    def last_step(self, steps: Mapping[str, int], bounds: Bounds, resumed: bool) -> int:
        """That of its last bit."""
        return self.start_step + len(self.bits)
