"""What crosses the border of a scan's windows, on trains [samples, steps, n]: states and elements in, results out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["ElementIn", "ResultOut", "StateIn"]


def _unary(levels: np.ndarray) -> np.ndarray:
    """Levels [samples, n] as single spikes from step 0, one a step."""
    most = int(np.abs(levels).max(initial=0))
    steps = np.arange(most)[np.newaxis, :, np.newaxis]
    train: np.ndarray = np.sign(levels)[:, np.newaxis] * (np.abs(levels)[:, np.newaxis] > steps)
    return train


def _send(levels: np.ndarray, at_once: bool) -> np.ndarray:
    return levels[:, np.newaxis] if at_once else _unary(levels)


def _raised(train: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """A train with levels added to its events of step 0."""
    if not levels.any():
        return train
    raised = train.copy() if train.shape[1] else np.zeros((len(levels), 1, levels.shape[1]), np.int64)
    raised[:, 0] += levels
    return raised


class StateIn:
    """A state on its way into windows; `initial` is the train that it starts with."""

    def __init__(self, initial: np.ndarray, delivery: str, carry: bool) -> None:
        self.delivery, self.carry, self.train = delivery, carry, initial
        self.level = initial.sum(axis=1)
        self.before = np.zeros_like(self.level)
        self.sent = np.zeros_like(self.level)
        self.windows = 0

    def window(self) -> np.ndarray:
        """What the next window gets."""
        if self.delivery == "replay":
            return _raised(self.train, -self.before) if self.carry and self.windows == 1 else self.train
        train = _send(self.level - self.sent, self.delivery == "graded")
        if self.carry:
            self.sent = self.level
        return train

    def follow(self, train: np.ndarray) -> None:
        """The state has become what `train` of the window that just ended gives."""
        kept = self.level if self.carry and self.windows else np.zeros_like(self.level)
        self.before, self.level, self.train = self.level, kept + train.sum(axis=1), train
        self.windows += 1

    def final(self) -> np.ndarray:
        """The last state as the outside is told of it."""
        return _raised(self.train, self.before) if self.carry and self.windows > 1 else self.train


class ElementIn:
    """A sequence train [samples, steps, windows * n], one element of which goes into each window."""

    def __init__(self, train: np.ndarray, windows: int, at_once: bool, carry: bool) -> None:
        samples, steps, size = train.shape
        self.train = train.reshape(samples, steps, windows, size // max(windows, 1))
        self.at_once, self.carry = at_once, carry
        self.sent: np.ndarray | None = None

    def window(self, element: int) -> np.ndarray:
        """The element's own train, or (`carry`, after the first) its change."""
        train: np.ndarray = self.train[:, :, element]
        if self.carry:
            level = train.sum(axis=1)
            if self.sent is not None:
                train = _send(level - self.sent, self.at_once)
            self.sent = level
        return train


class ResultOut:
    """A body's train that leaves it, window after window."""

    def __init__(self, carry: bool) -> None:
        self.carry = carry
        self.level: np.ndarray | None = None
        self.rows: list[np.ndarray] = []

    def window(self, train: np.ndarray) -> None:
        """Enter one window. Receivers outside are fresh, so that they are first told the level that was kept."""
        if self.carry:
            train = train if self.level is None else _raised(train, self.level)
            self.level = train.sum(axis=1)
        self.rows.append(train)

    def stacked(self, reverse: bool, shape: Sequence[int]) -> np.ndarray:
        """All windows side by side: [samples, steps, windows * n]."""
        if not self.rows:
            return np.zeros((shape[0], 0, shape[1]), np.int64)
        steps = max(row.shape[1] for row in self.rows)
        rows = [np.pad(row, ((0, 0), (0, steps - row.shape[1]), (0, 0))) for row in self.rows]
        return np.concatenate(rows[::-1] if reverse else rows, axis=2)
