"""The product of two tracers, as gates of LSTM and GRU need it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from snnir.machine.emitters.combining import Combining
from snnir.machine.microcode import Step
from snnir.machine.spans import FIRST, LATER, TRACER, Bounds, Spans, limited, times, with_zero
from snnir.machine.trains import Train
from snnir.machine.window import Emission, Window

__all__ = ["Product"]


@dataclass(frozen=True, eq=False)
class Product(Combining):
    """The change of the product of the tracers of two sources, address by address; or, with `step`, one event in that step, in
    which both are complete."""

    factors: tuple[str, str] = field(metadata={"stored": "sources"})
    step: int | None = None

    def problems(self, trains: Mapping[str, Train]) -> Iterator[str]:
        """Both factors have as many addresses as it has."""
        if len(self.factors) != 2:
            yield f"it has {len(self.factors)} factors"
        for factor in self.factors:
            if trains[factor].size != self.train.size:
                yield f"{factor!r} has {trains[factor].size} addresses, not {self.train.size}"

    @property
    def sources(self) -> tuple[str, ...]:
        """The two factors."""
        return self.factors

    def combine(self, tracers: list[np.ndarray]) -> np.ndarray:
        """The product."""
        found: np.ndarray = tracers[0] * tracers[1]
        return found

    def reading(self, sources: tuple[str, ...]) -> Product:
        """The same of other factors."""
        left, right = sources
        return dataclasses.replace(self, factors=(left, right))

    def of_complete(self) -> tuple[Step, ...]:
        """One step: the product."""
        return (Step("mul", (0, 1), (None, None), self.train.size),)

    def emit(self, window: Window) -> Emission:
        """Its changes step by step, or what it comes to at the step `step`."""
        if self.step is None:
            return super().emit(window)
        a, b = (window.trains[source].tracer for source in self.factors)
        events = np.zeros((window.batch, self.step + 1, self.train.size), np.int64)
        events[:, self.step] = a * b
        return Emission(events, (), a * b)

    def span(self, spans: Spans, bounds: Bounds, resumed: bool) -> np.ndarray:
        """`d(ab) = da S_b(t) + S_a(t-1) db`, and at step 0 of a fresh window S_a(t-1) = 0."""
        a, b = (spans[source] for source in self.factors)
        if self.step is not None:
            levels = with_zero(times(a[TRACER], b[TRACER]))
            return np.stack([levels, *((levels if first == (self.step == 0) else 0 * levels) for first in (True, False))])
        events = np.stack([times(a[row], b[TRACER]) + times(a[TRACER], b[row]) for row in (FIRST, LATER)])
        if not resumed:
            events[0] = times(a[FIRST], b[FIRST])
        return limited(with_zero(times(a[TRACER], b[TRACER])), events)

    def last_step(self, steps: Mapping[str, int], bounds: Bounds, resumed: bool) -> int:
        """That of its last factor, or that of its one event."""
        return super().last_step(steps, bounds, resumed) if self.step is None else self.step + 1
