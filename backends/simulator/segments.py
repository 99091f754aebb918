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

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snnir.backends.simulator.convolutions import tables
from snnir.backends.simulator.kernels.constants import LINE
from snnir.backends.simulator.segment import CSR, DENSE, SCATTERED, SEGMENT
from snnir.machine.program import FewSpikes, IntegrateFire, Population, Summing, Synapse, Train
from snnir.machine.synapses import to_neurons

__all__ = ["Segments", "build"]


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


def build(op: Summing, trains: Mapping[str, Train]) -> Segments:
    """The segments of a population or readout, given the trains that its synapses read. Weights stay as narrow as they are: what
    they add is shifted by their gains.
    """
    shape, size = op.train.shape, op.train.size
    kinds = [_kind(synapse) for synapse in op.synapses]
    by_position = SCATTERED in kinds and DENSE not in kinds
    layout = np.arange(size, dtype=np.int32)
    if by_position:
        layout = np.ascontiguousarray(layout.reshape(shape[0], -1).T).reshape(-1)
    neuron_at = np.empty(size, np.int64)
    neuron_at[layout] = np.arange(size)

    total = op.drive() if isinstance(op, IntegrateFire) else op.initial[op.initial_map.array()]
    bound = 0
    table = np.zeros(len(op.synapses), SEGMENT)
    weights: list[np.ndarray] = []
    index: list[np.ndarray] = []
    address = weight_count = index_count = 0
    for row, given, kind in zip(table, op.synapses, kinds, strict=True):
        synapse, gains = _gains(given, kind, size)
        row["kind"], row["begin"], row["end"] = kind, address, address + int(np.prod(synapse.inputs))
        row["weights"] = weight_count
        if kind == DENSE:
            flat, entries = _dense(row, synapse)
        elif kind == SCATTERED:
            flat, entries = tables(row, synapse, by_position, index_count)
        else:
            flat, entries = _csr(row, synapse, neuron_at, index_count)
        row["shift"] = gains.min()
        if gains.max() > row["shift"]:
            row["gains"] = 1 + index_count + entries.size
            entries = np.concatenate([entries, (gains - row["shift"])[layout].astype(np.int32)])
        source = trains[given.source]
        bound += _largest_sum(dataclasses.replace(given, weights=given.expanded(), gain=None)) * max(-source.lo, source.hi)
        weights += [flat, np.zeros(-flat.size % LINE, flat.dtype)]
        index.append(entries)
        address, index_count = int(row["end"]), index_count + entries.size
        weight_count += flat.size + weights[-1].size
    # A membrane is a sum less thresholds times the tracer, which follows sums that were there before.
    uniform = isinstance(op, IntegrateFire) or (isinstance(op, Population | FewSpikes) and not op.staircase)
    theta = int(op.theta.max(initial=0)) if isinstance(op, Population | FewSpikes | IntegrateFire) and uniform else 0
    bound = 2 * (bound + int(np.abs(total).max(initial=0)) + theta)
    # Sums may wrap around within a step, but never after it: whatever has been delivered, tracers are in their range.
    weight_type, sum_type = _storage(weights, bound)
    return Segments(
        table,
        np.concatenate([np.zeros(0, weight_type), *(flat.astype(weight_type, copy=False) for flat in weights)]),
        np.concatenate([np.zeros(0, np.int32), *index]),
        total[layout].astype(sum_type),
        layout,
        tuple(synapse.name for synapse in op.synapses),
    )


def _gains(synapse: Synapse, kind: int, neurons: int) -> tuple[Synapse, np.ndarray]:
    """A synapse without a gain, and by how many bits what it adds is shifted: int64 [1], or one for each address of the neurons.

    Where the connections are listed one by one, gains of channels are part of the weights if these stay narrow, or if a neuron
    has several.
    """
    bare = dataclasses.replace(synapse, gain=None)
    if synapse.gain is None:
        return bare, np.zeros(1, np.int64)
    gain = synapse.gain.reshape(-1)
    if gain.size == 1:
        return bare, gain
    if kind == CSR:
        whole = dataclasses.replace(bare, weights=synapse.expanded())
        gains = _gains_of_neurons(bare, whole, neurons)
        return (whole, np.zeros(1, np.int64)) if gains is None else (bare, gains)
    if kind == DENSE:
        return bare, np.tile(gain, synapse.groups)
    return bare, np.repeat(gain, int(np.prod(synapse.outputs)) // gain.size)


def _gains_of_neurons(bare: Synapse, whole: Synapse, neurons: int) -> np.ndarray | None:
    """By how many bits the weights of `bare` are shifted into each neuron, int64[neurons], to be those of `whole`; None where
    a neuron has weights with different shifts, or where the whole weights are narrow."""
    (_, target, weight), (_, _, shifted) = to_neurons(bare), to_neurons(whole)
    if np.abs(shifted).max(initial=0) <= np.iinfo(np.int8).max:
        return None
    target, weight, shifted = target[weight != 0], weight[weight != 0], shifted[weight != 0]
    each = np.log2(shifted // weight).astype(np.int64)
    gains = np.zeros(neurons, np.int64)
    np.maximum.at(gains, target, each)
    return gains if (gains[target] == each).all() else None


def _kind(synapse: Synapse) -> int:
    if synapse.spread is not None or synapse.kind not in ("dense", "conv"):
        return CSR
    if synapse.kind == "dense":
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
    weights = synapse.weights
    if synapse.kind == "one":
        return int(np.abs(weights).max(initial=0))
    if synapse.kind in ("list", "csr"):
        sums = np.bincount(synapse.rows if synapse.rows is not None else [], np.abs(weights.astype(np.float64)), minlength=1)
        return int(sums.max()) + 1
    rows = weights.reshape(weights.shape[0], -1)
    positive = np.maximum(rows, 0).sum(axis=1, dtype=np.int64)
    negative = np.minimum(rows, 0).sum(axis=1, dtype=np.int64)
    return int((positive - negative).max(initial=0))


def _dense(row: np.void, synapse: Synapse) -> tuple[np.ndarray, np.ndarray]:
    outputs, inputs = synapse.weights.shape
    row["inputs"], row["outputs"] = inputs, outputs
    return synapse.weights.T.reshape(-1), np.zeros(0, np.int32)


def _csr(row: np.void, synapse: Synapse, neuron_at: np.ndarray, index_count: int) -> tuple[np.ndarray, np.ndarray]:
    source, target, weight = to_neurons(synapse)
    size = int(np.prod(synapse.inputs))
    order = np.argsort(source, kind="stable")
    pointers = np.zeros(size + 1, np.int32)
    np.cumsum(np.bincount(source, minlength=size), out=pointers[1:])
    row["pointers"], row["targets"] = index_count, index_count + size + 1
    row["fan"] = int((np.diff(pointers) == 1).all())
    return weight[order], np.concatenate([pointers, neuron_at[target[order]].astype(np.int32)])
