"""The distance between two networks, output by output: signal-to-quantization-noise ratio, correlation, classes that agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from snnir.ir import Graph, TensorType
from snnir.ir.execute import execute
from snnir.runtime.inputs import sample_count, samples

__all__ = [
    "LEAST_CORRELATION",
    "LEAST_SQNR",
    "MOST_DB",
    "Diagnostic",
    "Distance",
    "Meter",
    "decibels",
    "distance_text",
    "measure",
    "worst_sqnr",
]

LEAST_SQNR = 20.0
"""Decibels below which the compiler warns."""
LEAST_CORRELATION = 0.98
"""Correlation below which the compiler warns."""
MOST_DB = 300.0
"""What stands for no difference at all: beyond what float64 resolves. `-MOST_DB` stands for noise without a signal."""
_CHUNK = 8
_LIKE_CLASSES = 2


def decibels(signal: float, noise: float) -> float:
    """`10 log10(signal / noise)` of two powers, from `-MOST_DB` to `MOST_DB`."""
    if noise <= 0:
        return MOST_DB
    return min(max(10 * math.log10(signal / noise), -MOST_DB), MOST_DB) if signal > 0 else -MOST_DB


@dataclass(frozen=True)
class Distance:
    """How far an output is from the one that it stands for, over all elements of all samples."""

    name: str
    sqnr: float
    """`10 log10(sum(x^2) / sum((y - x)^2))` in dB; `MOST_DB` where they are equal."""
    correlation: float | None
    """Pearson's, over all elements; None where either does not vary, or where the output is integers or words."""
    agreement: float | None
    """The share of equal classes (the largest element along the last axis) where the output looks like classes; of equal
    elements where it is integers or words; else None."""
    constant: bool
    """Whether the output is the same for all samples, or in all elements, where the one that it stands for is not."""
    samples: int

    @property
    def poor(self) -> bool:
        """Whether the compiler warns of it."""
        low = self.correlation is not None and self.correlation < LEAST_CORRELATION
        return self.constant or low or self.sqnr < LEAST_SQNR

    def facts(self) -> dict[str, object]:
        """All numbers by name, for JSON."""
        found = asdict(self)
        found["sqnr_db"] = found.pop("sqnr")
        return found

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> Distance:
        """What `facts` gave."""
        return cls(sqnr=facts["sqnr_db"], **{key: value for key, value in facts.items() if key != "sqnr_db"})

    def __str__(self) -> str:
        if self.correlation is None and self.agreement is not None and self.sqnr == MOST_DB:
            return f"{100 * self.agreement:.2f} % of its elements agree"
        parts = ["no difference" if self.sqnr == MOST_DB else f"SQNR {self.sqnr:.1f} dB"]
        if self.constant:
            parts.append("constant")
        if self.correlation is not None:
            parts.append(f"correlation {self.correlation:.4f}")
        if self.agreement is not None:
            parts.append(f"arg-max agreement {100 * self.agreement:.2f} %")
        return ", ".join(parts)


@dataclass(frozen=True)
class Diagnostic:
    """A warning: its name, what it concerns, and what was found and can be done."""

    name: str
    """`low-sqnr`, `constant-output`, `outlier-weight`, `lost-weights`, `zero-channel`, `one-calibration-sample`,
    `constant-calibration`, `clipped-activation` or `saturated-calibration`."""
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


def distance_text(distances: Sequence[Distance]) -> str:
    """One line per output."""
    return "\n".join(f"{item.name}: {item}" for item in distances)


def worst_sqnr(distances: Sequence[Distance]) -> float:
    """The least SQNR of all outputs of real numbers; `MOST_DB` where there is none."""
    return min((item.sqnr for item in distances), default=MOST_DB)


