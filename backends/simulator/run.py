"""The driver: what is charged, one job of the compiled kernels for all threads, and the results of it."""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Mapping

import numpy as np

from snnir.backends.simulator import kernels
from snnir.backends.simulator.record import RecordedResult, Recorder
from snnir.backends.simulator.tables import Layout, Sized
from snnir.backends.simulator.team import Team, rest, team_of
from snnir.backends.simulator.turns import compiled_by_one
from snnir.errors import InputError
from snnir.ir.graph import Graph, Value
from snnir.ir.types import not_a_level
from snnir.machine.host import Host
from snnir.machine.results import SimulationResult

__all__ = ["Recorder", "rest", "simulate", "team_of"]

_ROUND = 64
"""Samples of a thread in the first compiled call of a run, one where progress is told; further calls take as many as fill
`_MOMENT`, and four times those of the call before at most."""

_MOMENT = 0.5
"""Seconds of a compiled call: how long nothing is heard of a run, and nothing can stop it."""

PHASES = ("delivering", "firing", "settling", "the rest")
"""What cycles are counted of: see `SimulationResult.phases`."""

_FOREVER = np.iinfo(np.int64).max // 4
_DELIVERIES = {"relay": kernels.RELAY, "replay": kernels.REPLAY, "graded": kernels.GRADED}


def simulate(
    graph: Graph,
    sized: Sized,
    host: Host,
    recorder: Recorder,
    *,
    team: Team,
    steps: int | None,
    delivery: str,
    carry: bool,
    spread: bool,
    phases: bool,
    unseen: Callable[[], object],
    progress: Callable[[int, int], None] | None,
) -> SimulationResult:
    """Run a program over the whole batch. The arguments are checked already, but for NaN and infinities in what the kernel
    rounds: where it meets any, `unseen` is called, which raises for those of inputs.
    """
    levels, rounded = _charge(sized, host)
    job = kernels.Job(
        sized.program,
        np.array([reals.__array_interface__["data"][0] for reals in rounded], np.int64),
        levels,
        recorder.flags,
        recorder.results,
        np.zeros(3, np.int64),
        np.zeros((team.helpers + 1, kernels.STORES + 32), np.int64),
        _FOREVER if steps is None else steps,
        _DELIVERIES[delivery],
        carry,
        spread,
        phases,
    )
    counted, events, histories = _run(job, sized.batch, team, progress)
    if counted[kernels.WRONG]:
        unseen()
        _refuse(sized.layout, rounded)
    recorder.enter(events, histories)
    reals = host.finish(recorder.sums)
    settles = recorder.settles
    outputs = {name: settles[name] if name in settles else reals[value] for name, value in graph.outputs.items()}
    return RecordedResult(
        recorder,
        outputs,
        int(counted[kernels.UNSETTLED]),
        int(counted[kernels.UNDELIVERED]),
        _trace(graph, host, recorder) if recorder.trace else {},
        _phases(counted[kernels.DELIVERING :]) if phases else {},
    )


def _run(
    job: kernels.Job, batch: int, team: Team, progress: Callable[[int, int], None] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run all samples, in rounds of a moment each: what was counted (places as in kernels.py), recorded, and kept of sums."""
    compiled_by_one(kernels.begin, lambda: kernels.finish(kernels.begin(job)[1], job.notes))
    function, context = kernels.begin(job)
    try:
        first, size = 0, len(job.notes) * (_ROUND if progress is None else 1)
        while first < batch and not ctypes.c_int64.from_address(context).value:  # it says whether a call failed
            last, since = min(first + size, batch), time.perf_counter()
            job.turns[:] = first, last, 0
            team.run(function, context)
            if progress is not None:
                progress(last, batch)
            speed = size / max(time.perf_counter() - since, 1e-6)
            first, size = last, min(max(int(speed * _MOMENT), len(job.notes)), 4 * size)
    finally:
        found = _finished(job, context)
    return found


def _finished(job: kernels.Job, context: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give back all memory of a run but that of its results. Raises `MemoryError`, where there was too little at any time."""
    wanting = "not enough memory for the events of this run; run fewer samples at once, or record less"
    try:
        failed, counted, events, histories = kernels.finish(context, job.notes)
    except MemoryError:
        kernels.release(job.notes)
        raise MemoryError(wanting) from None
    if failed:
        raise MemoryError(wanting)
    return counted, events, histories


def _phases(cycles: np.ndarray) -> dict[str, float]:
    """Shares of the compiled calls' cycles."""
    shares = dict(zip(PHASES, (cycles[:3] / max(int(cycles[3]), 1)).tolist(), strict=False))
    return {**shares, PHASES[-1]: 1 - sum(shares.values())}


def _charge(sized: Sized, host: Host) -> tuple[np.ndarray, list[np.ndarray]]:
    """What is charged: levels int32[batch, ...], one encoder and within it one window behind the other, and what the kernel
    rounds itself: by row of `Program.roundings` float32[batch, ...]. One row of levels where it is the same for all samples.
    """
    encoders, batch = sized.layout.encoders, sized.batch
    alike = all(step.fixed or step.given is not None for step, _, _ in encoders)
    known, rounded = sized.levels, []
    levels = np.empty((1 if alike else batch, sized.layout.levels), np.int32) if known is None else known
    for step, scan, column in encoders:
        size = math.prod(step.shape)
        bodies = [host] if scan is None else host.windows.get(scan.node, [])
        for k, body in enumerate(bodies[:1] if step.fixed else bodies):
            if step.given is not None:
                rounded.append(np.ascontiguousarray(body.reals[step.given], np.float32))
                assert rounded[-1].size == batch * size, f"{step.name}: {rounded[-1].shape} for {batch} samples of {step.shape}"
            elif known is None:
                told = body.reals[step.value] if step.fixed else body.charged(step.value)
                if alike and told.ndim > len(step.shape):  # fixed: every sample has the same
                    told = told[:1]
                first, shape = column + k * size, (len(levels), *step.shape)
                levels[:, first : first + size] = np.broadcast_to(told, shape).reshape(len(levels), size)
    if alike:
        sized.levels = levels
    return levels, rounded


def _refuse(layout: Layout, rounded: list[np.ndarray]) -> None:
    """Raise `InputError` of the first encoder that was given NaN. Infinities that the host computed are the outermost levels."""
    names = [step.name for step, scan, _ in layout.encoders if step.given for _ in range(scan.length if scan else 1)]
    for name, reals in zip(names, rounded, strict=True):
        wrong = int(np.isnan(reals).sum())
        if wrong:
            raise InputError(not_a_level(name, wrong))


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
