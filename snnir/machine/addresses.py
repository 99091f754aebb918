"""Integer maps: which address, weight or parameter each neuron takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["IndexMap", "spread"]


@dataclass(frozen=True, eq=False)
class IndexMap:
    """Integers m[0], m[1], ...: `offset` plus digit times stride along `dims` (size, stride), or a `table` (-1: none)."""

    dims: tuple[tuple[int, int], ...] = ()
    offset: int = 0
    table: np.ndarray | None = None

    @staticmethod
    def of(index: np.ndarray) -> IndexMap:
        """The map of an array, by strides where it has any."""
        dims: list[tuple[int, int]] = []
        offset = int(index.reshape(-1)[0]) if index.size else 0
        for axis, size in enumerate(index.shape):
            if size == 1:
                continue
            at = [0] * index.ndim
            at[axis] = 1
            stride = int(index[tuple(at)]) - offset if index.size else 0
            if dims and dims[-1][1] == stride * size:
                dims[-1] = dims[-1][0] * size, stride
            else:
                dims.append((size, stride))
        found = IndexMap(tuple(dims), offset)
        if index.size and offset >= 0 and np.array_equal(found.array(), index.reshape(-1)):
            return found
        return IndexMap(table=index.reshape(-1).astype(np.int64))

    @property
    def size(self) -> int:
        """How many integers."""
        return int(np.prod([size for size, _ in self.dims], dtype=np.int64)) if self.table is None else self.table.size

    def reaches(self, size: int, least: int, end: int) -> bool:
        """Whether it has `size` integers, all of them in least..end - 1."""
        if self.table is None:
            ends = [(min(stride * (count - 1), 0), max(stride * (count - 1), 0)) for count, stride in self.dims]
            low, high = self.offset + sum(low for low, _ in ends), self.offset + sum(high for _, high in ends)
        else:
            low, high = int(self.table.min(initial=least)), int(self.table.max(initial=least))
        return self.size == size and (not size or least <= low <= high < end)

    def array(self) -> np.ndarray:
        """The integers, int64."""
        if self.table is not None:
            return self.table
        found = np.full(1, self.offset, np.int64)
        for size, stride in self.dims:
            found = (found[:, np.newaxis] + np.arange(size, dtype=np.int64) * stride).reshape(-1)
        return found


def spread(own: tuple[int, ...], shape: tuple[int, ...]) -> IndexMap:
    """Which element of an array of shape `own` each element of a sample of `shape` has. Raises `ValueError`."""
    count = int(np.prod(own, dtype=np.int64))
    return IndexMap.of(np.broadcast_to(np.arange(count).reshape(own), shape))
