"""What both evaluations measure: a teacher in ONNX Runtime, and its spiking networks by bits and neuron."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime

import snnir

__all__ = ["NEURONS", "Data", "Row", "evaluate", "main", "measure", "runtime", "table"]

NEURONS = ("few-spikes", "bif")


@dataclass(frozen=True)
class Data:
    """Inputs and labels of a test, and inputs for calibration."""

    x: np.ndarray
    labels: np.ndarray
    calibration: np.ndarray


@dataclass(frozen=True)
class Row:
    """One network on the first `samples` of the test; counts are means per sample, seconds those of all samples."""

    network: str
    samples: int
    accuracy: float
    seconds: float
    agreement: float = 1.0
    """The share of samples with the class that the float network gives."""
    share: float = 0.0
    """The share of multiply-accumulates that the spiking network computes, not the host."""
    compared: int = 0
    mismatches: int = 0
    spikes: float = 0.0
    charges: float = 0.0
    """Synaptic operations of charges: of inputs, and of what functions give."""
    synops: float = 0.0
    steps: int = 0
    """The most inner time-steps of a sample."""


def measure(path: Path, data: Data, neuron: str, bits: int, samples: int, verified: int) -> Row:
    """The spiking network of `path` on the first `samples`; every integer is compared on the first `verified`."""
    program = snnir.compile(path, calibration=data.calibration, bits=bits, neuron=neuron)
    x, labels = data.x[:samples], data.labels[:samples]
    program.run(x[:1])  # kernels that this machine has not compiled yet are no part of the seconds
    since = time.perf_counter()
    result = program.run(x)
    seconds = time.perf_counter() - since
    (logits,) = result.outputs.values()
    verification = program.verify(x[:verified])
    share = program.facts.spiking_mac_share
    return Row(
        f"{neuron}, {bits} bits",
        len(x),
        float((logits.argmax(1) == labels).mean()),
        seconds,
        float((logits.argmax(1) == runtime(path, x)[0].argmax(1)).mean()),
        1.0 if share is None else share,
        verification.compared,
        verification.mismatches + int(not verification.within_bounds),
        float(result.total_spikes.mean()),
        float(result.total_charges.mean()),
        float(result.total_synops.mean()),
        int(result.steps.sum(1).max()),
    )


def runtime(path: Path, x: np.ndarray) -> tuple[np.ndarray, float]:
    """Logits of ONNX Runtime with one thread, and its seconds."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    session.run(None, {"x": x[:1]})
    since = time.perf_counter()
    logits = np.concatenate([session.run(None, {"x": x[start : start + 256]})[0] for start in range(0, len(x), 256)])
    return logits, time.perf_counter() - since


def evaluate(path: Path, data: Data, neurons: Sequence[str], bits: Sequence[int], samples: int, verified: int) -> list[Row]:
    """The teacher, and a spiking network for each neuron and number of bits."""
    x, labels = data.x[:samples], data.labels[:samples]
    logits, seconds = runtime(path, x)
    rows = [Row("float, ONNX Runtime", len(x), float((logits.argmax(1) == labels).mean()), seconds)]
    for neuron in neurons:
        for number in bits:
            rows.append(measure(path, data, neuron, number, samples, verified))
            print(f"{rows[-1].network}: {100 * rows[-1].accuracy:.2f} %, {rows[-1].mismatches} mismatches", flush=True)
    return rows


def table(rows: Sequence[Row]) -> str:
    """The rows as a table in Markdown."""
    lines = [
        "| network | samples | accuracy | like float | MACs that spike | mismatches | spikes | charges | synaptic operations "
        "| steps | seconds |",
        "| --- " * 11 + "|",
    ]
    for row in rows:
        cells = [row.network, f"{row.samples:,}", f"{100 * row.accuracy:.2f} %"]
        if row.steps:
            cells += [f"{100 * row.agreement:.2f} %", f"{100 * row.share:.2f} %", f"{row.mismatches} of {row.compared:,}"]
            cells += [*(f"{count:,.0f}" for count in (row.spikes, row.charges, row.synops)), str(row.steps)]
        else:
            cells += [""] * 7
        lines.append("| " + " | ".join([*cells, f"{row.seconds:.1f}"]) + " |")
    return "\n".join(lines)


def main(path: Path, data: Data, neurons: Sequence[str], bits: Sequence[int], samples: int, verified: int, output: Path) -> int:
    """Measure, print and write the rows as JSON; the exit code is 1 where any integer is wrong."""
    rows = evaluate(path, data, neurons, bits, samples, verified)
    print(table(rows))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    return int(any(row.mismatches for row in rows))
