"""What a run writes down while it goes on: arrays over the whole batch, of which every chunk fills its own rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from snnir.backends.simulator.blocks import EncodePlan, Plan, PopulationPlan, ScanPlan, TracerPlan
from snnir.backends.simulator.host import window_order
from snnir.backends.simulator.trains import Train, settled
from snnir.errors import UnsupportedError
from snnir.ir.graph import Value
from snnir.ir.ops import Scan

__all__ = ["Recorder", "Window", "emitters"]

Emitter = EncodePlan | PopulationPlan | TracerPlan


class Window:
    """Where in the record the window belongs that is being simulated: samples first..last, window k (None: outermost).

    `carried`: trains count on from the window before.
    """

    def __init__(self, first: int, last: int, column: int = 0, k: int | None = None, carried: bool = False) -> None:
        self.first, self.last, self.column, self.k, self.carried = first, last, column, k, carried

    @property
    def batch(self) -> int:
        """Number of samples."""
        return self.last - self.first

    @property
    def rows(self) -> tuple[slice] | tuple[slice, int]:
        """The index of this window in arrays [N, ...], or [N, windows, ...] inside a body."""
        samples = slice(self.first, self.last)
        return (samples,) if self.k is None else (samples, self.k)


def emitters(plan: Plan, length: int | None = None) -> Iterator[tuple[Emitter, int | None]]:
    """Every step that is a value of the network, with the number of windows it has (None: it is in the outermost)."""
    for step in plan.steps:
        if isinstance(step, ScanPlan):
            yield from emitters(step.body, step.length)
        elif not isinstance(step, EncodePlan) or not step.fixed:
            yield step, length


class Recorder:
    """The arrays of one run, by the names and shapes of `SimulationResult`."""

    def __init__(self, plan: Plan, graph_name: str, batch: int, record: frozenset[str], counts: bool, trace: bool) -> None:
        self.record = record
        self.trace = trace
        self.windows = [graph_name]
        self.columns: dict[ScanPlan, int] = {}
        self.spikes: dict[str, np.ndarray] = {}
        self.synops: dict[str, np.ndarray] = {}
        self.charges: dict[str, np.ndarray] = {}
        self.counts: dict[str, np.ndarray] = {}
        self.sums: dict[Value, np.ndarray] = {}
        self.settles: dict[str, np.ndarray] = {}
        self.events: dict[str, list[np.ndarray]] = {name: [] for name in record}
        self.histories: dict[Value, list[tuple[Window, np.ndarray]]] = {}
        for step in plan.steps:
            if isinstance(step, ScanPlan):
                op = step.node.op
                assert isinstance(op, Scan)
                self.columns[step] = len(self.windows)
                self.windows += [f"{step.node.outputs[0].name}[{element}]" for element in window_order(op, step.length)]
        self.steps = np.zeros((batch, len(self.windows)), np.int64)
        for name, emission in plan.outputs:
            self.settles[name] = np.zeros((batch, *emission.shape), np.int64)
        names: set[str] = set()
        for step, length in emitters(plan):
            if step.name in names:
                raise UnsupportedError(f"two values are called {step.name} (a scan's name stands before its body's); rename one")
            names.add(step.name)
            shape = (batch, *(() if length is None else (length,)), *step.shape)
            if isinstance(step, PopulationPlan):
                for name in step.segments.names:
                    self.synops.setdefault(name, np.zeros(batch, np.int64))
                    self.charges.setdefault(name, np.zeros(batch, np.int64))
                if step.readout:
                    self.sums[step.value] = np.zeros(shape, np.int64)
                else:
                    self.spikes[step.name] = np.zeros(batch, np.int64)
                if self.keeps_history(step):
                    self.histories[step.value] = []
            if counts:
                is_readout = isinstance(step, PopulationPlan) and step.readout
                self.counts[step.name] = self.sums[step.value] if is_readout else np.zeros(shape, np.int64)

    def keeps_history(self, step: PopulationPlan) -> bool:
        """Whether the sums after each step are wanted."""
        return self.trace if step.readout else step.name in self.record

    def emitted(self, step: Emitter, train: Train, used: np.ndarray, window: Window) -> None:
        """Enter the events of one value in one window."""
        samples = slice(window.first, window.last)
        column = self.steps[samples, window.column]
        np.maximum(column, used, out=column)
        if isinstance(step, PopulationPlan):
            self.spikes[step.name][samples] += train.offsets[:, -1] - train.offsets[:, 0]
        if step.name in self.counts:
            counts = settled(train, int(np.prod(step.shape))).reshape(window.batch, *step.shape)
            if window.carried and window.k:
                counts += self.counts[step.name][window.first : window.last, window.k - 1]
            self.counts[step.name][window.rows] = counts
        if step.name in self.record:
            sample, at, address, value = train.events()
            k = np.full(len(sample), window.k or 0)
            self.events[step.name].append(np.stack([sample + window.first, k, at, address, value], axis=1))

    def worked(self, step: PopulationPlan, synops: np.ndarray, charges: np.ndarray, window: Window) -> None:
        """Enter synaptic operations [batch, segments] of one population in one window."""
        for segment, name in enumerate(step.segments.names):
            self.synops[name][window.first : window.last] += synops[:, segment]
            self.charges[name][window.first : window.last] += charges[:, segment]

    def history(self, step: PopulationPlan, length: int, windows: int | None) -> np.ndarray:
        """The sums of one population after each of `length` steps, the last ones held: [N, (windows,) steps, ...]."""
        inside = () if windows is None else (windows,)
        whole = np.zeros((len(self.steps), *inside, length, int(np.prod(step.shape))), np.int64)
        for window, part in self.histories[step.value]:
            whole[window.rows][:, : part.shape[1]] = part
            whole[window.rows][:, part.shape[1] :] = part[:, -1:]
        return whole.reshape(*whole.shape[:-1], *step.shape)

    def raster(self, name: str) -> np.ndarray:
        """All events of one value, sorted."""
        rows = np.concatenate([np.zeros((0, 5), np.int64), *self.events[name]])
        return rows[np.lexsort(rows.T[::-1])]
