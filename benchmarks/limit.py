"""The machine's own limit for a program of dense layers: the row additions of one run, by `row_additions.c`, and no more."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import snnir
from benchmarks.task import CannotError, Side, Task
from snnir.runtime.program import Program

__all__ = ["SIDES", "compiled", "row_additions"]

COMMAND = ("cc", "-O3", "-march=native", "-shared", "-fPIC")


def compiled() -> ctypes.CDLL:
    """`row_additions.c` for this machine. Raises `CannotError` without a C compiler."""
    source = Path(__file__).with_name("row_additions.c")
    with tempfile.TemporaryDirectory() as name:
        library = Path(name) / "row_additions.so"
        try:
            subprocess.run([*COMMAND, str(source), "-o", str(library)], check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise CannotError("no C compiler (cc)") from error
        except subprocess.CalledProcessError as error:
            raise CannotError(f"cc failed: {error.stderr.strip()[:200]}") from error
        return ctypes.CDLL(str(library))


@dataclass(frozen=True)
class _Layer:
    weights: np.ndarray
    """int8 [in, out]."""
    rows: np.ndarray
    signs: np.ndarray
    offsets: np.ndarray
    sums: np.ndarray


def row_additions(program: Program, x: np.ndarray, threads: int) -> Callable[[], object]:
    """A call that adds the rows of all events of `program.run(x)`. Raises `CannotError` where a layer is not dense."""
    library = compiled()
    layers = _layers(program, x)
    bounds = np.linspace(0, len(x), threads + 1).astype(int)
    pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def part(first: int, last: int) -> None:
        for layer in layers:
            arrays = (layer.rows, layer.signs, layer.offsets)
            library.add_rows(
                _pointer(layer.weights),
                ctypes.c_int64(layer.weights.shape[1]),
                *map(_pointer, arrays),
                ctypes.c_int64(first),
                ctypes.c_int64(last),
                _pointer(layer.sums),
            )

    def run() -> None:
        if pool is None:
            part(0, len(x))
        else:
            list(pool.map(part, bounds[:-1].tolist(), bounds[1:].tolist()))

    return run


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _layers(program: Program, x: np.ndarray) -> list[_Layer]:
    nodes = program.graph("spiking").nodes
    synapses = [node for node in nodes if node.op.name in ("dense", "conv", "scan", "diagonal", "sparse", "product")]
    if any(node.op.name != "dense" or node.operands[1].array.dtype != np.int8 for node in synapses):
        raise CannotError("not only dense layers of int8 weights")
    senders = [node.operands[0].name for node in synapses]
    rasters = program.run(x, record=senders).rasters
    layers = []
    for node, sender in zip(synapses, senders, strict=True):
        raster = rasters[sender]  # sorted by sample, then by step
        offsets = np.searchsorted(raster[:, 0], np.arange(len(x) + 1)).astype(np.int64)
        weights = np.ascontiguousarray(node.operands[1].array.T)
        sums = np.zeros((len(x), weights.shape[1]), np.int32)
        layers.append(_Layer(weights, raster[:, 3].astype(np.int32), np.sign(raster[:, 4]).astype(np.int8), offsets, sums))
    return layers


def _limit(task: Task, threads: int) -> Side:
    add = row_additions(snnir.load(task.folder / "program.snnir"), task.array("x"), threads)

    def run() -> None:
        add()

    return Side(run)


SIDES: dict[str, Callable[[Task], Side]] = {
    "row additions in C": lambda task: _limit(task, task.threads),
    "row additions in C, 1 thread": lambda task: _limit(task, 1),
}
"""By name: what prepares the side for a task. Raises `CannotError`."""
