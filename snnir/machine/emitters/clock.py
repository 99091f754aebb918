"""Clocks: what levels send in each step, and what a train sends from a step on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from snnir.ir.generator import spikes_of
from snnir.ir.ops.clocked import BERNOULLI, CONSTANT, ENCODERS, RATE, WINDOW
from snnir.machine.emitters.base import Emitter
from snnir.machine.spans import TRACER, Bounds, Spans, with_zero
from snnir.machine.trains import Train, lengthen
from snnir.machine.window import Emission, Window

__all__ = ["Clock"]


@dataclass(frozen=True, eq=False)
class Clock(Emitter):
    """The complete levels of a source, sent over `steps` steps; of kind `window`, the events of a source from step `first` on.

    `kind`, `seed` and `first` are those of the op `clock`. Samples are counted from the first of a run. What was drawn other than
    its level, and all of a window, counts as unsettled."""

    source: str
    steps: int
    kind: str
    seed: int = 0
    first: int = 0

    def problems(self, trains: Mapping[str, Train]) -> Iterator[str]:
        """Its kind is known, and its steps hold what they are to send."""
        source = trains[self.source]
        if self.kind not in (*ENCODERS, WINDOW):
            yield f"kind {self.kind!r} is none of {', '.join((*ENCODERS, WINDOW))}"
        if self.steps < 1 or not 0 <= self.first < self.steps:
            yield f"step {self.first} is none of its {self.steps} steps"
        if not 0 <= self.seed < 1 << 63:
            yield f"seed {self.seed} has more than 63 bits, or is negative"
        if source.size != self.train.size:
            yield f"{self.source!r} has {source.size} addresses, not {self.train.size}"
        if self.kind in (RATE, BERNOULLI) and max(-source.lo, source.hi) > self.steps:
            yield f"levels {source.lo}..{source.hi} are more than its {self.steps} steps"

    @property
    def sources(self) -> tuple[str, ...]:
        """The one train that it reads."""
        return (self.source,)

    def emit(self, window: Window) -> Emission:
        """One event of each address a step, at most."""
        given = window.trains[self.source]
        if self.kind == WINDOW:
            events = lengthen(given.values, self.steps).copy()
            events[:, : self.first] = 0
        else:
            events = np.stack([self._step(given.tracer, t) for t in range(self.steps)], axis=1)
        sent = events.sum(axis=1)
        unsettled = sent.size if self.kind == WINDOW else 0
        if self.kind == BERNOULLI:
            unsettled = int(np.count_nonzero(sent != given.tracer))
        return Emission(events, (), sent, unsettled)

    def _step(self, levels: np.ndarray, t: int) -> np.ndarray:
        """What levels [samples, n] send in step t."""
        if self.kind == CONSTANT:
            return levels
        if self.kind == RATE:
            size = np.abs(levels)
            return np.asarray(np.sign(levels) * (size * (t + 1) // self.steps - size * t // self.steps))
        return spikes_of(levels, 0, t, self.steps, self.seed)

    def span(self, spans: Spans, bounds: Bounds, resumed: bool) -> np.ndarray:
        """`steps` times the levels; else as many spikes as levels, or as steps are left."""
        levels = with_zero(spans[self.source][TRACER])
        if self.kind == CONSTANT:
            return np.stack([levels * self.steps, levels, levels])
        signs = np.sign(levels)
        if self.kind == WINDOW:
            left, first, later = self.steps - self.first, *spans[self.source][1:]
            most = np.stack([np.minimum(first[0], later[0]), np.maximum(first[1], later[1])]) * left
            tracer = np.stack([np.maximum(levels[0], most[0]), np.minimum(levels[1], most[1])])
            return np.stack([tracer, first * (self.first == 0), later])
        return np.stack([signs * self.steps if self.kind == BERNOULLI else levels, signs, signs])

    def last_step(self, steps: Mapping[str, int], bounds: Bounds, resumed: bool) -> int:
        """Its clock's."""
        return self.steps
