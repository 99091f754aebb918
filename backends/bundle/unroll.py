"""Synapses as address-event lists (compressed rows by source address), for hardware that keeps synapse tables."""

from __future__ import annotations

import dataclasses

import numpy as np

from snnir.ir.ops import Conv
from snnir.machine.program import IntegerProgram, Op, Scan, Summing, Synapse
from snnir.machine.synapses import connections

__all__ = ["unroll_synapse", "unrolled"]


def unrolled(program: IntegerProgram) -> IntegerProgram:
    """The program with every synapse written out, one entry for each connection, `spread` included."""
    return dataclasses.replace(program, ops=tuple(_op(op) for op in program.ops))


def _op(op: Op) -> Op:
    if isinstance(op, Scan):
        return dataclasses.replace(op, ops=tuple(_op(inner) for inner in op.ops))
    if isinstance(op, Summing):
        return dataclasses.replace(op, synapses=tuple(unroll_synapse(synapse) for synapse in op.synapses))
    return op


def unroll_synapse(synapse: Synapse) -> Synapse:
    """One synapse as lists: from source address a, weights[k] go to neurons rows[k] for columns[a] <= k < columns[a + 1].

    A gain that is the same for all stays one; others are multiplied into the weights.
    """
    gain = synapse.gain if synapse.gain is not None and len(synapse.gain) == 1 else None
    sources, targets, weights = _connections(synapse if gain is None else dataclasses.replace(synapse, gain=None))
    outputs = synapse.outputs
    if synapse.spread is not None:
        held = synapse.spread.array()
        outputs = (held.size,)
        order = np.argsort(held, kind="stable")
        copies = np.bincount(held, minlength=int(np.prod(synapse.outputs, dtype=np.int64)))
        starts = np.cumsum(copies) - copies
        repeats = copies[targets]
        within = np.arange(int(repeats.sum())) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        sources, weights = np.repeat(sources, repeats), np.repeat(weights, repeats)
        targets = order[np.repeat(starts[targets], repeats) + within]
    kept = weights != 0
    sources, targets, weights = sources[kept], targets[kept], weights[kept]
    order = np.lexsort((targets, sources))
    size = int(np.prod(synapse.inputs, dtype=np.int64))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(sources, minlength=size))]).astype(np.int64)
    return Synapse(
        synapse.name,
        synapse.source,
        "csr",
        weights[order],
        synapse.inputs,
        outputs,
        rows=targets[order],
        columns=offsets,
        gain=gain,
    )


def _connections(synapse: Synapse) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source address, current and weight, gain included, of every synapse."""
    weights = synapse.expanded()
    size, count = (int(np.prod(shape, dtype=np.int64)) for shape in (synapse.inputs, synapse.outputs))
    if synapse.kind in ("list", "csr"):
        return connections(synapse)
    if synapse.kind == "one":
        assert synapse.weight_map is not None
        return np.arange(size), np.arange(count), weights[synapse.weight_map.array()]
    if synapse.kind == "dense":
        outputs, inputs = weights.shape
        shape = synapse.groups, outputs, inputs
        source = np.broadcast_to(np.arange(size).reshape(synapse.groups, 1, inputs), shape)
        target = np.broadcast_to(np.arange(count).reshape(synapse.groups, outputs, 1), shape)
        return source.reshape(-1), target.reshape(-1), np.broadcast_to(weights, shape).reshape(-1)
    conv = Conv(synapse.stride, synapse.padding, synapse.dilation, synapse.groups)
    places = np.arange(1, size + 1).reshape(1, *synapse.inputs)
    parts = []
    for tap in np.ndindex(weights.shape[1:]):
        one = np.zeros(weights.shape, np.int64)
        one[(slice(None), *tap)] = 1
        held = conv.evaluate(places, one)[0].reshape(weights.shape[0], -1)  # 0: this tap lies in the padding
        target = np.flatnonzero(held)
        parts.append((held.reshape(-1)[target] - 1, target, weights[(slice(None), *tap)][target // held.shape[1]]))
    source, target, weight = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return source, target, weight
