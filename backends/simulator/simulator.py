"""The fast simulator's front: checks, plans by input sizes, and one call to run."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from snnir.backends.simulator.assemble import assemble
from snnir.backends.simulator.budget import Budget
from snnir.backends.simulator.instructions import Cache
from snnir.backends.simulator.rounding import unmultiplied, unseen_inputs
from snnir.backends.simulator.tables import Layout, Sized, Tables
from snnir.errors import UsageError
from snnir.ir.dims import BATCH
from snnir.ir.execute import bind_sizes, check_inputs
from snnir.ir.graph import Graph
from snnir.machine import lower
from snnir.machine.clipping import clipped_counts
from snnir.machine.host import Host, HostPlan
from snnir.machine.options import DELIVERIES, ENCODINGS, EXECUTIONS, RunOptions, batch_size, check_graph
from snnir.machine.results import SimulationResult

__all__ = ["DELIVERIES", "ENCODINGS", "EXECUTIONS", "Simulator"]


def cores() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_PLANS = 8
"""How many plans are kept: one for each combination of input sizes other than the batch."""

_SIZES = 64
"""For how many shapes of inputs it is kept what follows from them."""


@functools.cache
def _driver() -> Any:
    """The driver, which imports Numba: not before something is simulated."""
    from snnir.backends.simulator import run

    return run


class Simulator:
    """Runs one spiking graph. Plans are made on first use and kept, so keep the simulator between calls."""

    def __init__(self, graph: Graph) -> None:
        check_graph(graph)
        self.graph = graph
        self._plans: dict[tuple[tuple[str, int], ...], tuple[Tables, Layout]] = {}
        self._cache = Cache()
        self._host_plans: dict[int, HostPlan] = {}
        self._unseen, self._unmultiplied = unseen_inputs(graph), unmultiplied(graph)
        self._sized: dict[tuple[object, ...], Sized] = {}
        self._allowed: RunOptions | None = None
        """The options that were checked last."""

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        *,
        steps: int | None = None,
        delivery: str = "relay",
        execution: str = "reset",
        encoding: str = "s-analog",
        trace: bool = False,
        record: Sequence[str] = (),
        counts: bool = False,
        threads: int | None = None,
        max_memory: int | None = None,
        phases: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> SimulationResult:
        """Simulate a batch: real input arrays by name, shaped as the graph declares them.

        Each window runs until it is silent, or for at most `steps` steps; then the result is 'anytime' and says what
        was left. `delivery` is how recurrent states reach the next window (`DELIVERIES`), `execution` whether the
        neurons of a scan's body start afresh in it or go on and send changes only (`EXECUTIONS`). `encoding` is `s-analog`, or
        for study `m-analog` (`encodings.py`), which needs `steps`. `trace`, `counts` and
        `record` (names of populations, encoders of inputs and maxes) fill the fields of `SimulationResult` that say so.
        `max_memory`: bytes that results and events may take, by default half of what is free; fewer threads take samples where it
        is little. `phases` counts processor cycles (x86 only). `threads` defaults to the number of cores; the result does not
        depend on it. `progress(done, total)` gets numbers of samples. Raises `InputError`, `UsageError`, `UnsupportedError`, and
        `RunMemoryError` where the events of one sample are too many.
        """
        options = RunOptions.of(
            steps=steps,
            delivery=delivery,
            execution=execution,
            encoding=encoding,
            trace=trace,
            record=record,
            counts=counts,
            threads=threads,
            max_memory=max_memory,
        )
        return self.execute(inputs, options, phases=phases, progress=progress)

    def execute(
        self,
        inputs: Mapping[str, np.ndarray],
        options: RunOptions,
        *,
        phases: bool = False,
        count_clipped: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> SimulationResult:
        """As `run`, with options that were made already; `count_clipped` fills in `SimulationResult.clipped_counts`."""
        arrays, sized = self._checked(inputs)
        if options != self._allowed:
            options.check(self.graph, sized.layout.recordable)
            self._allowed = options
        threads = cores() if options.threads is None else options.threads
        if phases and platform.machine().lower() not in ("x86_64", "amd64"):
            raise UsageError(f"phases counts cycles with a counter of x86 processors; this one is {platform.machine()}")
        layout, batch = sized.layout, sized.batch
        budget = Budget.of(options.max_memory, layout.bytes_of(options.counts) * batch, batch)
        driver = _driver()
        pool = driver.acquire_pool(max(1, min(threads, sized.batch)))
        try:
            pool.wake()
            given = {value: arrays[value.name] for value in self.graph.inputs}
            host = Host(self.graph, sized.sizes, given, sized.fixed, self._host_plans, self._unmultiplied)
            sized.fixed = sized.fixed or host.fixed
            result: SimulationResult = driver.simulate(
                self.graph,
                sized,
                host,
                driver.Recorder(sized.layout, sized.batch, frozenset(options.record), options.counts, options.trace),
                pool=pool,
                steps=options.steps,
                delivery=options.delivery,
                carry=options.carry,
                spread=options.in_portions,
                phases=phases,
                budget=budget,
                unseen=lambda: check_inputs(self.graph, inputs),
                progress=progress,
            )
            if count_clipped:
                result.clipped_counts.update(clipped_counts(host))
            return result
        finally:
            driver.release_pool(pool)

    def memory(self, inputs: Mapping[str, np.ndarray], options: RunOptions) -> Budget:
        """What a run will take: what its results take, and how much events may. Raises `UsageError` where that is too much."""
        _, sized = self._checked(inputs)
        return Budget.of(options.max_memory, sized.layout.bytes_of(options.counts) * sized.batch, sized.batch)

    def _checked(self, inputs: Mapping[str, np.ndarray]) -> tuple[Mapping[str, np.ndarray], Sized]:
        """The inputs, checked, and what follows from their sizes; that is kept, and what is kept need not be checked."""
        key = tuple((name, getattr(array, "dtype", None), getattr(array, "shape", None)) for name, array in inputs.items())
        if key in self._sized:
            return inputs, self._sized[key]
        arrays = check_inputs(self.graph, inputs, self._unseen)
        sizes = bind_sizes(self.graph, arrays)
        sized = Sized(sizes, *self._plan(sizes), batch_size(self.graph, sizes))
        if all(array is inputs[name] and name in self._unseen for name, array in arrays.items()):
            while len(self._sized) >= _SIZES:
                self._sized.pop(next(iter(self._sized)))
            self._sized[key] = sized
        return arrays, sized

    def _plan(self, sizes: Mapping[str, int]) -> tuple[Tables, Layout]:
        key = tuple(sorted((name, size) for name, size in sizes.items() if name != BATCH))
        if key not in self._plans:
            while len(self._plans) >= _PLANS:
                self._plans.pop(next(iter(self._plans)))
                self._sized.clear()
            self._plans[key] = assemble(lower(self.graph, sizes), self._cache)
        return self._plans[key]
