"""The simulator as sides of the benchmarks: ST-BIF neurons at 4 bits, few-spike neurons at 4 and 8 bits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

import snnir
from benchmarks.prepare import FEW_SPIKES_BITS, expected, few_spikes
from benchmarks.task import Side, Task
from snnir.runtime.program import Program

__all__ = ["SIDES"]


@functools.lru_cache(maxsize=4)
def _program(file: Path) -> Program:
    return snnir.load(file)


def _simulator(task: Task, threads: int, name: str = "program", expected: str = "expected") -> Side:
    program, x = _program(task.folder / f"{name}.snnir"), task.array("x")
    program.run(x[:1], threads=1)  # loads the kernels

    def run() -> np.ndarray:
        (output,) = program.run(x, threads=threads).outputs.values()
        return output

    return Side(run, exact=True, expected=expected)


def _few_spikes(task: Task, bits: int) -> Side:
    return _simulator(task, task.threads, few_spikes(bits), expected(bits))


SIDES: dict[str, Callable[[Task], Side]] = {
    "snnir": lambda task: _simulator(task, task.threads),
    "snnir, 1 thread": lambda task: _simulator(task, 1),
    **{f"snnir, few-spikes, {bits} bits": functools.partial(_few_spikes, bits=bits) for bits in FEW_SPIKES_BITS},
}
"""By name: what prepares the side for a task."""
