"""Readouts: exact sums without neurons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnir.machine.addresses import IndexMap
from snnir.machine.emitters.accumulator import summed
from snnir.machine.emitters.summing import Summing
from snnir.machine.spans import Bounds, Spans
from snnir.machine.trains import Train
from snnir.machine.window import Emission, Window

__all__ = ["Readout"]


@dataclass(frozen=True, eq=False)
class Readout(Summing):
    """An exact sum; its real value is `sum * scale[scale_map[i]]`, float64, given as float32. Its train is never emitted."""

    emits: ClassVar[bool] = False

    scale: np.ndarray
    scale_map: IndexMap

    def problems(self, trains: Mapping[str, Train]) -> Iterator[str]:
        """Every sum has a scale."""
        yield from super().problems(trains)
        if not self.scale_map.reaches(self.train.size, 0, self.scale.size):
            yield f"its {self.train.size} sums have other than the {self.scale.size} scales that are there"

    def emit(self, window: Window) -> Emission:
        """Nothing; its count is the sum after the last step."""
        return summed(self, window)

    def span(self, spans: Spans, bounds: Bounds, resumed: bool) -> np.ndarray:
        """Silence."""
        self.sum_span(spans, bounds, whole=True)
        return np.zeros((3, 2, self.train.size), np.int64)

    def last_step(self, steps: Mapping[str, int], bounds: Bounds, resumed: bool) -> int:
        """None: it emits nothing."""
        return 0
