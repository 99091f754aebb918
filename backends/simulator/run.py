"""The driver: what is charged, one job of the compiled kernels for all threads, and the results of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from snnir.backends.simulator import kernels
from snnir.backends.simulator.host import Host
from snnir.backends.simulator.record import Recorder
from snnir.backends.simulator.result import SimulationResult
from snnir.backends.simulator.tables import CHARGE, Layout, Program
from snnir.backends.simulator.team import Team
from snnir.backends.simulator.turns import compiled_by_one
from snnir.errors import InputError
from snnir.ir.graph import Graph, Value
from snnir.ir.ops import Encode
from snnir.ir.types import not_a_level

__all__ = ["simulate"]

_ROUND = 128
"""The most samples of a thread in one compiled call: how long nothing is heard of a run."""

PHASES = ("delivering", "firing", "settling", "the rest")
"""What cycles are counted of: see `SimulationResult.phases`."""

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
    team: Team,
    steps: int | None,
    delivery: str,
    carry: bool,
    spread: bool,
    phases: bool,
    progress: Callable[[int, int], None] | None,
) -> SimulationResult:
    """Run a program over the whole batch. The arguments are checked already."""
    members = team.helpers + 1
    levels = np.empty((batch, layout.levels), np.int32)
    roundings = _charge(levels, layout, host)
    job = kernels.Job(
        program,
        np.array([row for _, row, _ in roundings], CHARGE),
        levels,
        recorder.flags,
        recorder.results,
        np.zeros(3, np.int64),
        np.zeros((members, kernels.ALL + 1), np.int64),
        np.zeros((members, 12), np.int64),
        max(1, min(layout.block, -(-batch // members))),
        _FOREVER if steps is None else steps,
        _DELIVERIES[delivery],
        carry,
        spread,
        phases,
    )
    counted, events, histories = _run(job, batch, team, progress)
    if counted[kernels.WRONG]:
        _refuse(roundings)
    recorder.enter(events, histories)
    unsettled, undelivered = int(counted[kernels.UNSETTLED]), int(counted[kernels.UNDELIVERED])
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
        phases=_phases(counted[kernels.DELIVERING :]) if phases else {},
    )


def _run(
    job: kernels.Job, batch: int, team: Team, progress: Callable[[int, int], None] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run all samples, in rounds of a moment each: what was counted (places as in kernels.py), recorded, and kept of sums."""
    compiled_by_one(kernels.begin, lambda: kernels.finish(kernels.begin(job)[1], job.counted, job.logs))
    function, context = kernels.begin(job)
    failed, counted, events, histories = True, np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64)
    try:
        for first in range(0, batch, _ROUND * len(job.counted)):
            last = min(first + _ROUND * len(job.counted), batch)
            job.turns[:] = first, last, 0
            team.run(function, context)
            if progress is not None:
                progress(last, batch)
    finally:
        failed, counted, events, histories = kernels.finish(context, job.counted, job.logs)
    if failed:
        raise MemoryError("not enough memory for the events of this run; run fewer samples at once, or record less")
    return counted, events, histories


def _phases(cycles: np.ndarray) -> dict[str, float]:
    """Shares of the compiled calls' cycles."""
    shares = dict(zip(PHASES, (cycles[:3] / max(int(cycles[3]), 1)).tolist(), strict=False))
    return {**shares, PHASES[-1]: 1 - sum(shares.values())}


_Rounding = tuple[Value, tuple[int | float, ...], np.ndarray]
"""An encoder, its row of `tables.CHARGE`, and what it is given: float32[N, ...], which must stay where it is."""


def _charge(levels: np.ndarray, layout: Layout, host: Host) -> list[_Rounding]:
    """Enter what encoders charge: `levels` int32[batch, ...], one encoder and within it one window behind the other.

    Returns what is left to the kernel to round.
    """
    left: list[_Rounding] = []
    batch = len(levels)
    for step, scan, column in layout.encoders:
        size = math.prod(step.shape)
        bodies = [host] if scan is None else host.windows.get(scan.node, [])
        for k, body in enumerate(bodies[:1] if step.fixed else bodies):
            first = column + k * size
            rounding = None if step.fixed else _rounding(body, step.value, first, batch)
            if rounding is not None:
                left.append(rounding)
                continue
            told = body.reals[step.value] if step.fixed else body.charged(step.value)
            levels[:, first : first + size] = np.broadcast_to(told, (batch, *step.shape)).reshape(batch, size)
    return left


def _rounding(host: Host, value: Value, column: int, batch: int) -> _Rounding | None:
    """How the kernel rounds what an encoder is given; None where it is rounded in another way, or is the same for all samples."""
    node = host.encoders[value]
    op, given = node.op, host.reals[node.operands[0]]
    assert isinstance(op, Encode)
    if op.rounding != "half-up" or op.single or given.dtype != np.float32 or node.operands[0].type.batch_axis != 0:
        return None
    reals = np.ascontiguousarray(given)
    levels = op.quantization
    row = (reals.ctypes.data, reals.size // max(batch, 1), column, levels.scale, levels.lo, levels.hi)
    return value, row, reals


def _refuse(roundings: list[_Rounding]) -> None:
    """Raise `InputError` of the first encoder that was given NaN."""
    for value, _, reals in roundings:
        wrong = int(np.isnan(reals).sum())
        if wrong:
            raise InputError(not_a_level(value.name, wrong))


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
