"""Functions that tell every change of their value at once, without waiting for complete inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from snnir.machine.emitters.combining import Combining
from snnir.machine.emitters.summing import Summing
from snnir.machine.microcode import Step, compute
from snnir.machine.spans import FIRST, TRACER, Bounds, Spans, anything, limited, with_zero
from snnir.machine.window import Emission, Window

__all__ = ["Difference", "RunningSum"]


@dataclass(frozen=True, eq=False)
class Difference(Combining):
    """The change, step by step, of `clip(code(tracers), lo, hi)` of the tracers of its sources: a function in the difference
    realisation (as SpikeZIP-TF, arXiv:2406.03470, does with real numbers). Its changes add up to the function of what settled."""

    charges: ClassVar[bool] = True
    least_steps: ClassVar[int] = 1

    names: tuple[str, ...] = field(metadata={"stored": "sources"})
    code: tuple[Step, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The trains that it reads, those of sums included."""
        return self.names

    def combine(self, tracers: list[np.ndarray]) -> np.ndarray:
        """The function, at every step."""
        samples, steps = tracers[0].shape[:2]
        found = compute(self.code, [tracer.reshape(samples * steps, tracer.shape[2]) for tracer in tracers])
        return np.asarray(np.clip(found, self.train.lo, self.train.hi)).reshape(samples, steps, self.train.size)

    def reading(self, sources: tuple[str, ...]) -> Difference:
        """The same function of other sources."""
        return dataclasses.replace(self, names=sources)

    def of_complete(self) -> tuple[Step, ...]:
        """The function."""
        return self.code

    def span(self, spans: Spans, bounds: Bounds, resumed: bool) -> np.ndarray:
        """Any level, and any change from one to another; the first event of a fresh window is a level."""
        span = anything(self.train)
        span[TRACER] = with_zero(span[TRACER])
        if not resumed:
            span[FIRST] = span[TRACER]
        return limited(span[TRACER], span[FIRST:])


@dataclass(frozen=True, eq=False)
class RunningSum(Summing):
    """A sum that functions in the difference realisation read: its events are the changes of the sum, the first of which holds
    what it starts with. Its tracer is the sum so far."""

    counted: ClassVar[bool] = False
    charges: ClassVar[bool] = True

    def emit(self, window: Window) -> Emission:
        """What arrives, step by step; it goes on from the sum of the window before."""
        name, registers = self.train.name, window.registers
        before, current = window.before(name), self.arriving(window)
        total = registers.hold(name, "membrane", self.start(window.batch)) if before is None else before[0]
        if before is None and not current.shape[1]:
            current = np.zeros((window.batch, 1, self.train.size), np.int64)
        sums = [np.zeros_like(total) if before is None else total]
        for t in range(current.shape[1]):
            total = registers.hold(name, "membrane", total + current[:, t])
            sums.append(total)
        return Emission(np.diff(np.stack(sums, axis=1), axis=1), (total,), total)

    def span(self, spans: Spans, bounds: Bounds, resumed: bool) -> np.ndarray:
        """The range of its sum, and of what arrives."""
        total = self.sum_span(spans, bounds, whole=True)
        events = total[FIRST:].copy()
        if not resumed:
            events[0] += self.initial[self.initial_map.array()]
        return limited(with_zero(total[TRACER]), events)

    def last_step(self, steps: Mapping[str, int], bounds: Bounds, resumed: bool) -> int:
        """That of its last source; of a fresh window 1 or more."""
        return max(*(steps[source] for source in self.sources), 0 if resumed else 1)
