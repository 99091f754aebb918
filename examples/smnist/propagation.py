"""How errors travel along a sequence: the experiment of Su et al. (arXiv:2408.09403) on encodings and steps.

The L1 distance between the settled integers of the quantized network and the tracers of the spiking one, at every element of
the sequence, mean over neurons and images, in levels. Recurrent spikes are replayed, as in the paper. Compared are s-analog
run until it settles, s-analog cut off after too few steps, and m-analog cut off after as many.
"""

from __future__ import annotations

import numpy as np

from snnir import Program
from snnir.ir.ops import Scan
from snnir.runtime.verification import integer_counts

__all__ = ["SETTINGS", "propagation"]

SETTINGS: tuple[tuple[str, int | None], ...] = (
    ("s-analog", None),
    ("s-analog", 4),
    ("s-analog", 8),
    ("s-analog", 16),
    ("s-analog", 32),
    ("m-analog", 8),
    ("m-analog", 16),
    ("m-analog", 32),
    ("m-analog", 64),
)
"""Encodings and caps on steps; None: until nothing fires."""
_CHUNK = 50


def propagation(program: Program, x: np.ndarray) -> dict[str, object]:
    """Distances by setting and recurrent layer, one for each element: `{"images": n, "curves": [...]}`."""
    quantized, spiking = program.graph("quantized"), program.graph("spiking")
    (name,) = (value.name for value in spiking.inputs)
    scans = tuple(f"{node.outputs[0].name}/" for node in spiking.nodes if isinstance(node.op, Scan))
    sums: list[dict[str, np.ndarray]] = [{} for _ in SETTINGS]
    for start in range(0, len(x), _CHUNK):
        chunk = x[start : start + _CHUNK]
        expected = integer_counts(quantized, spiking, {name: chunk})
        for (encoding, steps), totals in zip(SETTINGS, sums, strict=True):
            counts = program.run(chunk, steps=steps, encoding=encoding, delivery="replay", counts=True).counts
            for layer, integers in expected.items():
                if layer.startswith(scans):  # a population of a scan: [N, K, neurons]
                    distance = np.abs(counts[layer] - integers).mean(axis=2).sum(axis=0)
                    totals[layer] = totals.get(layer, 0) + distance
    curves = [
        {"encoding": encoding, "steps": steps, "layers": {layer: (total / len(x)).tolist() for layer, total in totals.items()}}
        for (encoding, steps), totals in zip(SETTINGS, sums, strict=True)
    ]
    return {"images": len(x), "delivery": "replay", "curves": curves}
