"""What populations take on a core: synapses into a neuron, and weights that a range of neurons needs stored."""

from __future__ import annotations

import math

import numpy as np

from snnir.backends.bundle.packing import least_bits
from snnir.machine.program import Summing, Synapse
from snnir.machine.synapses import currents

__all__ = ["fan_in", "memory_bits", "weight_bits"]


def weight_bits(synapse: Synapse) -> int:
    """Bits of one weight, two's complement."""
    bits, signed = least_bits(synapse.weights)
    return max(bits + (not signed), 2)


def fan_in(op: Summing) -> np.ndarray:
    """Synapses into every neuron, all sources together; int64 [n]."""
    total = np.zeros(op.train.size, np.int64)
    for synapse in op.synapses:
        size = int(np.prod(synapse.inputs, dtype=np.int64))
        total += currents(synapse, np.ones((1, size), np.int64), np.ones_like(synapse.weights))[0]
    return total


def memory_bits(op: Summing, first: int, last: int) -> int:
    """Bits of the weights that neurons first..last - 1 need, shared ones once; entries of lists carry their addresses."""
    return sum(_memory(synapse, first, last) for synapse in op.synapses)


def _memory(synapse: Synapse, first: int, last: int) -> int:
    neurons = np.arange(first, last) if synapse.spread is None else np.unique(synapse.spread.array()[first:last])
    bits = weight_bits(synapse)
    weights = synapse.weights
    if synapse.kind == "dense":
        return int(np.unique(neurons % weights.shape[0]).size) * int(weights.shape[1]) * bits
    if synapse.kind == "conv":
        positions = int(np.prod(synapse.outputs[1:], dtype=np.int64))
        return int(np.unique(neurons // positions).size) * int(np.prod(weights.shape[1:])) * bits
    if synapse.kind == "one":
        assert synapse.weight_map is not None
        return int(np.unique(synapse.weight_map.array()[neurons]).size) * bits
    assert synapse.rows is not None
    address: int = max(math.prod(synapse.inputs) - 1, 1).bit_length()
    return int(np.count_nonzero(np.isin(synapse.rows, neurons))) * (bits + address)
