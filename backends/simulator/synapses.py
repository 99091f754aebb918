"""Synapses as arrays: which sums an event adds which weights to.

Every synapse into one population becomes one segment, a row of integers that says where its events' addresses begin
and end, what kind it is and where its weights stand in one flat buffer:

    dense      a spike adds one contiguous row of the transposed weights
    scattered  a convolution of up to three axes, never unrolled: for each input position the runs of weights that a spike of
               any channel adds there, each to output positions side by side
    collected  the same, and for each output position the input positions and taps that it reads
    csr        one entry a synapse: diagonal, sparse, and whatever fits none of the above

Convolutions hold their weights twice, the second time negated, for spikes of -1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snnir.errors import UnsupportedError
from snnir.ir.op import Op
from snnir.ir.ops import Conv, Dense, Diagonal, Sparse
from snnir.ir.ops.rules import pad_amounts

__all__ = ["SEGMENT", "Segments", "Synapse", "build"]

_DENSE, _SCATTERED, _COLLECTED, _CSR = range(4)  # as in kernels.py, which is not imported before a simulation runs

SEGMENT = np.dtype(
    [
        (name, np.int64)
        for name in (
            "kind",
            "begin",  # addresses
            "end",
            "weights",  # where they begin: of the population's, in a program of all
            "inputs",  # dense: those of a row, and its length
            "outputs",
            "pointers",  # csr: in the index, where the entries of each address begin; and the neurons
            "targets",
            "addresses",  # convolutions, in the index: see `_conv`
            "runs",
            "fans",
            "map_stride",  # from one map of a position to the next
            "negated",  # where the negated weights begin behind the others
            "maps",  # collected: maps of a position
            "spread",  # weights of a channel
            "positions",  # of the input
            "places",  # positions of the output
            "reads",  # in the index: pointers of the places to pairs of an input position and a tap's weights
            "links",  # number of these pairs
            "longest",  # most channels and taps that one place reads
            "width",  # room of an input position
        )
    ]
)
"""What one segment consists of."""


@dataclass(frozen=True)
class Synapse:
    """A synaptic op with its constants: input and output shapes are those of one sample.

    `reach` is the largest magnitude of the input's tracer.
    """

    name: str
    op: Op
    constants: tuple[np.ndarray, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    reach: int

    @property
    def weight(self) -> np.ndarray:
        """The integer weights as the graph holds them."""
        return self.constants[0]

    @property
    def bias(self) -> np.ndarray | None:
        """The op's own bias, shaped to spread over a sample; charged once, like the population's."""
        if isinstance(self.op, Conv) and len(self.constants) == 2:
            return self.constants[1].reshape(-1, *([1] * (len(self.outputs) - 1)))
        return self.constants[1] if isinstance(self.op, Dense) and len(self.constants) == 2 else None


@dataclass(frozen=True)
class Segments:
    """All synapses of one population, as the kernels take them.

    `layout[i]` is the address of neuron i: convolutions keep the maps of one position side by side.
    """

    table: np.ndarray
    weights: np.ndarray
    index: np.ndarray
    bias: np.ndarray
    layout: np.ndarray
    names: tuple[str, ...]


def build(synapses: Sequence[Synapse], bias: np.ndarray, shape: tuple[int, ...], theta: int) -> Segments:
    """The segments of a population of `shape` (one sample) whose bias spreads over it and whose largest theta is `theta`.

    Raises `UnsupportedError` where a current does not spread over `shape`.
    """
    size = int(np.prod(shape))
    kinds = [_kind(synapse, shape) for synapse in synapses]
    by_position = _SCATTERED in kinds and _DENSE not in kinds
    layout = np.arange(size, dtype=np.int32)
    if by_position:
        layout = np.ascontiguousarray(layout.reshape(shape[0], -1).T).reshape(-1)
    neuron_at = np.empty(size, np.int64)
    neuron_at[layout] = np.arange(size)

    total = np.broadcast_to(bias, shape).astype(np.int64)
    bound = 0
    table = np.zeros(len(synapses), SEGMENT)
    weights: list[np.ndarray] = []
    index: list[np.ndarray] = []
    address = weight_count = index_count = 0
    for row, synapse, kind in zip(table, synapses, kinds, strict=True):
        row["kind"], row["begin"], row["end"] = kind, address, address + int(np.prod(synapse.inputs))
        row["weights"] = weight_count
        if kind == _DENSE:
            flat, entries = _dense(row, synapse)
        elif kind == _SCATTERED:
            flat, entries = _conv(row, synapse, by_position, index_count)
        else:
            flat, entries = _csr(row, synapse, shape, neuron_at, index_count)
        if synapse.bias is not None:
            total = total + synapse.bias
        bound += _largest_sum(synapse) * synapse.reach
        weights.append(flat)
        index.append(entries)
        address, weight_count, index_count = int(row["end"]), weight_count + flat.size, index_count + entries.size
    # A membrane is a sum less what the level is worth, which follows sums that were there before.
    bound = 2 * (bound + int(np.abs(total).max(initial=0)) + theta)
    # Sums may wrap around within a step, but never after it: whatever has been delivered, tracers are in their range.
    weight_type, sum_type = _storage(weights, bound)
    return Segments(
        table,
        np.concatenate([flat.astype(weight_type, copy=False) for flat in weights]),
        np.concatenate([np.zeros(0, np.int32), *index]),
        total.reshape(-1)[layout].astype(sum_type),
        layout,
        tuple(synapse.name for synapse in synapses),
    )


def _kind(synapse: Synapse, shape: tuple[int, ...]) -> int:
    if synapse.outputs != shape or not isinstance(synapse.op, Dense | Conv):
        return _CSR
    if isinstance(synapse.op, Dense):
        return _DENSE
    return _SCATTERED if len(synapse.inputs) <= 4 else _CSR


def _storage(weights: Sequence[np.ndarray], bound: int) -> tuple[type[np.signedinteger], type[np.signedinteger]]:
    least = min((int(flat.min(initial=0)) for flat in weights), default=0)
    most = max((int(flat.max(initial=0)) for flat in weights), default=0)
    if bound < np.iinfo(np.int32).max:
        for dtype in (np.int8, np.int16):
            if np.iinfo(dtype).min <= least and most <= np.iinfo(dtype).max:
                return dtype, np.int32
    return np.int64, np.int64


def _largest_sum(synapse: Synapse) -> int:
    """A bound on the sum of the magnitudes of all weights into one neuron."""
    weight = synapse.weight
    if isinstance(synapse.op, Diagonal):
        return int(np.abs(weight.astype(np.int64)).max(initial=0))
    if isinstance(synapse.op, Sparse):
        sums = np.bincount(synapse.constants[1], np.abs(weight.astype(np.float64)), minlength=1)
        return int(sums.max()) + 1
    rows = weight.reshape(weight.shape[0], -1)
    positive = np.maximum(rows, 0).sum(axis=1, dtype=np.int64)
    negative = np.minimum(rows, 0).sum(axis=1, dtype=np.int64)
    return int((positive - negative).max(initial=0))


def _dense(row: np.void, synapse: Synapse) -> tuple[np.ndarray, np.ndarray]:
    outputs, inputs = synapse.weight.shape
    row["inputs"], row["outputs"] = inputs, outputs
    return synapse.weight.T.reshape(-1), np.zeros(0, np.int32)


def _conv(row: np.void, synapse: Synapse, by_position: bool, index_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights by input channel, tap and map, then the same negated. The index holds: for each address where its weights
    begin, its position, and its group's first neuron; for each position its runs: where in a channel's weights, at which
    neuron, how many weights; for each position the number of its synapses; and, where all channels reach all maps of a
    position side by side, for each place of the output the positions and the taps' weights that it reads.
    """
    op, weight = synapse.op, synapse.weight.astype(np.int32)
    assert isinstance(op, Conv)
    maps, per_group = weight.shape[0] // op.groups, weight.shape[1]
    spatial, missing = weight.ndim - 2, 5 - weight.ndim
    taps = (1,) * missing + weight.shape[2:]
    sizes = (1,) * missing + synapse.inputs[1:]
    positions = (1,) * missing + synapse.outputs[1:]
    pads = pad_amounts(op.padding, spatial)
    order = _tap_order(op, taps[2])
    collected = by_position and op.groups == 1
    tables, links = [], []
    for axis in range(3):
        own = axis - missing
        stride, dilation, before = (op.stride[own], op.dilation[own], pads[own][0]) if own >= 0 else (1, 1, 0)
        along = order if collected and axis == 2 else None
        found = _links(sizes[axis], taps[axis], positions[axis], stride, dilation, before, along)
        tables.append(_taps(sizes[axis], found, along is not None))
        links.append(found)
    strides = (positions[1] * positions[2], positions[2], 1)
    map_stride = 1 if by_position else int(np.prod(positions))
    if by_position:
        strides = tuple(stride * weight.shape[0] for stride in strides)
    pointers, runs = _runs(tables, taps, strides, maps)
    size, spread = int(np.prod(sizes)), maps * int(np.prod(taps))
    channel = np.repeat(np.arange(synapse.inputs[0]), size)
    position = np.tile(np.arange(size), synapse.inputs[0])
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
        row["kind"], row["reads"] = _COLLECTED, row["fans"] + fans.size
        row["links"], row["longest"] = len(reads), int(np.diff(begins).max(initial=0)) * synapse.inputs[0]
        row["width"] = synapse.inputs[0] + 8
        parts += [2 * begins + int(row["reads"]) + begins.size, reads.reshape(-1)]
    grouped = weight.reshape(op.groups, maps, per_group, -1, taps[2])
    if collected:
        grouped = grouped[..., order]
    flat = grouped.transpose(0, 2, 3, 4, 1).reshape(-1)
    return np.concatenate([flat, -flat]), np.concatenate(parts).astype(np.int32)


