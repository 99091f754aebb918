"""What sums up currents: populations and readouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from snnir.machine.addresses import IndexMap
from snnir.machine.emitters.base import Emitter
from snnir.machine.spans import TRACER, Bounds, Spans, hull
from snnir.machine.synapses import Synapse, currents
from snnir.machine.trains import Train
from snnir.machine.window import Window

__all__ = ["Summing"]


@dataclass(frozen=True, eq=False)
class Summing(Emitter):
    """What sums up currents: `initial[initial_map[i]]` is the sum that neuron i starts with."""

    synapses: tuple[Synapse, ...]
    initial: np.ndarray
    initial_map: IndexMap

    def problems(self, trains: Mapping[str, Train]) -> Iterator[str]:
        """Every neuron has a sum to start with, and every synapse leads from its source to the neurons."""
        if self.initial.ndim != 1 or not self.initial_map.reaches(self.train.size, 0, self.initial.size):
            yield f"its {self.train.size} neurons start with other than the {self.initial.size} sums that are there"
        for synapse in self.synapses:
            yield from (f"synapse {synapse.name}: {problem}" for problem in synapse.problems(trains[synapse.source], self.train))

    @property
    def sources(self) -> tuple[str, ...]:
        """The trains that its synapses read."""
        return tuple(synapse.source for synapse in self.synapses)

    def start(self, batch: int) -> np.ndarray:
        """The sums that neurons start with, int64 [samples, n]."""
        return np.broadcast_to(self.initial[self.initial_map.array()], (batch, self.train.size))

    def arriving(self, window: Window) -> np.ndarray:
        """What arrives at every neuron at every step, all synapses together: int64 [samples, steps, n].

        Under a cap on steps, what would come after it is left out.
        """
        steps = max((window.trains[source].steps for source in self.sources), default=0)
        steps = steps if window.cap is None else min(steps, window.cap)
        total = np.zeros((window.batch, steps, self.train.size), np.int64)
        for synapse in self.synapses:
            events = window.trains[synapse.source].values[:, :steps]
            if events.size:
                through = currents(synapse, events.reshape(-1, events.shape[2]))
                total[:, : events.shape[1]] += through.reshape(window.batch, events.shape[1], -1)
        return window.registers.hold(self.train.name, "current", total)

    def sum_span(self, spans: Spans, bounds: Bounds, whole: bool) -> np.ndarray:
        """The intervals [3, 2, n] of the sum, and of what arrives at step 0 and at later steps.

        `whole`: the membrane register holds the sum itself.
        """
        total = np.zeros((3, 2, self.train.size), np.int64)
        for synapse in self.synapses:
            weights = synapse.expanded()
            up, down = np.maximum(weights, 0), np.minimum(weights, 0)
            span = spans[synapse.source]
            rows, crossed = span.reshape(6, -1), span[:, ::-1].reshape(6, -1)
            total += (currents(synapse, rows, up) + currents(synapse, crossed, down)).reshape(total.shape)
        total[TRACER] += self.initial[self.initial_map.array()]
        most = total[TRACER, 1] - total[TRACER, 0]
        np.maximum(total[1:, 0], -most, out=total[1:, 0])
        np.minimum(total[1:, 1], most, out=total[1:, 1])
        sums = hull(total[TRACER])
        ranges = {"sum": sums, "current": hull(total[1:])}
        if whole:
            ranges["membrane"] = sums
        bounds.see(self.train.name, ranges, bounds.registers)
        return total
