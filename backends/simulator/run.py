"""The driver: chunks of the batch, each run through the whole network by one compiled call of one thread."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from snnir.backends.simulator import kernels
from snnir.backends.simulator.host import Host
from snnir.backends.simulator.record import Recorder
from snnir.backends.simulator.result import SimulationResult
from snnir.backends.simulator.tables import Layout, Program
from snnir.backends.simulator.turns import compiled_by_one
from snnir.errors import InputError
from snnir.ir.graph import Graph, Value
from snnir.ir.ops import Encode
from snnir.ir.types import not_a_level

__all__ = ["simulate"]

_CHUNK = 128
"""The most samples in a chunk: how long nothing is heard of a run."""

PHASES = ("delivering", "firing", "settling", "the rest")
"""What cycles are counted of: see `SimulationResult.phases`."""

_Found = tuple[int, int, np.ndarray, np.ndarray, np.ndarray]
"""What the compiled call returns: see `kernels.simulate`."""

_FOREVER = np.iinfo(np.int64).max // 4
_DELIVERIES = {"relay": kernels.RELAY, "replay": kernels.REPLAY, "graded": kernels.GRADED}


def simulate(
    graph: Graph,
    program: Program,
    layout: Layout,
    host: Host,
    recorder: Recorder,
    batch: int,
    *,
    steps: int | None,
    delivery: str,
    carry: bool,
    spread: bool,
    threads: int,
    phases: bool,
    progress: Callable[[int, int], None] | None,
) -> SimulationResult:
    """Run a program over the whole batch. The arguments are checked already."""
    size = max(1, min(_CHUNK, -(-batch // threads)))
    chunks = [(first, min(first + size, batch)) for first in range(0, batch, size)]
    levels = np.empty((batch, layout.levels), np.int32)
    cap, unsettled, undelivered = _FOREVER if steps is None else steps, 0, 0

    roundings = _charge(levels, layout, host)

    def run(chunk: tuple[int, int]) -> _Found:
        for name, column, *rounding in roundings:
            wrong = kernels.round_half_up(*rounding, levels, *chunk, column)
            if wrong:
                raise InputError(not_a_level(name, wrong))
        found: _Found = kernels.simulate(
            program,
            levels,
            recorder.flags,
            recorder.results,
            *chunk,
            layout.block,
            cap,
            _DELIVERIES[delivery],
            carry,
            spread,
            phases,
        )
        return found

    compiled_by_one(kernels.simulate, lambda: run((0, 0)))
    finished = _spread(run, chunks, threads)
    cycles = np.zeros(4, np.int64)
    for (_, last), (left, lost, events, history, spent) in zip(chunks, finished, strict=True):
        unsettled, undelivered = unsettled + left, undelivered + lost
        recorder.enter(events, history)
        cycles += spent
        if progress is not None:
            progress(last, batch)
    reals = host.finish(recorder.sums)
    settles = recorder.settles
    outputs = {name: settles[name] if name in settles else reals[value] for name, value in graph.outputs.items()}
    return SimulationResult(
        outputs=outputs,
        spikes=recorder.spikes,
        synops=recorder.synops,
        charges=recorder.charges,
        windows=recorder.windows,
        steps=recorder.results.steps,
        settled=not unsettled and not undelivered,
        unsettled=unsettled,
        undelivered=undelivered,
        counts=recorder.counts,
        trace=_trace(graph, host, recorder) if recorder.trace else {},
        rasters={name: recorder.raster(name) for name in recorder.record},
        membranes=recorder.membranes,
        phases=_phases(cycles) if phases else {},
    )


def _phases(cycles: np.ndarray) -> dict[str, float]:
    """Shares of the compiled calls' cycles."""
    shares = dict(zip(PHASES, (cycles[:3] / max(int(cycles[3]), 1)).tolist(), strict=False))
    return {**shares, PHASES[-1]: 1 - sum(shares.values())}


def _spread(run: Callable[[tuple[int, int]], _Found], chunks: list[tuple[int, int]], threads: int) -> Iterator[_Found]:
    """The results of all chunks in order, by `threads` threads. The calling one takes what no other has begun: it need not be
    woken, which can take as long as simulating a few samples.
    """
    if threads == 1 or len(chunks) <= 1:
        yield from map(run, chunks)
        return
    begun = [_pool(threads - 1).submit(run, chunk) for chunk in chunks[1:]]
    try:
        own, rest = {0: run(chunks[0])}, iter(range(1, len(chunks)))
        for place in range(len(chunks)):
            while place not in own and not begun[place - 1].done():
                free = next((other for other in rest if begun[other - 1].cancel()), None)
                if free is None:
                    break
                own[free] = run(chunks[free])
            yield own.pop(place) if place in own else begun[place - 1].result()
    finally:
        for other in begun:
            other.cancel()


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that stay for the next run: starting them takes as long as simulating a few samples."""
    return ThreadPoolExecutor(threads, "snnir")


os.register_at_fork(after_in_child=_pool.cache_clear)


_Rounding = tuple[str, int, np.ndarray, float, float, float]


def _charge(levels: np.ndarray, layout: Layout, host: Host) -> list[_Rounding]:
    """Enter what encoders charge: `levels` int32[batch, ...], one encoder and within it one window behind the other.

    Returns what is left to threads: by encoder its name, its column, and further arguments of `kernels.round_half_up`.
    """
    left: list[_Rounding] = []
    batch = len(levels)
    for step, scan, column in layout.encoders:
        size = math.prod(step.shape)
        bodies = [host] if scan is None else host.windows.get(scan.node, [])
        for k, body in enumerate(bodies[:1] if step.fixed else bodies):
            first = column + k * size
            rounding = None if step.fixed else _rounding(body, step.value, first)
            if rounding is not None:
                left.append(rounding)
                continue
            told = body.reals[step.value] if step.fixed else body.charged(step.value)
            levels[:, first : first + size] = np.broadcast_to(told, (batch, *step.shape)).reshape(batch, size)
    return left


def _rounding(host: Host, value: Value, column: int) -> _Rounding | None:
    """How the kernel rounds what an encoder is given; None where it is rounded in another way, or is the same for all samples."""
    node = host.encoders[value]
    op, given = node.op, host.reals[node.operands[0]]
    assert isinstance(op, Encode)
    if op.rounding != "half-up" or op.single or given.dtype != np.float32 or node.operands[0].type.batch_axis != 0:
        return None
    reals = np.ascontiguousarray(given).reshape(len(given), math.prod(given.shape[1:]))
    levels = op.quantization
    return value.name, column, reals, levels.scale, float(levels.lo), float(levels.hi)


def _trace(graph: Graph, host: Host, recorder: Recorder) -> dict[str, np.ndarray]:
    """Outputs after each step, as the host computes them from the readouts' sums so far."""
    histories = recorder.histories
    wanted = {name: value for name, value in graph.outputs.items() if value.type.dtype != "spike" and value not in host.reals}
    rows: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
    for t in range(recorder.length):
        sums: Mapping[Value, np.ndarray] = {value: history[t] for value, history in histories.items()}
        reals = host.finish(sums)
        for name, value in wanted.items():
            rows[name].append(reals[value])
    return {name: np.stack(arrays) for name, arrays in rows.items()}
