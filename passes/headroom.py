"""Room for what few samples did not show: how far the next one may go beyond the largest number at its place."""

from __future__ import annotations

import numpy as np

__all__ = ["MOST_SAMPLES", "Headroom", "one_number_each"]

MOST_SAMPLES = 256
"""With more samples, less than 1 of 256 goes beyond what was seen: nothing is added."""


def one_number_each(array: np.ndarray, axis: int) -> bool:
    """Whether each sample along `axis` has one number for each channel, as behind global pooling and in linear layers.

    Maps and sequences have many numbers for each channel, which show together how far one may go.
    """
    return len([size for place, size in enumerate(array.shape) if place != axis and size > 1]) <= 1


class Headroom:
    """The two largest and the two smallest numbers that each place of a value has taken so far.

    One of n + 1 samples that are drawn alike is the largest at a place, and one time in n + 1 it is the one that was not seen.
    Where numbers thin out exponentially, the next largest one lies as far beyond the largest as that lies beyond the second (in
    distribution: the spacings of order statistics, Renyi 1953; such tails have no memory). So one more sample, which at each
    place lies beyond the largest by that spacing, stands for what n samples did not show; it weighs 1/n of all.
    """

    def __init__(self) -> None:
        self.largest: np.ndarray | None = None
        self.smallest: np.ndarray | None = None

    def add(self, array: np.ndarray, axis: int) -> None:
        """See samples along `axis`."""
        numbers = np.moveaxis(array, axis, 0).astype(np.float64)
        above = numbers if self.largest is None else np.concatenate([self.largest, numbers])
        below = numbers if self.smallest is None else np.concatenate([self.smallest, numbers])
        self.largest = np.sort(above, axis=0)[-2:]
        self.smallest = np.sort(below, axis=0)[:2]

    def beyond(self) -> np.ndarray:
        """Numbers that one more sample may take, above and below; none where fewer than two were seen."""
        if self.largest is None or self.smallest is None or len(self.largest) < 2:
            return np.zeros(0)
        above, below = 2 * self.largest[1] - self.largest[0], 2 * self.smallest[0] - self.smallest[1]
        return np.concatenate([above[self.largest[1] > 0], below[self.smallest[0] < 0]])
