"""Dense trains, as the plain simulator keeps them: what each element emits at each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snnir.ir.ops import MaxPool, Movement, Product

__all__ = ["DenseTrain", "by_step", "lengthen", "pad", "spread", "stack"]


@dataclass(frozen=True)
class DenseTrain:
    """What a value emits, and which of its events are charged: both [steps, N, ...]."""

    values: np.ndarray
    charged: np.ndarray

    @staticmethod
    def of(values: np.ndarray, charged: bool = False) -> DenseTrain:
        """A train of these values; an encoder's events are all charged, others where they are beyond +-1."""
        return DenseTrain(values, (values != 0) if charged else np.abs(values) > 1)

    def at(self, t: int) -> np.ndarray:
        """What is emitted at step t; zeros after the end."""
        return self.values[t] if t < len(self.values) else np.zeros(self.values.shape[1:], np.int64)


def by_step(op: Movement | MaxPool | Product, arrays: Sequence[np.ndarray], empty: tuple[int, ...]) -> np.ndarray:
    """An op applied to each step of trains of one length; `empty` is the shape for no step."""
    rows = [op.evaluate(*step)[0] for step in zip(*arrays, strict=True)]
    return np.stack(rows) if rows else np.zeros(empty, np.int64)


def lengthen(train: np.ndarray, steps: int) -> np.ndarray:
    """A train with silent steps after its end."""
    missing = max(steps - len(train), 0)
    return np.concatenate([train, np.zeros((missing, *train.shape[1:]), train.dtype)])


def spread(train: DenseTrain, shape: tuple[int, ...]) -> DenseTrain:
    """A train whose samples spread over those of `shape` [N, ...]."""
    steps, batch, *sample = train.values.shape
    own = (steps, batch, *([1] * (len(shape) - 1 - len(sample))), *sample)
    arrays = (np.broadcast_to(array.reshape(own), (steps, *shape)) for array in (train.values, train.charged))
    return DenseTrain(*arrays)


def stack(rows: Sequence[DenseTrain], shape: tuple[int, ...]) -> DenseTrain:
    """Trains of elements side by side along axis 1 of a sample batch [N, K, ...]."""
    steps = max((len(row.values) for row in rows), default=0)
    if not rows:
        return DenseTrain.of(np.zeros((0, *shape), np.int64))
    values = np.stack([lengthen(row.values, steps) for row in rows], axis=2)
    return DenseTrain(values, np.stack([lengthen(row.charged, steps) for row in rows], axis=2))


def pad(trains: Sequence[np.ndarray], hold: bool) -> np.ndarray:
    """Trains of several windows with as many steps each; the last row is held, or nothing follows."""
    steps = max(len(train) for train in trains)
    if not hold:
        return np.stack([lengthen(train, steps) for train in trains])
    return np.stack([np.concatenate([train, np.repeat(train[-1:], steps - len(train), axis=0)]) for train in trains])
