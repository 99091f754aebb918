"""Event trains: what one value emits during one window, for a few samples at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["AddressMap", "Train", "charge", "join", "raised", "settled", "silent", "split", "unary"]

_NOTHING = np.zeros(1, np.int32)


@dataclass(frozen=True)
class AddressMap:
    """Where the events of one address go: to `targets[offsets[a] : offsets[a + 1]]` (int32 both); perhaps nowhere."""

    offsets: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class Train:
    """The events of one value in one window.

    `offsets` int64[batch, steps + 1]: sample n's events of step t are offsets[n, t] .. offsets[n, t + 1]. `address`
    int32: the element of the flattened sample. `event` int32: 2 * value + charged, where `charged` marks what costs a
    multiplication at a synapse: values beyond +-1 and all that an encoder emits.
    """

    offsets: np.ndarray
    address: np.ndarray
    event: np.ndarray

    @property
    def batch(self) -> int:
        """Number of samples."""
        return int(self.offsets.shape[0])

    @property
    def steps(self) -> int:
        """Number of steps after which no event comes."""
        return int(self.offsets.shape[1]) - 1

    def events(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Sample, step, address and value of every event, in order of sample and step."""
        sizes = np.diff(self.offsets, axis=1)
        sample, step = np.nonzero(sizes)
        repeats = sizes[sample, step]
        first = int(self.offsets[0, 0]) if self.batch else 0
        last = first + int(repeats.sum())
        return (
            np.repeat(sample, repeats),
            np.repeat(step, repeats),
            self.address[first:last].astype(np.int64),
            (self.event[first:last] >> 1).astype(np.int64),
        )


def charge(levels: np.ndarray, encoded: bool) -> Train:
    """Levels [batch, n], all at step 0. `encoded` marks every event as charged."""
    from snnir.backends.simulator import kernels

    return Train(*kernels.charge(np.ascontiguousarray(levels, dtype=np.int64), encoded))


def unary(levels: np.ndarray, steps: int) -> tuple[Train, int]:
    """Levels [batch, n] as single spikes from step 0, one a step; and how many spikes `steps` cut off."""
    from snnir.backends.simulator import kernels

    offsets, address, event, lost = kernels.unary(np.ascontiguousarray(levels, dtype=np.int64), steps)
    return Train(offsets, address, event), int(lost)


def raised(train: Train, levels: np.ndarray) -> Train:
    """A train with levels [batch, n] added to its events of step 0."""
    from snnir.backends.simulator import kernels

    return Train(*kernels.raised(train.offsets, train.address, train.event, np.ascontiguousarray(levels, dtype=np.int64)))


def silent(batch: int) -> Train:
    """A train without any event."""
    return Train(np.zeros((batch, 1), np.int64), _NOTHING[:0], _NOTHING[:0])


def settled(train: Train, size: int) -> np.ndarray:
    """The tracers int64 [batch, size] after all events."""
    from snnir.backends.simulator import kernels

    result: np.ndarray = kernels.tracers(train.offsets, train.address, train.event, size)
    return result


def join(parts: Sequence[tuple[Train, AddressMap | None, int]], batch: int) -> Train:
    """One train of several, each after its address map and shifted by its number of addresses."""
    from snnir.backends.simulator import kernels

    if len(parts) == 1 and parts[0][1] is None and parts[0][2] == 0:
        return parts[0][0]
    steps = max((train.steps for train, _, _ in parts), default=0)
    counts = np.zeros((batch, steps), np.int64)
    for train, map_, _ in parts:
        kernels.count(train.offsets, train.address, map_ is not None, _NOTHING if map_ is None else map_.offsets, counts)
    offsets = np.zeros((batch, steps + 1), np.int64)
    ends = np.cumsum(counts).reshape(counts.shape)
    offsets[:, 1:] = ends
    offsets[1:, 0] = offsets[:-1, -1]
    total = int(counts.sum())
    address, event = np.empty(total, np.int32), np.empty(total, np.int32)
    cursors = ends - counts
    for train, map_, shift in parts:
        map_offsets, targets = (_NOTHING, _NOTHING) if map_ is None else (map_.offsets, map_.targets)
        kernels.place(
            train.offsets, train.address, train.event, map_ is not None, map_offsets, targets, shift, cursors, address, event
        )
    return Train(offsets, address, event)


def split(train: Train, parts: int, size: int) -> list[Train]:
    """Cut a train over parts*size addresses into `parts` trains over `size` addresses, at the same steps."""
    from snnir.backends.simulator import kernels

    offsets, address, event = kernels.split(train.offsets, train.address, train.event, parts, size)
    return [Train(offsets[part], address, event) for part in range(parts)]
