"""One line of the evaluation: a program, a way to run it and some images, measured in chunks that a stopped run keeps.

All that is kept of a chunk is integers, so a line that was stopped and goes on gives the same sums as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snnir import Program
from snnir.runtime.costs import ACCUMULATE_PJ, MAC_PJ, dense_macs

__all__ = ["Line", "measure", "summary"]

CHUNK = 250
_LARGEST = {"steps_max", "front_steps_max", "bound"}
"""What of two chunks the larger counts; the rest adds up."""


@dataclass(frozen=True)
class Line:
    """What is measured: a program (`source` tells it from others), its options, and whether every integer is compared."""

    name: str
    program: Program
    source: str
    steps: int | None = None
    delivery: str = "relay"
    execution: str = "reset"
    verify: bool = True

    def fingerprint(self, x: np.ndarray, labels: np.ndarray) -> str:
        """Changes whenever a kept chunk would no longer be one of this line."""
        words = (self.source, self.steps, self.delivery, self.execution, self.verify, CHUNK)
        return hashlib.sha256(repr(words).encode() + x.tobytes() + labels.tobytes()).hexdigest()


def measure(
    line: Line, x: np.ndarray, labels: np.ndarray, folder: Path, threads: int, progress: Callable[[int, int], None] | None = None
) -> dict[str, float]:
    """The sums of a line over sequences x[N, T, C], chunk by chunk; chunks that `folder` holds are not run again."""
    folder.mkdir(parents=True, exist_ok=True)
    path, fingerprint = folder / f"{line.name}.json", line.fingerprint(x, labels)
    state: dict[str, object] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    kept = state.get("chunks") if state.get("fingerprint") == fingerprint else None
    chunks: dict[str, dict[str, float]] = dict(kept) if isinstance(kept, dict) else {}
    for start in range(0, len(x), CHUNK):
        if str(start) not in chunks:
            chunks[str(start)] = _chunk(line, x[start : start + CHUNK], labels[start : start + CHUNK], threads)
            part = path.with_suffix(".part")
            part.write_text(json.dumps({"fingerprint": fingerprint, "chunks": chunks}) + "\n", encoding="utf-8")
            os.replace(part, path)
        if progress is not None:
            progress(min(start + CHUNK, len(x)), len(x))
    total: dict[str, float] = {}
    for chunk in chunks.values():
        for key, value in chunk.items():
            total[key] = max(total.get(key, 0), value) if key in _LARGEST else total.get(key, 0) + value
    return total


def _chunk(line: Line, x: np.ndarray, labels: np.ndarray, threads: int) -> dict[str, float]:
    program = line.program
    options: dict[str, Any] = {"delivery": line.delivery, "execution": line.execution, "threads": threads}
    started = time.perf_counter()
    result = program.run(x, steps=line.steps, **options)
    sums: dict[str, float] = {
        "images": len(x),
        "right": _right(result.outputs, labels),
        "elements": result.steps[:, 1:].size,
        "steps": int(result.steps[:, 1:].sum()),
        "steps_max": int(result.steps[:, 1:].max(initial=0)),
        "front_steps_max": int(result.steps[:, 0].max(initial=0)),
        "spikes": int(result.total_spikes.sum()),
        "synops": int(result.total_synops.sum()),
        "charges": int(result.total_charges.sum()),
        "unsettled": result.unsettled + result.undelivered,
        "simulation_seconds": time.perf_counter() - started,
    }
    if line.verify:
        verification = program.verify(x, **options)
        sums |= {
            "right_quantized": _right(program.reference(x), labels),
            "compared": verification.compared,
            "mismatches": verification.mismatches,
            "beyond_bounds": int(not verification.within_bounds),
            "bound": verification.bound,
        }
    return sums | {"seconds": time.perf_counter() - started}


def _right(outputs: dict[str, np.ndarray], labels: np.ndarray) -> int:
    (logits,) = outputs.values()
    return int((logits.argmax(1) == labels).sum())


def summary(line: Line, sums: dict[str, float], x: np.ndarray) -> dict[str, Any]:
    """Sums as what is reported: shares, means per image and per element, and energy in nanojoules an image."""
    images = sums["images"]
    macs = dense_macs(line.program.graph("quantized"), {line.program.graph().inputs[0].name: x[:1]})
    charges, others = sums["charges"] / images, (sums["synops"] - sums["charges"]) / images
    row: dict[str, Any] = {
        "line": line.name,
        "images": int(images),
        "cap": line.steps,
        "delivery": line.delivery,
        "execution": line.execution,
        "spiking": sums["right"] / images,
        "steps_mean": sums["steps"] / max(sums["elements"], 1),
        "steps_max": int(sums["steps_max"]),
        "front_steps_max": int(sums["front_steps_max"]),
        "spikes": sums["spikes"] / images,
        "synops": sums["synops"] / images,
        "charges": charges,
        "macs": macs.spiking + macs.host,
        "energy_spiking_nj": (charges * MAC_PJ + others * ACCUMULATE_PJ) / 1e3,
        "energy_dense_nj": (macs.spiking + macs.host) * MAC_PJ / 1e3,
        "unsettled": sums["unsettled"] / images,
        "simulation_seconds": round(sums["simulation_seconds"], 1),
        "seconds": round(sums["seconds"], 1),
    }
    if line.verify:
        row |= {
            "quantized": sums["right_quantized"] / images,
            "compared": int(sums["compared"]),
            "mismatches": int(sums["mismatches"]),
            "bound": int(sums["bound"]),
            "within_bounds": not sums["beyond_bounds"],
        }
    return row
