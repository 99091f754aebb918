"""What a network costs: multiply-accumulates of the dense network, synaptic operations of the spiking one, energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snnir.ir import Graph, Node, Value
from snnir.ir.dims import concrete
from snnir.ir.execute import bind_sizes
from snnir.ir.ops import Conv, Function, Linear, MatMul, Movement, Mul, Product, Scan, SparseLinear

__all__ = ["ACCUMULATE_PJ", "ENERGY_SOURCE", "MAC_PJ", "Energy", "Macs", "dense_macs", "estimate_energy", "host_work"]

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


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates per sample of the dense network, by who computes them."""

    spiking: int
    host: int

    @property
    def spiking_share(self) -> float:
        """The share of spikes; 1 where there is nothing to multiply."""
        total = self.spiking + self.host
        return self.spiking / total if total else 1.0


def dense_macs(quantized: Graph, inputs: Mapping[str, np.ndarray]) -> Macs:
    """Multiply-accumulates per sample of the network as dense layers (one-to-one and sparse maps by their weights)."""
    return Macs(*_macs(quantized, bind_sizes(quantized, inputs) | {"N": 1}))


def host_work(graph: Graph) -> list[str]:
    """The nodes of a quantized or spiking graph that the host computes in real numbers, data movement aside."""
    integers = {id(node.body) for _, node in graph.walk() if isinstance(node.op, Function)}
    return [
        f"{node.describe()} ({node.op.name})"
        for where, node in graph.walk()
        if node.body is None
        and id(where) not in integers
        and not isinstance(node.op, Movement)
        and _on_host(node)
        and any(not value.is_constant for value in node.operands)
    ]


def _on_host(node: Node) -> bool:
    return all(value.type.is_plain for value in (*node.operands, *node.outputs))


def _macs(graph: Graph, sizes: Mapping[str, int]) -> tuple[int, int]:
    spiking = host = 0
    for node in graph.nodes:
        op = node.op
        if isinstance(op, Scan) and node.body is not None:
            sequence = node.operands[op.states].type.substitute(dict(sizes)).shape
            inside = _macs(node.body, sizes)
            spiking += concrete(sequence[op.axis]) * inside[0]
            host += concrete(sequence[op.axis]) * inside[1]
            continue
        count = _node_macs(node, sizes)
        if _on_host(node):
            host += count
        else:
            spiking += count
    return spiking, host


def _node_macs(node: Node, sizes: Mapping[str, int]) -> int:
    op = node.op
    if isinstance(op, Linear | Conv):
        return _elements(node.output, sizes) * int(np.prod(node.operands[1].type.static_shape("weights")[1:]))
    if isinstance(op, MatMul):
        inner = node.operands[0].type.substitute(dict(sizes)).shape[-1]
        return _elements(node.output, sizes) * concrete(inner)
    if isinstance(op, SparseLinear):
        return int(node.operands[1].array.size)
    return _elements(node.output, sizes) if isinstance(op, Mul | Product) else 0


def _elements(value: Value, sizes: Mapping[str, int]) -> int:
    return int(np.prod([concrete(size) for size in value.type.substitute(dict(sizes)).shape]))


def estimate_energy(macs: int, synops: float, charges: float) -> Energy:
    """An estimate from operation counts per sample alone; see `ENERGY_SOURCE` for what it leaves out."""
    return Energy(macs * MAC_PJ / 1e3, (charges * MAC_PJ + (synops - charges) * ACCUMULATE_PJ) / 1e3)
