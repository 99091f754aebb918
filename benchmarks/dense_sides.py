"""ONNX Runtime on the source model as sides of the benchmarks: one dense pass in float32, and one in its own int8."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import onnxruntime

from benchmarks.task import CannotError, Side, Task

__all__ = ["SIDES"]


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


SIDES: dict[str, Callable[[Task], Side]] = {
    "ONNX Runtime float32": lambda task: _onnxruntime(task, "model.onnx"),
    "ONNX Runtime int8 (QDQ)": lambda task: _onnxruntime(task, "model.int8.onnx"),
}
"""By name: what prepares the side for a task. Raises `CannotError`."""
