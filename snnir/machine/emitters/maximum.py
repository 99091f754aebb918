"""The largest tracer of each window of a max pooling."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnir.machine.emitters.combining import Combining
from snnir.machine.microcode import Step
from snnir.machine.spans import TRACER, Bounds, Spans, limited
from snnir.machine.trains import Train

__all__ = ["Max"]


@dataclass(frozen=True, eq=False)
class Max(Combining):
    """The change of the largest tracer among every `width` neighbouring addresses of the source."""

    shifted: ClassVar[bool] = True

    source: str
    width: int

    def problems(self, trains: Mapping[str, Train]) -> Iterator[str]:
        """Its source has `width` addresses for each of its own."""
        if trains[self.source].size != self.train.size * self.width:
            yield f"{self.source!r} has {trains[self.source].size} addresses, not {self.train.size} times {self.width}"

    @property
    def sources(self) -> tuple[str, ...]:
        """The one train that it reads."""
        return (self.source,)

    def combine(self, tracers: list[np.ndarray]) -> np.ndarray:
        """The largest of each `width`."""
        (tracer,) = tracers
        found: np.ndarray = tracer.reshape(*tracer.shape[:2], self.train.size, self.width).max(axis=3)
        return found

    def reading(self, sources: tuple[str, ...]) -> Max:
        """The same of another source."""
        return dataclasses.replace(self, source=sources[0])

    def of_complete(self) -> tuple[Step, ...]:
        """One step: the largest of each `width`."""
        return (Step("max", (0,), (None,), self.train.size, self.width),)

    def span(self, spans: Spans, bounds: Bounds, resumed: bool) -> np.ndarray:
        """The largest of the least and of the greatest levels; it changes by no more than one of its sources does."""
        grouped = spans[self.source].reshape(3, 2, self.train.size, self.width)
        events = np.stack([grouped[1:, 0].min(axis=2), grouped[1:, 1].max(axis=2)], axis=1)
        return limited(grouped[TRACER].max(axis=2), events)
