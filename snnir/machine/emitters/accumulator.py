"""Accumulators: sums that a function takes, without neurons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnir.machine.emitters.summing import Summing
from snnir.machine.spans import Bounds, Spans
from snnir.machine.window import Emission, Window

__all__ = ["Accumulator", "summed"]


@dataclass(frozen=True, eq=False)
class Accumulator(Summing):
    """An exact sum that only functions read, once it is complete. Its train is never emitted."""

    counted: ClassVar[bool] = False
    emits: ClassVar[bool] = False

    def emit(self, window: Window) -> Emission:
        """Nothing; its count is the sum after the last step."""
        return summed(self, window)

    def span(self, spans: Spans, bounds: Bounds, resumed: bool) -> np.ndarray:
        """Silence; the range of its sum is kept for the functions that read it."""
        self.sum_span(spans, bounds, whole=True)
        return np.zeros((3, 2, self.train.size), np.int64)

    def last_step(self, steps: Mapping[str, int], bounds: Bounds, resumed: bool) -> int:
        """The step after which its sum is complete."""
        return max((steps[source] for source in self.sources), default=0)


def summed(op: Summing, window: Window) -> Emission:
    """What an op without neurons sums up in a window; it goes on from the sum of the window before."""
    name, registers = op.train.name, window.registers
    before = window.before(name)
    total = registers.hold(name, "membrane", op.start(window.batch)) if before is None else before[0]
    current = op.arriving(window)
    sums = []
    for t in range(current.shape[1]):
        total = registers.hold(name, "membrane", total + current[:, t])
        sums.append(total)
    wanted = np.stack(sums, axis=1) if sums and window.sums(name) else None
    return Emission(current[:, :0], (total,), total, sums=wanted)
