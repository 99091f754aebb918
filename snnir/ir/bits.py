"""Levels as bits: the signed bit planes that few-spike neurons tell, most significant first."""

from __future__ import annotations

import numpy as np

__all__ = ["bit_planes", "popcount", "truncated"]


def bit_planes(levels: np.ndarray, bits: int) -> np.ndarray:
    """The bits of |levels|, each as its power of two with the level's sign, most significant first: int64 [bits, *levels.shape].

    Plane i holds 0 or +-2^(bits - 1 - i). The planes sum up to the levels where |levels| < 2^bits.
    """
    levels = levels.astype(np.int64)
    size, sign = np.abs(levels), np.sign(levels)
    planes = np.zeros((bits, *levels.shape), np.int64)
    for plane, k in zip(planes, range(bits - 1, -1, -1), strict=True):
        plane[...] = sign * (size & (1 << k))
    return planes


def popcount(levels: np.ndarray) -> np.ndarray:
    """The number of ones in the binary digits of |levels|: int64, of the same shape."""
    size = np.abs(levels.astype(np.int64))
    count = np.zeros_like(size)
    while size.any():
        count += size & 1
        size >>= 1
    return count


def truncated(levels: np.ndarray, omitted: int) -> np.ndarray:
    """Levels rounded towards 0 to whole multiples of 2^omitted: what is left without the last `omitted` bits."""
    result: np.ndarray = np.sign(levels) * ((np.abs(levels) >> omitted) << omitted) if omitted else levels
    return result
