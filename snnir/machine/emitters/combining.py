"""Combinations: emitters that emit, step by step, the change of a function of their sources' tracers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnir.machine.emitters.base import Emitter
from snnir.machine.microcode import Step
from snnir.machine.spans import Bounds
from snnir.machine.trains import lengthen
from snnir.machine.window import Emission, Window

__all__ = ["Combining"]


@dataclass(frozen=True, eq=False)
class Combining(Emitter):
    """The change, step by step, of what the tracers of its sources combine to."""

    least_steps: ClassVar[int] = 0
    """How many steps a window that starts afresh takes at least: 1 where the function of zeros may be something else than 0."""

    @abstractmethod
    def combine(self, tracers: list[np.ndarray]) -> np.ndarray:
        """The function, of tracers int64 [samples, steps, n] of each source."""

    @abstractmethod
    def reading(self, sources: tuple[str, ...]) -> Combining:
        """The same of other sources."""

    @abstractmethod
    def of_complete(self) -> tuple[Step, ...]:
        """What it comes to once its sources are complete, as microcode of them."""

    def emit(self, window: Window) -> Emission:
        """Differences of the function from step to step; it holds a tracer of every source."""
        parts = [window.trains[source].values for source in self.sources]
        steps, size = max(part.shape[1] for part in parts), self.train.size
        before = window.before(self.train.name)
        steps = max(steps, self.least_steps) if before is None else steps
        held = [np.zeros((window.batch, part.shape[2]), np.int64) for part in parts] if before is None else list(before[1:])
        last = np.zeros((window.batch, size), np.int64) if before is None else before[0]
        tracers = [own[:, np.newaxis] + lengthen(part, steps).cumsum(axis=1) for own, part in zip(held, parts, strict=True)]
        results = self.combine(tracers)
        kept = (results[:, -1], *(tracer[:, -1] for tracer in tracers)) if steps else (last, *held)
        return Emission(np.diff(results, axis=1, prepend=last[:, np.newaxis]), kept, kept[0])

    def last_step(self, steps: Mapping[str, int], bounds: Bounds, resumed: bool) -> int:
        """That of its last source."""
        return max(*(steps[source] for source in self.sources), 0 if resumed else self.least_steps)
