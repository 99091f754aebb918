"""How far a membrane can swing: every level of the tracer with the interval that the membrane can be in at that level."""

from __future__ import annotations

import numpy as np

__all__ = ["membrane_range"]

_ROUNDS = 64
"""Rounds after which intervals that still grow are taken to be as far as the sum allows."""
_LARGEST = 1 << 22
"""Levels times neurons up to which every level has an interval of its own."""
_FAR = np.int64(1) << np.int64(61)


def membrane_range(
    total: np.ndarray, initial: np.ndarray, theta: np.ndarray, least: np.ndarray, most: np.ndarray, resumed: bool
) -> tuple[int, int]:
    """The inclusive range of V of a uniform population, before and after firing, between any two events.

    `total` int64 [3, 2, n] are the intervals of the sum A and of what arrives in step 0 and in a later step; `least..most`
    the tracers that can be reached. `V = A + theta//2 - theta S` bounds V at every level S; on top of that V moves by one
    step's input and by firing only, and a neuron that could fire has fired. Intervals by level are grown until they hold.
    """
    columns = np.concatenate([total.reshape(6, -1), [initial, theta, least, most]])
    columns = np.unique(columns, axis=1)
    if not columns.size:
        return 0, 0
    sums, first, later = columns[:6].reshape(3, 2, -1)
    initial, theta, least, most = columns[6:]
    levels = np.arange(int(least.min()), int(most.max()) + 1)[:, np.newaxis]
    if levels.size * theta.size > _LARGEST:
        low, high = sums[0] + theta // 2 - theta * most, sums[1] + theta // 2 - theta * least
        return int(low.min()), int(high.max())
    inside = (levels >= least) & (levels <= most)
    floor = np.where(inside, sums[0] + theta // 2 - theta * levels, _FAR)
    ceiling = np.where(inside, sums[1] + theta // 2 - theta * levels, -_FAR)
    lowest, highest = levels == least, levels == most

    if resumed:  # settled at any level
        low = np.where(inside, np.maximum(np.where(lowest, floor, 0), floor), _FAR)
        high = np.where(inside, np.minimum(np.where(highest, ceiling, theta - 1), ceiling), -_FAR)
    else:
        start = np.where(levels == 0, initial + theta // 2, 0)
        low, high = np.where(levels == 0, start, _FAR), np.where(levels == 0, start, -_FAR)
    seen = [low.min(), high.max()]
    before_low, before_high = _moved(low, high, first, floor, ceiling)
    for round_ in range(_ROUNDS + 1):
        seen += [before_low.min(), before_high.max()]
        low, high = _fired(before_low, before_high, theta, lowest, highest, inside)
        seen += [low.min(), high.max()]
        new_low, new_high = _moved(low, high, later, floor, ceiling)
        new_low, new_high = np.minimum(new_low, before_low), np.maximum(new_high, before_high)
        if np.array_equal(new_low, before_low) and np.array_equal(new_high, before_high):
            break
        if round_ == _ROUNDS:
            seen += [floor.min(), ceiling.max()]
        before_low, before_high = new_low, new_high
    return min(int(value) for value in seen), max(int(value) for value in seen)


def _moved(
    low: np.ndarray, high: np.ndarray, arriving: np.ndarray, floor: np.ndarray, ceiling: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Intervals after what arrives in one step, wherever there are any."""
    there = low <= high
    low = np.where(there, np.maximum(low + arriving[0], floor), _FAR)
    high = np.where(there, np.minimum(high + arriving[1], ceiling), -_FAR)
    empty = low > high  # no sum allows it
    return np.where(empty, _FAR, low), np.where(empty, -_FAR, high)


def _fired(
    low: np.ndarray, high: np.ndarray, theta: np.ndarray, lowest: np.ndarray, highest: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Intervals after every neuron that can fire has fired."""
    stay_low, stay_high = np.where(lowest, low, np.maximum(low, 0)), np.where(highest, high, np.minimum(high, theta - 1))
    stay_low, stay_high = _where(stay_low <= stay_high, stay_low, stay_high)
    up_low, up_high = _where((high >= theta) & ~highest & inside, np.maximum(low, theta) - theta, high - theta)
    down_low, down_high = _where((low < 0) & ~lowest & inside, low + theta, np.minimum(high, -1) + theta)
    after_low, after_high = stay_low.copy(), stay_high.copy()
    after_low[1:], after_high[1:] = np.minimum(after_low[1:], up_low[:-1]), np.maximum(after_high[1:], up_high[:-1])
    after_low[:-1], after_high[:-1] = np.minimum(after_low[:-1], down_low[1:]), np.maximum(after_high[:-1], down_high[1:])
    return after_low, after_high


def _where(there: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.where(there, low, _FAR), np.where(there, high, -_FAR)
