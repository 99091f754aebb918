"""Convolutions as tables of up to three axes, never unrolled: what a spike at one input position reaches, and what reaches one
output position.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snnir.backends.simulator.segment import COLLECTED
from snnir.errors import UnsupportedError
from snnir.machine.program import Synapse

__all__ = ["tables"]


def tables(row: np.void, op: Synapse, by_position: bool, index_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Fill in the row of a convolution from inputs[channels, ...] to outputs[maps, ...], whose index begins at `index_count`.

    Returns weights by input channel, tap and map, then the same negated; and the index. That holds: for each address where
    its weights begin, its position, and its group's first neuron; for each position its runs: where in a channel's
    weights, at which neuron, how many weights; for each position the number of its synapses; and, where all channels
    reach all maps of a position side by side, for each place of the output the positions and the taps' weights that it reads.
    """
    weight, inputs, outputs = op.weights.astype(np.int32), op.inputs, op.outputs
    maps, per_group = weight.shape[0] // op.groups, weight.shape[1]
    missing = 5 - weight.ndim
    taps = (1,) * missing + weight.shape[2:]
    sizes = (1,) * missing + inputs[1:]
    positions = (1,) * missing + outputs[1:]
    order = _tap_order(op, taps[2])
    collected = by_position and op.groups == 1
    met, links = [], []
    for axis in range(3):
        own = axis - missing
        stride, dilation, before = (op.stride[own], op.dilation[own], op.padding[own]) if own >= 0 else (1, 1, 0)
        along = order if collected and axis == 2 else None
        found = _links(sizes[axis], taps[axis], positions[axis], stride, dilation, before, along)
        met.append(_taps(sizes[axis], found, along is not None))
        links.append(found)
    strides = (positions[1] * positions[2], positions[2], 1)
    map_stride = 1 if by_position else int(np.prod(positions))
    if by_position:
        strides = tuple(stride * weight.shape[0] for stride in strides)
    pointers, runs = _runs(met, taps, strides, maps)
    size, spread = int(np.prod(sizes)), maps * int(np.prod(taps))
    channel = np.repeat(np.arange(inputs[0]), size)
    position = np.tile(np.arange(size), inputs[0])
    addresses = np.stack([channel * spread, position, channel // per_group * maps * map_stride], axis=1)
    fans = np.diff(np.concatenate([[0], np.cumsum(runs[:, 2])])[pointers // 3])
    row["map_stride"], row["maps"], row["spread"] = map_stride, maps, spread
    row["negated"], row["positions"], row["places"] = weight.size, size, int(np.prod(positions))
    parts = [addresses.reshape(-1), pointers, runs.reshape(-1), fans]
    row["addresses"], row["runs"] = index_count, index_count + addresses.size
    parts[1] = pointers + index_count + addresses.size + pointers.size
    row["fans"] = index_count + sum(part.size for part in parts[:3])
    if collected:
        begins, reads = _reads(links, sizes, taps, positions, maps)
        row["kind"], row["reads"] = COLLECTED, row["fans"] + fans.size
        row["links"], row["longest"] = len(reads), int(np.diff(begins).max(initial=0)) * inputs[0]
        row["width"] = inputs[0] + 8
        parts += [2 * begins + int(row["reads"]) + begins.size, reads.reshape(-1)]
    grouped = weight.reshape(op.groups, maps, per_group, -1, taps[2])
    if collected:
        grouped = grouped[..., order]
    flat = grouped.transpose(0, 2, 3, 4, 1).reshape(-1)
    index = np.concatenate(parts)
    if max(2 * weight.size, int(index.max(initial=0))) > np.iinfo(np.int32).max:
        raise UnsupportedError(
            f"a convolution of {weight.size} weights over {size} positions is larger than the simulator's tables of 32 bits can "
            "say; split it into groups or parts"
        )
    return np.concatenate([flat, -flat]), index.astype(np.int32)


def _tap_order(op: Synapse, taps: int) -> list[int]:
    """The innermost taps in the order in which one input position meets them at output positions side by side."""
    step = max(op.stride[-1] // op.dilation[-1], 1)
    return sorted(range(taps), key=lambda tap: (tap % step, -tap))


def _links(size: int, taps: int, positions: int, stride: int, dilation: int, before: int, order: list[int] | None) -> np.ndarray:
    """Rows of an output position, a tap and the input position that it reads there, along one axis of `size` inputs.

    With `order`, the tap is its place in that order.
    """
    position, tap = np.divmod(np.arange(positions * taps), max(taps, 1))
    x = position * stride + tap * dilation - before
    place = tap if order is None else np.argsort(order)[tap]
    return np.asarray(np.stack([position, place, x], axis=1)[(x >= 0) & (x < size)])


def _taps(size: int, links: np.ndarray, joined: bool) -> tuple[np.ndarray, np.ndarray]:
    """For each input position, rows of a tap, the output position that it feeds, and the length of the run.

    Returns how many rows each position has, and all rows. If `joined`, taps side by side that feed positions side by side
    are one run.
    """
    found: list[list[list[int]]] = [[] for _ in range(size)]
    for position, tap, x in links.tolist():
        entries = found[x]
        if joined and entries and (tap, position) == (entries[-1][0] + entries[-1][2], sum(entries[-1][1:])):
            entries[-1][2] += 1
        else:
            entries.append([tap, position, 1])
    rows = [entry for entries in found for entry in entries]
    return np.array([len(entries) for entries in found], np.int64), np.array(rows, np.int64).reshape(-1, 3)


def _reads(
    links: Sequence[np.ndarray], sizes: Sequence[int], taps: Sequence[int], positions: Sequence[int], maps: int
) -> tuple[np.ndarray, np.ndarray]:
    """For each output position of three axes where its rows begin, and rows of an input position and of where the weights of
    the tap begin that reads it.
    """
    first, second, third = np.meshgrid(*(np.arange(len(axis)) for axis in links), indexing="ij")
    rows = [axis[chosen.reshape(-1)] for axis, chosen in zip(links, (first, second, third), strict=True)]
    place, tap, x = (
        (rows[0][:, column] * along[1] + rows[1][:, column]) * along[2] + rows[2][:, column]
        for column, along in enumerate((positions, taps, sizes))
    )
    order = np.argsort(place, kind="stable")
    begins = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=int(np.prod(positions))))])
    return begins, np.stack([x, tap * maps], axis=1)[order]


def _runs(
    tables: Sequence[tuple[np.ndarray, np.ndarray]], taps: Sequence[int], strides: Sequence[int], maps: int
) -> tuple[np.ndarray, np.ndarray]:
    """The runs of each position of three axes: pointers to their numbers, and rows of weight, neuron and length."""
    (count0, rows0), (count1, rows1), (count2, rows2) = tables
    counts = (count0[:, None, None] * count1[:, None] * count2).reshape(-1)
    ends = np.cumsum(counts)
    position = np.repeat(np.arange(counts.size), counts)
    within = np.arange(int(counts.sum())) - np.repeat(ends - counts, counts)
    x0, x1, x2 = np.unravel_index(position, (count0.size, count1.size, count2.size))
    size1, size2 = count1[x1], count2[x2]
    entry0 = rows0[(np.cumsum(count0) - count0)[x0] + within // np.maximum(size1 * size2, 1)]
    entry1 = rows1[(np.cumsum(count1) - count1)[x1] + within // np.maximum(size2, 1) % np.maximum(size1, 1)]
    entry2 = rows2[(np.cumsum(count2) - count2)[x2] + within % np.maximum(size2, 1)]
    weight = ((entry0[:, 0] * taps[1] + entry1[:, 0]) * taps[2] + entry2[:, 0]) * maps
    neuron = entry0[:, 1] * strides[0] + entry1[:, 1] * strides[1] + entry2[:, 1] * strides[2]
    return 3 * np.concatenate([[0], ends]), np.stack([weight, neuron, maps * entry2[:, 2]], axis=1)
