"""Synapses as address-event lists (compressed rows by source address), for hardware that keeps synapse tables."""

from __future__ import annotations

import dataclasses

import numpy as np

from snnir.machine.program import IntegerProgram, Op, Scan, Summing, Synapse
from snnir.machine.synapses import to_neurons

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
    sources, targets, weights = to_neurons(synapse if gain is None else dataclasses.replace(synapse, gain=None))
    outputs = synapse.outputs if synapse.spread is None else (synapse.spread.size,)
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
