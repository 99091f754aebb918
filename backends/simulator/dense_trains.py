"""Dense trains, as the plain simulator keeps them: what each element emits at each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snnir.ir.ops import MaxPool, Movement, Product

__all__ = ["DenseTrain", "by_step", "lengthen", "pad", "raised", "spread", "stack", "unary"]


@dataclass(frozen=True)
class DenseTrain:
    """What a value emits, and which of its events are charged: both [steps, N, ...].

    `encoded`: nothing but encoders and constants emit it.
    """

    values: np.ndarray
    charged: np.ndarray
    encoded: bool = False

    @staticmethod
    def of(values: np.ndarray, charged: bool = False) -> DenseTrain:
        """A train of these values; an encoder's events are all charged, others where they are beyond +-1."""
        return DenseTrain(values, (values != 0) if charged else np.abs(values) > 1, charged)

    @staticmethod
    def of_bits(values: np.ndarray) -> DenseTrain:
        """A train of few-spike neurons: an event of a power of two is no charge, because receivers shift."""
        size = np.abs(values)
        return DenseTrain(values, (size & (size - 1)) > 0)

    def crossing(self, first: int) -> DenseTrain:
        """The train from step `first` on, before which it is silent."""
        return DenseTrain(self.values[first:], self.charged[first:], self.encoded)

    @staticmethod
    def silent(shape: tuple[int, ...]) -> DenseTrain:
        """A train of samples of `shape` [N, ...] without any event."""
        return DenseTrain.of(np.zeros((0, *shape), np.int64))

    @property
    def tracer(self) -> np.ndarray:
        """What all events add up to: int64 [N, ...]."""
        total: np.ndarray = self.values.sum(axis=0)
        return total


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
    values, charged = (np.broadcast_to(array.reshape(own), (steps, *shape)) for array in (train.values, train.charged))
    return DenseTrain(values, charged, train.encoded)


def stack(rows: Sequence[DenseTrain], shape: tuple[int, ...]) -> DenseTrain:
    """Trains of elements side by side along axis 1 of a sample batch [N, K, ...]."""
    steps = max((len(row.values) for row in rows), default=0)
    if not rows:
        return DenseTrain.silent(shape)
    values = np.stack([lengthen(row.values, steps) for row in rows], axis=2)
    charged = np.stack([lengthen(row.charged, steps) for row in rows], axis=2)
    return DenseTrain(values, charged)


def unary(levels: np.ndarray, cap: int | None) -> tuple[DenseTrain, int]:
    """Levels [N, ...] as single spikes from step 0, one a step; and how many of them the cap on steps cut off."""
    needed = int(np.abs(levels).max(initial=0))
    steps = needed if cap is None else min(needed, cap)
    spikes = [np.sign(levels) * (np.abs(levels) > t) for t in range(steps)]
    train = DenseTrain.of(np.stack(spikes)) if spikes else DenseTrain.silent(levels.shape)
    return train, int(np.maximum(np.abs(levels) - steps, 0).sum())


def raised(train: DenseTrain, levels: np.ndarray) -> DenseTrain:
    """A train with levels [N, ...] added to its events of step 0."""
    if not levels.any():
        return train
    values, charged = lengthen(train.values, 1).copy(), lengthen(train.charged, 1).copy()
    values[0] += levels
    charged[0] = (np.abs(values[0]) > 1) | (charged[0] & (values[0] != 0))
    return DenseTrain(values, charged)


def pad(trains: Sequence[np.ndarray], hold: bool) -> np.ndarray:
    """Trains of several windows with as many steps each; the last row is held, or nothing follows."""
    steps = max(len(train) for train in trains)
    if not hold:
        return np.stack([lengthen(train, steps) for train in trains])
    return np.stack([np.concatenate([train, np.repeat(train[-1:], steps - len(train), axis=0)]) for train in trains])
