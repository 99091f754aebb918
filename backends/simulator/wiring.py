"""Where the events of a root go: address maps for what is moved on the way to a receiver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnir.ir.graph import Value
from snnir.machine.movement import Wiring

__all__ = ["AddressMap", "Source", "invert", "sources"]


@dataclass(frozen=True)
class AddressMap:
    """Where the events of one address go: to `targets[offsets[a] : offsets[a + 1]]` (int32 both); perhaps nowhere."""

    offsets: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class Source:
    """A root and the map from its addresses (None: addresses stay what they are)."""

    root: Value
    map: AddressMap | None


def invert(index: np.ndarray, size: int) -> AddressMap:
    """For each of `size` addresses, the positions of the flattened `index` that hold it."""
    flat = index.reshape(-1)
    positions = np.flatnonzero(flat >= 0)
    held = flat[positions]
    order = np.argsort(held, kind="stable")
    offsets = np.zeros(size + 1, np.int32)
    np.cumsum(np.bincount(held, minlength=size), out=offsets[1:])
    return AddressMap(offsets, positions[order].astype(np.int32))


def sources(wiring: Wiring) -> tuple[Source, ...]:
    """The roots of a value that its elements really come from, each with its address map."""
    found = []
    first = 0
    for root, size in zip(wiring.roots, wiring.sizes, strict=True):
        held = wiring.index.reshape(-1)
        if size == held.size and len(wiring.roots) == 1 and np.array_equal(held, np.arange(size)):
            return (Source(root, None),)
        inside = (wiring.index >= first) & (wiring.index < first + size)
        if inside.any():
            found.append(Source(root, invert(np.where(inside, wiring.index - first, -1), size)))
        first += size
    return tuple(found)
