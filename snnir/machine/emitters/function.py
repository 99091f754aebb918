"""Functions of complete levels, and levels that are charged again where a new segment begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnir.machine.emitters.base import Emitter
from snnir.machine.microcode import Step, compute
from snnir.machine.spans import FIRST, LATER, TRACER, Bounds, Spans, charged, levels_of, with_zero
from snnir.machine.window import Emission, Memory, Window

__all__ = ["Function", "Settled"]


@dataclass(frozen=True, eq=False)
class _Waiting(Emitter):
    """What waits until its sources are complete, and then charges levels at once: in step `start` of its `segment`."""

    charges: ClassVar[bool] = True

    start: int
    segment: int

    def charge(self, window: Window, levels: np.ndarray, before: Memory | None, kept: Memory) -> Emission:
        """The levels, or where the window goes on their change, in step `start`."""
        change = levels if before is None else levels - before[0]
        steps = self.start + 1 if window.cap is None else min(self.start + 1, window.cap)
        events = np.zeros((window.batch, steps, self.train.size), np.int64)
        if steps > self.start:
            events[:, self.start] = change
        return Emission(events, (levels, *kept), levels)

    def reached(self, levels: np.ndarray, resumed: bool) -> np.ndarray:
        """The span of levels [2, n] that are charged in step `start`."""
        span = charged(levels, resumed)
        return np.stack([span[TRACER], span[LATER], span[FIRST]]) if self.start else span

    def last_step(self, steps: Mapping[str, int], bounds: Bounds, resumed: bool) -> int:
        """The step in which it charges."""
        return self.start + 1


@dataclass(frozen=True, eq=False)
class Function(_Waiting):
    """`clip(code(sources), lo, hi)` of settled levels, and of sums where `accumulators` says so, charged at once."""

    names: tuple[str, ...]
    accumulators: tuple[bool, ...]
    code: tuple[Step, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The trains and sums that it reads."""
        return self.names

    def emit(self, window: Window) -> Emission:
        """The levels of what its sources settled to; it holds a tracer of every train."""
        before = window.before(self.train.name)
        held, given = [], []
        for place, (name, is_sum) in enumerate(zip(self.names, self.accumulators, strict=True)):
            if is_sum:
                given.append(window.kept[name][0])
                held.append(given[-1])
                continue
            tracer = window.trains[name].tracer
            given.append(tracer if before is None else before[1 + place] + tracer)
            held.append(given[-1])
        levels = np.clip(compute(self.code, given), self.train.lo, self.train.hi)
        return self.charge(window, levels, before, tuple(held))

    def span(self, spans: Spans, bounds: Bounds, resumed: bool) -> np.ndarray:
        """Any level."""
        return self.reached(levels_of(self.train), resumed)


@dataclass(frozen=True, eq=False)
class Settled(_Waiting):
    """The settled levels of `source`, charged again in a later segment of the window."""

    counted: ClassVar[bool] = False

    source: str

    @property
    def sources(self) -> tuple[str, ...]:
        """The one train that it reads."""
        return (self.source,)

    def emit(self, window: Window) -> Emission:
        """The tracer of its source."""
        before = window.before(self.train.name)
        tracer = window.trains[self.source].tracer
        levels = tracer if before is None else before[0] + tracer
        return self.charge(window, levels, before, ())

    def span(self, spans: Spans, bounds: Bounds, resumed: bool) -> np.ndarray:
        """Any level of its source."""
        return self.reached(with_zero(spans[self.source][TRACER]), resumed)
