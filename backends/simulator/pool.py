"""The constants of all populations in flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from snnir.backends.simulator.kernels.constants import LINE, SPARE
from snnir.backends.simulator.segments import Segments

__all__ = ["Pool", "flat", "storage"]


@dataclass(eq=False)
class Pool:
    """The constants of all populations of a graph in flat arrays, shared by the programs of different sequence lengths."""

    arrays: dict[tuple[int, ...], tuple[np.ndarray, ...]] = field(default_factory=dict)

    def of(self, segments: Sequence[Segments]) -> tuple[np.ndarray, ...]:
        """Weights by storage, index and biases by storage, one population behind the other."""
        key = tuple(id(one) for one in segments)
        if key not in self.arrays:
            kinds = [storage(one) for one in segments]
            weights = [
                aligned([*(one.weights for one, kind in zip(segments, kinds, strict=True) if kind == k), np.zeros(SPARE, t)], t)
                for k, t in _WEIGHTS
            ]
            index = flat([one.index for one in segments], np.int32)
            narrow = flat([one.bias for one, kind in zip(segments, kinds, strict=True) if kind < 2], np.int32)
            wide = flat([one.bias for one, kind in zip(segments, kinds, strict=True) if kind == 2], np.int64)
            self.arrays[key] = (*weights, index, narrow, wide)
        return self.arrays[key]


_WEIGHTS = ((0, np.int8), (1, np.int16), (2, np.int64))


def storage(segments: Segments) -> int:
    """0: int8 weights and int32 sums, 1: int16 and int32, 2: int64 both."""
    return {1: 0, 2: 1, 8: 2}[segments.weights.itemsize]


def aligned(arrays: Sequence[np.ndarray], dtype: type[np.signedinteger]) -> np.ndarray:
    """As `flat`, from the beginning of a cache line on: rows as long as whole lines are read a line at a time."""
    size = sum(array.size for array in arrays)
    room = np.empty(size + LINE, dtype)
    start = -(room.ctypes.data // room.itemsize) % LINE
    return np.concatenate([np.zeros(0, dtype), *arrays], out=room[start : start + size])


def flat(arrays: Sequence[np.ndarray], dtype: type[np.signedinteger]) -> np.ndarray:
    """Arrays one behind the other; of `dtype` where there are none."""
    return np.concatenate([np.zeros(0, dtype), *arrays])
