"""The event-driven simulator against the torch backend, on the digits program of the demo, in one run.

    python benchmarks/torch_spiking.py [--batch 16 64 256] [--device cpu] [--repeats 7] [--threads 1] [--json FILE]

The sides take turns, and medians are printed with their spread; before that, both are held to the same outputs, steps
and spikes. A training step (forward and backward through 12 steps a window) is timed as well, on the torch side only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch

import snnir
from snnir.backends.torch_spiking import SpikingModule


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="for both sides")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with as_file(files("snnir") / "data") as folder:
        model = (folder / "digits-crnn.onnx").read_bytes()
        with np.load(folder / "digits.npz", allow_pickle=False) as archive:
            calibration, test = archive["calibration"], archive["test"]
    program = snnir.compile(model, calibration=calibration)
    trained = SpikingModule(program.graph("spiking"), surrogate="arctan", steps=12).to(arguments.device)
    facts: dict[str, object] = {
        "machine": f"{platform.machine()}, {arguments.threads} threads, Python {platform.python_version()}",
        "torch": torch.__version__,
        "device": arguments.device,
    }
    print(f"digits CRNN, {facts['machine']}; torch {torch.__version__} on {arguments.device}")
    for batch in arguments.batch:
        x = np.resize(test, (batch, *test.shape[1:]))
        rows = measure(program, trained, x, arguments)
        facts[f"batch {batch}"] = rows
        base = rows["simulator"]["median"]
        for name, row in rows.items():
            spread = f"({row['min']:.1f} to {row['max']:.1f})"
            print(f"batch {batch:5}  {name:20} {row['median']:9.1f} us a sample {spread:22} ratio {row['median'] / base:.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def measure(
    program: snnir.Program, trained: SpikingModule, x: np.ndarray, arguments: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Microseconds a sample of every side, after a check that they agree."""
    device = arguments.device
    expected, found = program.run(x, threads=arguments.threads), program.run(x, backend="torch", device=device)
    assert expected.settled and found.settled
    assert np.array_equal(expected.steps, found.steps)
    assert all(np.array_equal(array, found.outputs[name]) for name, array in expected.outputs.items())
    assert all(np.array_equal(array, found.spikes[name]) for name, array in expected.spikes.items())

    def train() -> None:
        (output,) = trained(x).values()
        output.square().mean().backward()
        trained.zero_grad()
        if output.is_cuda:
            torch.cuda.synchronize()

    sides: dict[str, Callable[[], object]] = {
        "simulator": lambda: program.run(x, threads=arguments.threads),
        "torch": lambda: program.run(x, backend="torch", device=device),
        "torch, training step": train,
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(arguments.repeats + 1):
        for name, side in sides.items():
            started = time.perf_counter()
            side()
            if repeat:  # the first round warms up
                times[name].append((time.perf_counter() - started) / len(x) * 1e6)
    return {name: {"median": statistics.median(row), "min": min(row), "max": max(row)} for name, row in times.items()}


if __name__ == "__main__":
    main()