def _tap_order(op: Conv, taps: int) -> list[int]:
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


def _csr(
    row: np.void, synapse: Synapse, shape: tuple[int, ...], neuron_at: np.ndarray, index_count: int
) -> tuple[np.ndarray, np.ndarray]:
    source, target, weight = _connections(synapse)
    size = int(np.prod(synapse.inputs))
    if synapse.outputs != shape:
        source, target, weight = _spread(synapse, shape, source, target, weight)
    order = np.argsort(source, kind="stable")
    pointers = np.zeros(size + 1, np.int32)
    np.cumsum(np.bincount(source, minlength=size), out=pointers[1:])
    row["pointers"], row["targets"] = index_count, index_count + size + 1
    return weight[order], np.concatenate([pointers, neuron_at[target[order]].astype(np.int32)])


def _spread(
    synapse: Synapse, shape: tuple[int, ...], source: np.ndarray, target: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Connections to a smaller current as connections to all the neurons that it spreads over."""
    count = int(np.prod(synapse.outputs))
    try:
        held = np.broadcast_to(np.arange(count).reshape(synapse.outputs), shape).reshape(-1)
    except ValueError:
        raise UnsupportedError(
            f"current {synapse.name}: {list(synapse.outputs)} a sample does not spread over a population of {list(shape)}"
        ) from None
    neurons = np.argsort(held, kind="stable")
    copies = np.bincount(held, minlength=count)
    starts = np.cumsum(copies) - copies
    repeats = copies[target]
    within = np.arange(int(repeats.sum())) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    return np.repeat(source, repeats), neurons[np.repeat(starts[target], repeats) + within], np.repeat(weight, repeats)


def _connections(synapse: Synapse) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every synapse as source address, target address and weight."""
    op, weight = synapse.op, synapse.weight
    size, count = int(np.prod(synapse.inputs)), int(np.prod(synapse.outputs))
    sources = np.arange(size).reshape(1, *synapse.inputs)
    if isinstance(op, Sparse):
        rows, columns = synapse.constants[1:]
        return columns, rows, weight
    if isinstance(op, Diagonal):
        shape = (1, *synapse.outputs)
        return np.broadcast_to(sources, shape).reshape(-1), np.arange(count), np.broadcast_to(weight, shape).reshape(-1)
    if isinstance(op, Dense):
        outputs, inputs = weight.shape
        groups = count // max(outputs, 1)
        source = np.broadcast_to(np.arange(size).reshape(groups, 1, inputs), (groups, outputs, inputs))
        target = np.broadcast_to(np.arange(count).reshape(groups, outputs, 1), source.shape)
        return source.reshape(-1), target.reshape(-1), np.broadcast_to(weight, source.shape).reshape(-1)
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, weight.dtype))]
    for tap in np.ndindex(weight.shape[1:]):
        one = np.zeros(weight.shape, np.int64)
        one[(slice(None), *tap)] = 1
        held = op.evaluate(sources + 1, one)[0].reshape(weight.shape[0], -1)  # 0: this tap lies in the padding
        target = np.flatnonzero(held)
        found.append((held.reshape(-1)[target] - 1, target, weight[(slice(None), *tap)][target // held.shape[1]]))
    source, target, weights = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return source, target, weights
