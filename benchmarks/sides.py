"""The simulator as a side of the benchmarks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

import snnir
from benchmarks.task import Side, Task
from snnir.runtime.program import Program

__all__ = ["SIDES"]


@functools.lru_cache(maxsize=2)
def _program(folder: Path) -> Program:
    return snnir.load(folder / "program.snnir")


def _simulator(task: Task, threads: int) -> Side:
    program, x = _program(task.folder), task.array("x")
    program.run(x[:1], threads=1)  # loads the kernels

    def run() -> np.ndarray:
        (output,) = program.run(x, threads=threads).outputs.values()
        return output

    return Side(run, exact=True)


SIDES: dict[str, Callable[[Task], Side]] = {
    "snnir": lambda task: _simulator(task, task.threads),
    "snnir, 1 thread": lambda task: _simulator(task, 1),
}
"""By name: what prepares the side for a task."""
