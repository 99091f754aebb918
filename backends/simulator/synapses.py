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

from snnir.backends.simulator.convolutions import tables
from snnir.backends.simulator.segment import CSR, DENSE, SCATTERED, SEGMENT
from snnir.errors import UnsupportedError
from snnir.ir.op import Op
from snnir.ir.ops import Conv, Dense, Diagonal, Sparse

__all__ = ["Segments", "Synapse", "build"]


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
    by_position = SCATTERED in kinds and DENSE not in kinds
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
        if kind == DENSE:
            flat, entries = _dense(row, synapse)
        elif kind == SCATTERED:
            assert isinstance(synapse.op, Conv)
            shapes = synapse.inputs, synapse.outputs
            flat, entries = tables(row, synapse.op, synapse.weight, *shapes, by_position, index_count)
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
        return CSR
    if isinstance(synapse.op, Dense):
        return DENSE
    return SCATTERED if len(synapse.inputs) <= 4 else CSR


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
