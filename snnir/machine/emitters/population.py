"""Populations of bipolar integrate-and-fire neurons with a spike tracer (ST-BIF of SpikeZIP-TF, arXiv:2406.03470)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnir.machine.addresses import IndexMap
from snnir.machine.emitters.summing import Summing
from snnir.machine.membranes import membrane_range
from snnir.machine.spans import TRACER, Bounds, Spans, hull
from snnir.machine.trains import Train
from snnir.machine.window import Emission, Window

__all__ = ["Population", "settled_levels", "threshold_problems"]


@dataclass(frozen=True, eq=False)
class Population(Summing):
    """Neurons: `theta` [parameters] or, with `staircase`, [parameters, hi - lo]; neuron i has row `theta_map[i]`.

    The membrane register holds V = A + theta//2 - theta S of a uniform population, and the sum A of a staircase.
    """

    fires: ClassVar[bool] = True

    theta: np.ndarray
    theta_map: IndexMap
    staircase: bool

    def problems(self, trains: Mapping[str, Train]) -> Iterator[str]:
        """Every neuron has thresholds: one of 1 or more, or a sorted table of one for each level above the lowest."""
        yield from super().problems(trains)
        yield from threshold_problems(self.train, self.theta, self.theta_map, self.staircase)

    def emit(self, window: Window) -> Emission:
        """At every step at most one spike, +1 or -1, until the input has ended and nothing fires."""
        name, registers, batch = self.train.name, window.registers, window.batch
        rows = self.theta[self.theta_map.array()]
        start = 0 if self.staircase else rows // 2
        reset = 0 if self.staircase else rows
        before = window.before(name)
        if before is not None:
            membrane, tracer = before
        else:
            tracer = np.zeros((batch, self.train.size), np.int64)
            membrane = registers.hold(name, "membrane", self.start(batch) + start)
        current = self.arriving(window)
        table = np.pad(rows, ((0, 0), (1, 1))) if self.staircase else rows
        train: list[np.ndarray] = []
        membranes: list[np.ndarray] = []
        tracers: list[np.ndarray] = []
        sums: list[np.ndarray] = []
        wanted = window.sums(name)
        while window.cap is None or len(train) < window.cap:
            t = len(train)
            if t < current.shape[1]:
                membranes.append(membrane + current[:, t])
                membrane = registers.wrap(name, "membrane", membranes[-1])
            spikes = self._fire(membrane, tracer, table)
            if not self.staircase:
                membranes.append(membrane - rows * spikes)
                membrane = registers.wrap(name, "membrane", membranes[-1])
            tracers.append(tracer + spikes)
            tracer = registers.wrap(name, "tracer", tracers[-1])
            if wanted:
                sums.append(membrane - start + reset * tracer)
            if t >= current.shape[1] and not spikes.any():
                break
            train.append(spikes)
        for register, held in (("membrane", membranes), ("tracer", tracers)):
            if held:
                registers.see(name, register, np.stack(held))
        events = np.stack(train, axis=1) if train else np.zeros((batch, 0, self.train.size), np.int64)
        unsettled = int(np.count_nonzero(self._fire(membrane, tracer, table))) if window.cap is not None else 0
        return Emission(events, (membrane, tracer), tracer, unsettled, np.stack(sums, axis=1) if sums else None)

    def _fire(self, membrane: np.ndarray, tracer: np.ndarray, table: np.ndarray) -> np.ndarray:
        """What neurons fire: +1, -1 or 0. A staircase's `table` has an entry more at each end, which is never asked for."""
        lo, hi = self.train.lo, self.train.hi
        if self.staircase:
            at = (tracer - lo).T
            neurons = np.arange(len(table))[:, np.newaxis]
            up, down = membrane >= table[neurons, at + 1].T, membrane < table[neurons, at].T
        else:
            up, down = membrane >= table, membrane < 0
        return np.where(up & (tracer < hi), 1, np.where(down & (tracer > lo), -1, 0))

    def span(self, spans: Spans, bounds: Bounds, resumed: bool) -> np.ndarray:
        """The levels that the interval of its sum reaches, one level a step."""
        total = self.sum_span(spans, bounds, whole=self.staircase)
        rows = self.theta[self.theta_map.array()]
        least, most = settled_levels(total[TRACER], rows, self.staircase, self.train)
        registers = {"tracer": hull(np.stack([least, most]))}
        if not self.staircase:
            initial = self.initial[self.initial_map.array()]
            registers["membrane"] = membrane_range(total, initial, rows, least, most, resumed)
        bounds.see(self.train.name, registers, bounds.registers)
        moves = (most > least).astype(np.int64)
        first = np.stack([-np.minimum(moves, -least if not resumed else 1), np.minimum(moves, most if not resumed else 1)])
        return np.stack([np.stack([least, most]), first, np.stack([-moves, moves])])

    def last_step(self, steps: Mapping[str, int], bounds: Bounds, resumed: bool) -> int:
        """At most one spike for each level between its tracer and where it has to be, once input has ended."""
        last = max((steps[source] for source in self.sources), default=0)
        low, high = bounds.registers[self.train.name]["tracer"]
        if resumed:
            return last - 1 + high - low if last else 0
        return max(high, -low) if last <= 1 else last - 1 + high - low


def settled_levels(sums: np.ndarray, rows: np.ndarray, staircase: bool, train: Train) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest level, and 0, that neurons settle to for sums in the intervals [2, n]; thresholds are `rows`."""
    if staircase:
        settled = train.lo + (sums[:, :, np.newaxis] >= rows).sum(axis=2)
    else:
        settled = np.clip((sums + rows // 2) // rows, train.lo, train.hi)
    return np.minimum(settled[0], 0), np.maximum(settled[1], 0)


def threshold_problems(train: Train, theta: np.ndarray, theta_map: IndexMap, staircase: bool) -> Iterator[str]:
    """What is not well-formed in the thresholds of neurons."""
    shape = (len(theta), train.hi - train.lo) if staircase else (len(theta),)
    if theta.shape != shape:
        yield f"thresholds {list(theta.shape)} do not fit the levels {train.lo}..{train.hi}"
    elif (np.diff(theta, axis=1) < 0).any() if staircase else theta.min(initial=1) < 1:
        yield "its thresholds are not sorted" if staircase else "a threshold is less than 1"
    if not theta_map.reaches(train.size, 0, len(theta)):
        yield f"its {train.size} neurons have other than the {len(theta)} thresholds that are there"
