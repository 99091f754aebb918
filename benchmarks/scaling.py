"""Time of the simulator against what it has to do: synaptic operations, neurons, batch, length, threads.

Each series is measured in turns over all its points, like the sides of a comparison, in this process.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import snnir
from benchmarks.driver import spread
from benchmarks.limit import row_additions
from benchmarks.task import CannotError
from benchmarks.workloads import indrnn, perceptron, sparse
from snnir.runtime.program import Program

__all__ = ["SERIES", "Point", "linear_fit", "measure"]


@dataclass(frozen=True)
class Point:
    """One run to time: `value` is the size that its series varies."""

    value: float
    program: Program
    x: np.ndarray
    threads: int
    limit: bool = False
    """Whether the same row additions in C are timed beside it."""


def _mlp(width: int, small: bool) -> Program:
    layers = [20, width, width, 10] if small else [784, width, width, 10]
    rng = np.random.default_rng(0)
    return snnir.compile(perceptron(layers, rng), calibration=sparse(rng, 64, layers[0]), check=False)


def _inputs(small: bool, batch: int, shift: float = 0.8) -> np.ndarray:
    return sparse(np.random.default_rng(1), batch, 20 if small else 784, shift=shift)


def _synops(small: bool, threads: int) -> list[Point]:
    program = _mlp(16 if small else 512, small)
    shifts = (1.6, 0.8) if small else (2.4, 2.0, 1.6, 1.2, 0.8, 0.4, 0.0)
    return [Point(shift, program, _inputs(small, 4 if small else 64, shift), threads) for shift in shifts]


def _neurons(small: bool, threads: int) -> list[Point]:
    widths = (8, 16) if small else (128, 256, 512, 1024, 2048)
    return [Point(width, _mlp(width, small), _inputs(small, 4 if small else 64), threads, True) for width in widths]


def _batch(small: bool, threads: int) -> list[Point]:
    program = _mlp(16 if small else 512, small)
    return [
        Point(batch, program, _inputs(small, batch), threads) for batch in ((1, 4) if small else (1, 4, 16, 64, 128, 256, 512))
    ]


def _length(small: bool, threads: int) -> list[Point]:
    rng = np.random.default_rng(4)
    lengths = (3, 6) if small else (98, 196, 392, 784)
    program = snnir.compile(
        indrnn(1, *((6, 2) if small else (128, 6)), rng), calibration=sparse(rng, 8, lengths[-1], 1), check=False
    )
    return [Point(length, program, sparse(rng, 4 if small else 8, length, 1), threads) for length in lengths]


def _threads(small: bool, threads: int) -> list[Point]:
    program, x = _mlp(16 if small else 512, small), _inputs(small, 4 if small else 64)
    return [Point(count, program, x, count) for count in range(1, threads + 1)]


SERIES: dict[str, Callable[[bool, int], list[Point]]] = {
    "synaptic operations": _synops,
    "neurons a layer": _neurons,
    "batch": _batch,
    "sequence length": _length,
    "threads": _threads,
}
"""What is varied: the perceptron's input density, width and batch; the 6-layer IndRNN's length; threads at batch 64."""


def measure(points: Sequence[Point], seconds: float, rounds: int = 15, least: int = 3) -> dict[str, Any]:
    """Seconds of every point, its operations, and the linear fit of time over synaptic operations."""
    started = time.perf_counter()
    results = [point.program.run(point.x, threads=point.threads) for point in points]
    calls = [functools.partial(point.program.run, point.x, threads=point.threads) for point in points]
    limits: list[Callable[[], object] | None] = [_limit(point) for point in points]
    times: list[list[float]] = [[] for _ in points]
    floors: list[list[float]] = [[] for _ in points]
    while len(times[0]) < rounds and (len(times[0]) < least or time.perf_counter() - started < seconds):
        for index, call in enumerate(calls):
            times[index].append(_timed(call))
            floor = limits[index]
            if floor is not None:
                floors[index].append(_timed(floor))
    rows: list[dict[str, Any]] = []
    for index, (point, result) in enumerate(zip(points, results, strict=True)):
        rows.append(
            {
                "value": point.value,
                "threads": point.threads,
                "batch": len(point.x),
                "seconds": spread(times[index]),
                "limit_seconds": spread(floors[index]) if floors[index] else None,
                "synops": int(result.total_synops.sum()),
                "spikes": int(result.total_spikes.sum()),
                "steps": int(result.steps.sum()),
            }
        )
    fit = linear_fit([row["synops"] for row in rows], [row["seconds"]["median"] for row in rows])
    return {"points": rows, "rounds": len(times[0]), "fit_over_synops": fit}


def _timed(call: Callable[[], object], least: float = 0.005) -> float:
    """Seconds of one call, the mean of as many as fill `least` seconds."""
    started, number = time.perf_counter(), 0
    while True:
        call()
        number += 1
        if (passed := time.perf_counter() - started) >= least:
            return passed / number


def _limit(point: Point) -> Callable[[], object] | None:
    if not point.limit:
        return None
    try:
        return row_additions(point.program, point.x, point.threads)
    except CannotError:
        return None


def linear_fit(x: Sequence[float], y: Sequence[float]) -> dict[str, Any] | None:
    """Least squares of relative residuals, `y = fixed + slope x`; None where x does not vary."""
    a, b = np.asarray(x, float), np.asarray(y, float)
    if len(a) < 2 or not np.ptp(a):
        return None
    columns = np.stack([np.ones_like(a), a], axis=1) / b[:, None]
    (fixed, slope), *_ = np.linalg.lstsq(columns, np.ones_like(b))
    residuals = (b - fixed - slope * a) / b
    variance = float(((b - b.mean()) ** 2).sum())
    squares = float(((b - fixed - slope * a) ** 2).sum())
    return {
        "fixed": float(fixed),
        "slope": float(slope),
        "relative_residuals": residuals.tolist(),
        "largest_residual": float(np.abs(residuals).max()),
        "r_squared": 1 - squares / variance if variance else 1.0,
    }
