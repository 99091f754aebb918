"""The sides that run in snnir's own environment: the simulator, ONNX Runtime, and the machine's limit."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

import snnir
from benchmarks.limit import row_additions
from benchmarks.task import CannotError, Side, Task
from snnir.program import Program

__all__ = ["SIDES"]


@functools.lru_cache(maxsize=2)
def _program(folder: Path) -> Program:
    return snnir.load(folder / "program.snnir")


def _simulator(task: Task, threads: int) -> Side:
    program, x = _program(task.folder), task.array("x")

    def run() -> np.ndarray:
        (output,) = program.run(x, threads=threads).outputs.values()
        return output

    return Side(run, exact=True)


def _onnxruntime(task: Task, file: str) -> Side:
    if not (task.folder / file).exists():
        raise CannotError((task.folder / f"{file}.reason").read_text(encoding="utf-8"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task.threads
    options.log_severity_level = 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session = onnxruntime.InferenceSession(task.folder / file, options, providers=["CPUExecutionProvider"])
    x = task.array("x")
    name = session.get_inputs()[0].name

    def run() -> np.ndarray:
        (output,) = session.run(None, {name: x})
        return np.asarray(output)

    return Side(run)


def _limit(task: Task, threads: int) -> Side:
    add = row_additions(_program(task.folder), task.array("x"), threads)
    return Side(lambda: add() and None)


SIDES: dict[str, Callable[[Task], Side]] = {
    "snnir": lambda task: _simulator(task, task.threads),
    "snnir, 1 thread": lambda task: _simulator(task, 1),
    "ONNX Runtime float32": lambda task: _onnxruntime(task, "model.onnx"),
    "ONNX Runtime int8 (QDQ)": lambda task: _onnxruntime(task, "model.int8.onnx"),
    "row additions in C": lambda task: _limit(task, task.threads),
    "row additions in C, 1 thread": lambda task: _limit(task, 1),
}
"""By name: what prepares the side for a task. Raises `CannotError`."""
