"""Where the events of an address go: the inverse of a machine program's maps, which say where an address reads from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["AddressMap", "invert", "parts_of"]


@dataclass(frozen=True)
class AddressMap:
    """Where the events of one address go: to `targets[offsets[a] : offsets[a + 1]]` (int32 both); perhaps nowhere."""

    offsets: np.ndarray
    targets: np.ndarray


def invert(index: np.ndarray, size: int) -> AddressMap:
    """For each of `size` addresses, the positions of the flattened `index` that hold it."""
    flat = index.reshape(-1)
    positions = np.flatnonzero(flat >= 0)
    held = flat[positions]
    order = np.argsort(held, kind="stable")
    offsets = np.zeros(size + 1, np.int32)
    np.cumsum(np.bincount(held, minlength=size), out=offsets[1:])
    return AddressMap(offsets, positions[order].astype(np.int32))


def parts_of(index: np.ndarray, sizes: Sequence[int]) -> list[AddressMap | None]:
    """For each of several sources, whose addresses `index` counts through, where its events go; None: nowhere."""
    whole = invert(index, sum(sizes))
    found: list[AddressMap | None] = []
    first = 0
    for size in sizes:
        offsets = whole.offsets[first : first + size + 1]
        begin, end = int(offsets[0]), int(offsets[-1])
        found.append(AddressMap(offsets - begin, whole.targets[begin:end]) if end > begin else None)
        first += size
    return found
