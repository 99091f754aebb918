"""Levels that are charged at step 0: those that the host gives, and those that never change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnir.machine.emitters.base import Emitter
from snnir.machine.encodings import portions
from snnir.machine.spans import FIRST, TRACER, Bounds, Spans, charged, levels_of, with_zero
from snnir.machine.trains import Train
from snnir.machine.window import Emission, Window

__all__ = ["Constant", "Input"]


@dataclass(frozen=True, eq=False)
class Input(Emitter):
    """Levels that the host gives, `clip(floor(x / scale + 1/2), lo, hi)` of real values `source`; charged at step 0.

    Inside a scan there is one set of levels for each window, in order of processing."""

    charges: ClassVar[bool] = True

    source: str

    @property
    def sources(self) -> tuple[str, ...]:
        """None: the host gives its levels."""
        return ()

    def emit(self, window: Window) -> Emission:
        """The levels, or where the window goes on their change since the window before."""
        levels, before = window.levels(self.train.name), window.before(self.train.name)
        change = levels if before is None else levels - before[0]
        if window.spread and window.cap is not None:
            events = np.moveaxis(portions(change, window.cap), 0, 1)
        else:
            events = change[:, np.newaxis]
        return Emission(events, (levels,), levels)

    def span(self, spans: Spans, bounds: Bounds, resumed: bool) -> np.ndarray:
        """Any level."""
        return charged(levels_of(self.train), resumed)

    def last_step(self, steps: Mapping[str, int], bounds: Bounds, resumed: bool) -> int:
        """One step."""
        return 1


@dataclass(frozen=True, eq=False)
class Constant(Emitter):
    """Levels that never change, charged at step 0 (of the first window only, where a scan is carried)."""

    counted: ClassVar[bool] = False
    charges: ClassVar[bool] = True

    levels: np.ndarray

    def problems(self, trains: Mapping[str, Train]) -> Iterator[str]:
        """Its levels are those of its train."""
        low, high = self.levels.min(initial=self.train.hi), self.levels.max(initial=self.train.lo)
        if self.levels.shape != (self.train.size,) or low < self.train.lo or high > self.train.hi:
            yield f"its levels are not {self.train.size} integers in {self.train.lo}..{self.train.hi}"

    @property
    def sources(self) -> tuple[str, ...]:
        """None."""
        return ()

    def emit(self, window: Window) -> Emission:
        """The levels, the same for every sample."""
        levels = np.broadcast_to(self.levels, (window.batch, self.train.size))
        events = levels[:, np.newaxis]
        return Emission(events if window.memory is None else events[:, :0], (), levels)

    def span(self, spans: Spans, bounds: Bounds, resumed: bool) -> np.ndarray:
        """The levels."""
        span = np.zeros((3, 2, self.train.size), np.int64)
        span[TRACER] = with_zero(np.stack([self.levels, self.levels]))
        if not resumed:
            span[FIRST] = span[TRACER]
        return span

    def last_step(self, steps: Mapping[str, int], bounds: Bounds, resumed: bool) -> int:
        """One step, or none where receivers still hold the levels."""
        return 0 if resumed else 1
