"""Trains: what a value is declared to emit, and what it emits in one window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["DenseTrain", "Train", "join", "lengthen"]


@dataclass(frozen=True, eq=False)
class Train:
    """What a value emits; `shape` is only for people, addresses count through it in C order. The tracer stays in lo..hi;
    one level stands for `scale` in real units."""

    name: str
    shape: tuple[int, ...]
    lo: int
    hi: int
    scale: float

    @property
    def size(self) -> int:
        """Number of addresses."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bits(self) -> int:
        """Bits of the largest magnitude of a level."""
        return max(self.hi, -self.lo).bit_length()


@dataclass(frozen=True, eq=False)
class DenseTrain:
    """The events of one window, int64 [samples, steps, n], and which of them are `charged` (bool): a synapse multiplies by
    these, and adds or subtracts a weight for the others. After its last step a train is silent."""

    values: np.ndarray
    charged: np.ndarray

    @staticmethod
    def of(values: np.ndarray, charged: bool = False) -> DenseTrain:
        """A train of these events. All events of a `charged` one are charged; else those beyond +-1."""
        return DenseTrain(values, (values != 0) if charged else np.abs(values) > 1)

    @staticmethod
    def of_bits(values: np.ndarray) -> DenseTrain:
        """A train of bits: an event of a power of two is not charged, because synapses shift by it."""
        size = np.abs(values)
        return DenseTrain(values, (size & (size - 1)) > 0)

    def crossing(self, first: int) -> DenseTrain:
        """The train from step `first` on, before which it is silent."""
        return DenseTrain(self.values[:, first:], self.charged[:, first:]) if first else self

    @property
    def steps(self) -> int:
        """Number of steps."""
        return int(self.values.shape[1])

    @property
    def tracer(self) -> np.ndarray:
        """The sum of all events, int64 [samples, n]."""
        total: np.ndarray = self.values.sum(axis=1)
        return total

    def silenced(self) -> DenseTrain:
        """A train of as many addresses without any event."""
        return DenseTrain(self.values[:, :0], self.charged[:, :0])

    def moved(self, index: np.ndarray) -> DenseTrain:
        """The train whose address i emits what address index[i] does; -1 is silent."""
        kept = index >= 0
        places = np.maximum(index, 0)
        return DenseTrain(np.where(kept, self.values[:, :, places], 0), self.charged[:, :, places] & kept)

    def raised(self, levels: np.ndarray) -> DenseTrain:
        """The train with levels [samples, n] added to its events of step 0."""
        if not levels.any():
            return self
        steps = max(self.steps, 1)
        values, charged = lengthen(self.values, steps).copy(), lengthen(self.charged, steps).copy()
        values[:, 0] += levels
        charged[:, 0] = (np.abs(values[:, 0]) > 1) | (charged[:, 0] & (values[:, 0] != 0))
        return DenseTrain(values, charged)


def lengthen(events: np.ndarray, steps: int) -> np.ndarray:
    """Events [samples, steps, n] with silent steps after their end."""
    missing = max(steps - events.shape[1], 0)
    return np.pad(events, ((0, 0), (0, missing), (0, 0))) if missing else events


def join(trains: Sequence[DenseTrain]) -> DenseTrain:
    """The addresses of several trains, one train after another."""
    steps = max(train.steps for train in trains)
    values = [lengthen(train.values, steps) for train in trains]
    charged = [lengthen(train.charged, steps) for train in trains]
    return DenseTrain(np.concatenate(values, axis=2), np.concatenate(charged, axis=2))