@dataclass
class Meter:
    """Sums over chunks of samples of one output, from which its `Distance` follows."""

    name: str
    type: TensorType
    samples: int = 0
    elements: int = 0
    equal: int = 0
    shift: float = 0.0
    sums: np.ndarray = field(default_factory=lambda: np.zeros(6))
    """x, y, x^2, y^2, xy of numbers less `shift`, and (y - x)^2."""
    power: float = 0.0
    classes: int = 0
    alike: int = 0
    is_classes: bool = True
    first: tuple[np.ndarray, np.ndarray] | None = None
    varies: tuple[bool, bool] = (False, False)
    """Whether the samples (or elements) of x and of y differ."""

    def add(self, expected: np.ndarray, found: np.ndarray) -> None:
        """Count a chunk: what the output should be, and what it is, of one shape."""
        axis = self.type.batch_axis
        count = 1 if axis is None else expected.shape[axis]
        if not count or not expected.size:
            return
        self.samples += count
        self.elements += expected.size
        if expected.dtype.kind != "f":
            self.equal += int((expected == found).sum())
            return
        finite = np.isfinite(expected) & np.isfinite(found)
        x, y = (np.where(finite, array, 0).astype(np.float64) for array in (expected, found))
        if self.samples == count:
            self.shift = float(x.mean())
        self.power += float((x**2).sum())
        noise = float(((y - x) ** 2).sum())
        u, v = x - self.shift, y - self.shift
        self.sums += [u.sum(), v.sum(), (u**2).sum(), (v**2).sum(), (u * v).sum(), noise]
        self._vary(x, y, axis)
        self._classify(x, y)

    def _vary(self, x: np.ndarray, y: np.ndarray, axis: int | None) -> None:
        rows = [np.atleast_1d(array) if axis is None else np.moveaxis(array, axis, 0) for array in (x, y)]
        if self.first is None:
            self.first = (rows[0][:1].copy(), rows[1][:1].copy())
        span = max(float(np.abs(x).max()), 1e-30)
        moved = [bool((np.abs(array - first) > 1e-6 * span).any()) for array, first in zip(rows, self.first, strict=True)]
        if self.samples == 1 or axis is None:  # one sample cannot differ from others
            moved = [bool(np.ptp(array) > 1e-6 * span) for array in rows]
        self.varies = (self.varies[0] or moved[0], self.varies[1] or moved[1])

    def _classify(self, x: np.ndarray, y: np.ndarray) -> None:
        """A table of samples and scores, or probabilities along the last axis, looks like classes."""
        if x.ndim < 2 or x.shape[-1] < _LIKE_CLASSES:
            self.is_classes = False
        elif x.ndim > 2 and self.is_classes:
            self.is_classes = bool((x >= 0).all() and np.allclose(x.sum(axis=-1), 1, atol=1e-3))
        if self.is_classes:
            agree = x.argmax(axis=-1) == y.argmax(axis=-1)
            self.classes += agree.size
            self.alike += int(agree.sum())

    def distance(self) -> Distance:
        """What the sums say."""
        if self.type.is_exact or (not self.sums.any() and not self.power):
            share = self.equal / self.elements if self.elements else 1.0
            return Distance(self.name, MOST_DB, None, share if self.type.is_exact else None, False, self.samples)
        sx, sy, sxx, syy, sxy, noise = self.sums
        n = self.elements
        spread_x, spread_y, both = sxx - sx * sx / n, syy - sy * sy / n, sxy - sx * sy / n
        floor = 1e-12 * n * max(self.power / n, 1e-30)
        correlation = float(both / math.sqrt(spread_x * spread_y)) if spread_x > floor and spread_y > floor else None
        agreement = self.alike / self.classes if self.is_classes and self.classes else None
        constant = self.varies[0] and not self.varies[1]
        return Distance(self.name, decibels(self.power, noise), correlation, agreement, constant, self.samples)


def measure(
    reference: Graph, graph: Graph, data: Mapping[str, np.ndarray], most: int | None = None, chunk: int = _CHUNK
) -> list[Distance]:
    """The distance of every output of `graph` from that of `reference`, on the first `most` samples of `data` (all by default).

    Both take the same inputs; outputs are compared in real numbers.
    """
    total = sample_count(reference, data)
    total = total if most is None else min(total, most)
    meters = {name: Meter(name, value.type) for name, value in reference.outputs.items()}
    for start in range(0, total, chunk):
        part = samples(reference, data, start, min(start + chunk, total))
        expected, found = execute(reference, part), execute(graph, part)
        for name, meter in meters.items():
            meter.add(expected[name], found[name])
    return [meter.distance() for meter in meters.values()]
