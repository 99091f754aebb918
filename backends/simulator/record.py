"""What a run writes down: flat arrays over the whole batch, of which every chunk fills its own rows, and their names."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import fields
from functools import cached_property

import numpy as np

from snnir.backends.simulator.kernels.constants import (
    CHARGES,
    COUNTS,
    KEEPS_HISTORY,
    RECORDED,
    SETTLES,
    SPIKES,
    STEPS,
    SUMS,
    SYNOPS,
)
from snnir.backends.simulator.tables import Layout
from snnir.ir.graph import Value
from snnir.machine.program import Emitter, Summing
from snnir.machine.results import SimulationResult

__all__ = ["RecordedResult", "Recorder"]


class Recorder:
    """The results of one run, by the names and shapes of `SimulationResult`."""

    def __init__(self, layout: Layout, batch: int, record: frozenset[str], counts: bool, trace: bool) -> None:
        self.layout, self.batch, self.record, self.trace, self.counted = layout, batch, record, trace, counts
        self.flags = np.zeros(len(layout.emitters), np.int64)
        if record or trace:
            self.flags[:] = [self._flags(emitter) for emitter, _ in layout.emitters]
        self.results = np.zeros((batch, layout.results[-1 if counts else COUNTS]), np.int64)
        self._events, self._history = np.zeros((0, 6), np.int64), np.zeros(0, np.int64)

    def _part(self, part: int) -> np.ndarray:
        """One of the parts that `kernels/constants.py` lists, int64[N, ...]."""
        return self.results[:, self.layout.results[part] : self.layout.results[part + 1]]

    def _flags(self, op: Emitter) -> int:
        if not op.counted:
            return 0
        wanted = op.train.name in self.record if op.emits else self.trace
        keeps = wanted and isinstance(op, Summing)
        return (RECORDED if wanted and op.emits else 0) | (KEEPS_HISTORY if keeps else 0)

    def enter(self, events: np.ndarray, history: np.ndarray) -> None:
        """Enter what was recorded, as the kernel gives it."""
        self._events, self._history = events.reshape(-1, 6), history

    @property
    def windows(self) -> list[str]:
        """The names of windows."""
        return self.layout.windows

    @property
    def steps(self) -> np.ndarray:
        """Steps of each window, int64[N, windows]: those of its segments together."""
        columns = self.layout.columns_of
        starts = np.cumsum([0, *columns[:-1]])
        return self._part(STEPS) if len(columns) == self.layout.columns else np.add.reduceat(self._part(STEPS), starts, axis=1)

    @property
    def spikes(self) -> dict[str, np.ndarray]:
        """Spikes of each population, int64[N]."""
        columns = list(self._part(SPIKES).T)
        return {name: columns[row] for name, row in self.layout.spiking}

    @property
    def synops(self) -> dict[str, np.ndarray]:
        """Synaptic operations of each synapse, int64[N]."""
        return self._by_synapse(self._part(SYNOPS))

    @property
    def charges(self) -> dict[str, np.ndarray]:
        """Those of them that cost a multiplication."""
        return self._by_synapse(self._part(CHARGES))

    def _by_synapse(self, columns: np.ndarray) -> dict[str, np.ndarray]:
        found = dict(zip(self.layout.segments, columns.T, strict=True))
        for name, places in self.layout.shared.items():
            found[name] = columns[:, places].sum(axis=1)
        return found

    def _cut(self, flat: np.ndarray, first: int, windows: int | None, shape: tuple[int, ...]) -> np.ndarray:
        """One value's columns of a flat result, as [N, (windows,) ...]."""
        size = math.prod(shape) * (1 if windows is None else windows)
        whole = (len(flat), *(() if windows is None else (windows,)), *shape)
        return flat[:, first : first + size].reshape(whole)

    @cached_property
    def sums(self) -> dict[Value, np.ndarray]:
        """The settled sums of readouts, int64[N, (windows,) ...]."""
        flat = self._part(SUMS)
        values = self.layout.values
        return {
            values[op.train.name]: self._cut(flat, first, windows, op.train.shape) for op, first, windows in self.layout.readouts
        }

    @property
    def settles(self) -> dict[str, np.ndarray]:
        """What spiking outputs settle to, int64[N, ...]."""
        flat = self._part(SETTLES)
        return {name: self._cut(flat, first, None, shape) for name, shape, first in self.layout.outputs}

    @property
    def counts(self) -> dict[str, np.ndarray]:
        """The settled tracers of every value, where they are wanted, and the sums of readouts."""
        if not self.counted:
            return {}
        found, first, flat = {}, 0, self._part(COUNTS)
        for emitter, windows in self.layout.emitters:
            name = emitter.train.name
            if not emitter.counted:
                continue
            if not emitter.emits:
                found[name] = self.sums[self.layout.values[name]]
            else:
                found[name] = self._cut(flat, first, windows, emitter.train.shape)
                first += emitter.train.size * (1 if windows is None else windows)
        return found

    def _raster(self, name: str) -> np.ndarray:
        """All events of one value, sorted: sample, window, step, address, value."""
        (row,) = [row for row, (emitter, _) in enumerate(self.layout.emitters) if emitter.train.name == name and self.flags[row]]
        events = self._events[self._events[:, 0] == row, 1:]
        return events[np.lexsort(events.T[::-1])]

    @cached_property
    def _sums_by_step(self) -> dict[Summing, dict[tuple[int, int], list[np.ndarray]]]:
        """The sums that were kept: of each population, for each sample and window, one array for each step."""
        populations = [emitter for emitter, _ in self.layout.emitters if isinstance(emitter, Summing)]
        found: dict[Summing, dict[tuple[int, int], list[np.ndarray]]] = {
            step: defaultdict(list) for step in populations if self._flags(step) & KEEPS_HISTORY
        }
        kept, at = self._history, 0
        while at < kept.size:
            step, sample, k = populations[kept[at]], int(kept[at + 1]), int(kept[at + 2])
            size = step.train.size
            found[step][sample, k].append(kept[at + 3 : at + 3 + size])
            at += 3 + size
        return found

    @cached_property
    def length(self) -> int:
        """The number of steps of the longest window."""
        rows = [len(sums) for windows in self._sums_by_step.values() for sums in windows.values()]
        return max(1, int(self.steps.max(initial=0)), *rows)

    def _kept(self, step: Summing, windows: int | None) -> np.ndarray:
        """The sums of one population after each step, the last ones held: [N, (windows,) steps, ...]."""
        size = step.train.size
        whole = np.zeros((self.batch, 1 if windows is None else windows, self.length, size), np.int64)
        for (sample, k), rows in self._sums_by_step[step].items():
            whole[sample, k, : len(rows)] = rows
            whole[sample, k, len(rows) :] = rows[-1]
        return whole.reshape(self.batch, *(() if windows is None else (windows,)), self.length, *step.train.shape)

    @property
    def histories(self) -> dict[Value, np.ndarray]:
        """The sums of readouts after each step, where a trace is wanted: [steps, N, (windows,) ...]."""
        return {
            self.layout.values[step.train.name]: np.moveaxis(self._kept(step, windows), 1 if windows is None else 2, 0)
            for step, windows in self.layout.emitters
            if isinstance(step, Summing) and not step.emits and self.trace
        }

    @property
    def membranes(self) -> dict[str, np.ndarray]:
        """The sums of recorded populations after each step: [N, (windows,) steps, ...]."""
        if not self.record:
            return {}
        return {
            step.train.name: self._kept(step, windows)
            for step, windows in self.layout.emitters
            if isinstance(step, Summing) and step.emits and step.train.name in self.record
        }

    @property
    def rasters(self) -> dict[str, np.ndarray]:
        """All events of recorded values."""
        return {name: self._raster(name) for name in self.record}


class RecordedResult(SimulationResult):
    """A result of which most is only made of what a run wrote down when it is first asked for."""

    def __init__(
        self,
        recorder: Recorder,
        outputs: dict[str, np.ndarray],
        unsettled: int,
        undelivered: int,
        trace: dict[str, np.ndarray],
        phases: dict[str, float],
    ) -> None:
        self.__dict__.update(
            _recorder=recorder,
            outputs=outputs,
            settled=not unsettled and not undelivered,
            unsettled=unsettled,
            undelivered=undelivered,
            trace=trace,
            phases=phases,
            clipped_counts={},
        )

    def __getattr__(self, name: str) -> object:
        if name not in _RECORDED:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return self.__dict__.setdefault(name, getattr(self._recorder, name))

    def __reduce__(self) -> tuple[type[SimulationResult], tuple[object, ...]]:
        return SimulationResult, tuple(getattr(self, part.name) for part in fields(SimulationResult))


_RECORDED = {part.name for part in fields(SimulationResult)} - {
    "outputs",
    "settled",
    "unsettled",
    "undelivered",
    "trace",
    "phases",
    "clipped_counts",
}
