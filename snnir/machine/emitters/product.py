"""The product of two tracers, as gates of LSTM and GRU need it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnir.machine.emitters.combining import Combining
from snnir.machine.spans import FIRST, LATER, TRACER, Bounds, Spans, limited, times, with_zero

__all__ = ["Product"]


@dataclass(frozen=True, eq=False)
class Product(Combining):
    """The change of the product of the tracers of two sources, address by address."""

    factors: tuple[str, str]

    @property
    def sources(self) -> tuple[str, ...]:
        """The two factors."""
        return self.factors

    def combine(self, tracers: list[np.ndarray]) -> np.ndarray:
        """The product."""
        found: np.ndarray = tracers[0] * tracers[1]
        return found

    def span(self, spans: Spans, bounds: Bounds, resumed: bool) -> np.ndarray:
        """`d(ab) = da S_b(t) + S_a(t-1) db`, and at step 0 of a fresh window S_a(t-1) = 0."""
        a, b = (spans[source] for source in self.factors)
        events = np.stack([times(a[row], b[TRACER]) + times(a[TRACER], b[row]) for row in (FIRST, LATER)])
        if not resumed:
            events[0] = times(a[FIRST], b[FIRST])
        return limited(with_zero(times(a[TRACER], b[TRACER])), events)
