"""Integers packed to their width: value i of b bits is bits i*b .. i*b + b - 1 of the byte string, lowest bit first."""

from __future__ import annotations

import numpy as np

__all__ = ["least_bits", "pack", "packed_size", "unpack"]

_BLOCK = 1 << 16
"""Values that are packed at once: a multiple of 8, so that every block ends with a whole byte."""


def least_bits(values: np.ndarray) -> tuple[int, bool]:
    """The fewest bits (1 or more) that hold all values, and whether they are two's complement."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low >= 0:
        return max(high.bit_length(), 1), False
    return max(high.bit_length(), (~low).bit_length()) + 1, True


def packed_size(count: int, bits: int) -> int:
    """Bytes that `count` values of `bits` bits take."""
    return -(-count * bits // 8)


def pack(values: np.ndarray, bits: int) -> np.ndarray:
    """Integers as uint8 [packed_size]; they must fit. Negative ones are two's complement."""
    flat = values.reshape(-1).astype(np.int64, copy=False)
    if bits == 8:
        return flat.astype(np.uint8)
    shifts = np.arange(bits, dtype=np.uint64)
    parts = []
    for first in range(0, flat.size, _BLOCK):
        block = flat[first : first + _BLOCK].view(np.uint64)
        places = ((block[:, np.newaxis] >> shifts) & np.uint64(1)).astype(np.uint8)
        parts.append(np.packbits(places.reshape(-1), bitorder="little"))
    return np.concatenate(parts) if parts else np.zeros(0, np.uint8)


def unpack(packed: np.ndarray, count: int, bits: int, signed: bool) -> np.ndarray:
    """The `count` integers that `pack` packed, int64."""
    if bits == 8:
        return packed[:count].view(np.int8 if signed else np.uint8).astype(np.int64)
    weights = np.left_shift(np.int64(1), np.arange(bits, dtype=np.int64))
    if signed:
        weights[-1] = -weights[-1] if bits < 64 else np.iinfo(np.int64).min
    parts = []
    for first in range(0, count, _BLOCK):
        here = min(_BLOCK, count - first)
        start = first * bits // 8
        block = packed[start : start + packed_size(here, bits)]
        places = np.unpackbits(block, count=here * bits, bitorder="little").reshape(here, bits)
        parts.append(places.astype(np.int64) @ weights)
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
