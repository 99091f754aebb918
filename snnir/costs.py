"""What a network costs: multiply-accumulates of the dense network, synaptic operations of the spiking one, energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnir.ir import Graph, Value
from snnir.ir.execute import bind_sizes
from snnir.ir.ops import Conv, Linear, Mul, Scan, SparseLinear

if TYPE_CHECKING:
    from snnir.backends.simulator import SimulationResult

__all__ = ["ACCUMULATE_PJ", "ENERGY_SOURCE", "MAC_PJ", "Energy", "dense_macs", "estimate_energy"]

MAC_PJ = 4.6
"""Picojoules of a 32-bit floating-point multiply-accumulate (3.7 for the product, 0.9 for the sum) at 45 nm."""
ACCUMULATE_PJ = 0.9
"""Picojoules of a 32-bit floating-point addition at 45 nm."""
ENERGY_SOURCE = "M. Horowitz, Computing's energy problem, ISSCC 2014: 45 nm, arithmetic only, no memory or routing"


@dataclass(frozen=True)
class Energy:
    """Estimated nanojoules per sample."""

    dense: float
    """Every multiply-accumulate of the dense network at `MAC_PJ`."""
    spiking: float
    """Charges (which multiply) at `MAC_PJ`, all other synaptic operations at `ACCUMULATE_PJ`."""


def dense_macs(quantized: Graph, inputs: Mapping[str, np.ndarray]) -> int:
    """Multiply-accumulates per sample of the network as dense layers (one-to-one and sparse maps by their weights)."""
    return _macs(quantized, bind_sizes(quantized, inputs) | {"N": 1})


def _macs(graph: Graph, sizes: Mapping[str, int]) -> int:
    total = 0
    for node in graph.nodes:
        op = node.op
        if isinstance(op, Linear | Conv):
            weight = node.operands[1].array
            total += _elements(node.output, sizes) * int(np.prod(weight.shape[1:]))
        elif isinstance(op, SparseLinear):
            total += node.operands[1].array.size
        elif isinstance(op, Mul):
            total += _elements(node.output, sizes)
        elif isinstance(op, Scan) and node.body is not None:
            sequence = node.operands[op.states].type.substitute(dict(sizes)).shape
            total += int(str(sequence[op.axis])) * _macs(node.body, sizes)
    return total


def _elements(value: Value, sizes: Mapping[str, int]) -> int:
    return int(np.prod([int(str(size)) for size in value.type.substitute(dict(sizes)).shape]))


def estimate_energy(macs: int, result: SimulationResult) -> Energy:
    """An estimate from operation counts alone; see `ENERGY_SOURCE` for what it leaves out."""
    charges, synops = float(result.total_charges.mean()), float(result.total_synops.mean())
    return Energy(macs * MAC_PJ / 1e3, (charges * MAC_PJ + (synops - charges) * ACCUMULATE_PJ) / 1e3)
