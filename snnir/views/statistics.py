"""What values hold on calibration data: their range and a histogram, level by level where they are levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from snnir.compiler.losses import graphs_by_prefix
from snnir.ir import Graph, Value
from snnir.ir.execute import execute, real
from snnir.ir.types import TensorType
from snnir.runtime.inputs import first_samples

__all__ = ["histogram", "value_statistics"]

BINS = 48
_MOST_LEVELS = 256
"""Values of up to so many levels are counted level by level."""
_MOST_ELEMENTS = 200_000
"""Elements that are counted of one value; of more, every n-th."""


@dataclass
class _Seen:
    type: TensorType
    arrays: list[np.ndarray] = field(default_factory=list)
    elements: int = 0


def value_statistics(graph: Graph, data: Mapping[str, np.ndarray], samples: int) -> dict[str, dict[str, object]]:
    """Statistics of every value that changes with the input, on the first `samples` samples, by the value's name with prefix.

    Levels and integers on accumulator grids are shown in real units where their type has a scale.
    """
    prefixes = {value: prefix for prefix, each in graphs_by_prefix(graph) for value in each.values.values()}
    seen: dict[str, _Seen] = {}

    def observe(value: Value, array: np.ndarray) -> None:
        if value.is_constant or value not in prefixes or array.dtype.kind not in "fiub" or not array.size:
            return
        item = seen.setdefault(prefixes[value] + value.name, _Seen(value.type))
        item.elements += array.size
        item.arrays.append(array.reshape(-1)[:: max(1, array.size // _MOST_ELEMENTS)])

    execute(graph, first_samples(graph, data, samples), observe)
    return {name: _statistics(item) for name, item in seen.items()}


def _statistics(item: _Seen) -> dict[str, object]:
    stored = np.concatenate(item.arrays)
    step = max(1, stored.size // _MOST_ELEMENTS)
    return {"elements": item.elements, **histogram(stored[::step], item.type)}


def histogram(stored: np.ndarray, type_: TensorType) -> dict[str, object]:
    """Range, mean, share of zeros and counts: one for each level of a value of few levels, else of `BINS` equal parts.

    `first` and `last` are the outer ends of the first and the last count, in real units.
    """
    quantization = type_.quantization
    values = np.asarray(real(stored, type_), np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return {"min": 0.0, "max": 0.0, "mean": 0.0, "zero": 0.0, "first": 0.0, "last": 0.0, "counts": []}
    low, high = float(values.min()), float(values.max())
    found = {"min": low, "max": high, "mean": float(values.mean()), "zero": float((values == 0).mean())}
    if quantization is not None and quantization.hi - quantization.lo < _MOST_LEVELS:
        counts = np.bincount((stored - quantization.lo).astype(np.int64), minlength=quantization.hi - quantization.lo + 1)
        first, last = (quantization.lo - 0.5) * quantization.scale, (quantization.hi + 0.5) * quantization.scale
    else:
        first, last = (low, high) if high > low else (low - 0.5, high + 0.5)
        counts, _ = np.histogram(values, BINS, (first, last))
    return {**{k: _short(v) for k, v in found.items()}, "first": first, "last": last, "counts": counts.tolist()}


def _short(number: float) -> float:
    """Six digits are enough to look at."""
    return float(f"{number:.6g}")
