"""Memory of a run, and the start of a fresh process: each point is a process of its own.

python -m benchmarks.memory PROGRAM INPUTS.npy [THREADS]      runs once and prints its memory as JSON (Linux)
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import snnir
from benchmarks.driver import ROOT, spread
from benchmarks.workloads import indrnn, perceptron, sparse

__all__ = ["growth", "start_up"]


def _status(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def _one(program_file: str, inputs_file: str, threads: int) -> dict[str, float]:
    """Bytes above what the process held before the run, at its peak; the first run of one sample is not counted."""
    program, x = snnir.load(program_file), np.load(inputs_file)
    program.run(x[:1], threads=threads)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak starts afresh
    before = _status("VmRSS")
    result = program.run(x, threads=threads)
    peak = _status("VmHWM") - before
    return {"peak": peak, "before": before, "steps_max": int(result.steps.max()), "spikes": int(result.total_spikes.sum())}


def growth(small: bool, threads: int, say: Callable[[str], None] = lambda line: None) -> dict[str, list[dict[str, float]]]:
    """Peak bytes of a run against inner steps (more levels), batch and neurons, on the perceptron, and against sequence
    elements, on an IndRNN of three layers.
    """
    width, batch, inputs = (16, 4, 20) if small else (512, 256, 784)
    hidden, few = (6, 2) if small else (64, 16)
    series: dict[str, list[tuple[float, int, int, int]]] = {
        "steps": [(bits, bits, batch, width) for bits in ((3, 4) if small else (3, 4, 5, 6))],
        "batch": [(count, 4, count, width) for count in ((2, 4) if small else (64, 256, 1024))],
        "neurons": [(2 * units, 4, batch, units) for units in ((8, 16) if small else (128, 512, 2048))],
        "elements": [(length, 4, few, hidden) for length in ((3, 6) if small else (50, 200, 800))],
    }
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        for label, points in series.items():
            for value, bits, count, units in points:
                rng = np.random.default_rng(0)
                recurrent = label == "elements"
                model = indrnn(1, units, 3, rng) if recurrent else perceptron([inputs, units, units, 10], rng)
                shape = (int(value), 1) if recurrent else (inputs,)
                program = snnir.compile(model, calibration=sparse(rng, 4 if recurrent else 64, *shape), bits=bits, check=False)
                program.save(f"{name}/program.snnir")
                np.save(f"{name}/x.npy", sparse(rng, count, *shape))
                command = [sys.executable, "-m", "benchmarks.memory", f"{name}/program.snnir", f"{name}/x.npy", str(threads)]
                done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
                found.setdefault(label, []).append({"value": value, "bits": bits, "batch": count, **json.loads(done.stdout)})
                say(f"memory, {label} {value}: {found[label][-1]['peak'] / 2**20:.1f} MiB")
    return found


def start_up(folder: Path, repeats: int = 5) -> dict[str, Any]:
    """Seconds of `snnir run` of the demo's program on 64 digits, a fresh process each.

    Kernels and Python's bytecode were compiled before, and kept, as an installation does.
    """
    command = [sys.executable, "-m", "snnir", "run", str(folder / "program.snnir"), str(folder / "x.npy"), "--json"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True, cwd=ROOT, env=environment)
        times.append(time.perf_counter() - started)
    return spread(times[1:])


if __name__ == "__main__":
    print(json.dumps(_one(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1)))
