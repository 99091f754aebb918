"""What a network costs: multiply-accumulates of the dense network, synaptic operations of the spiking one, energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnir.ir import Graph, Node, Value
from snnir.ir.dims import concrete
from snnir.ir.execute import bind_sizes
from snnir.ir.ops import Conv, Fs, Function, Linear, MatMul, Movement, Mul, Population, Product, Scan, SparseLinear

if TYPE_CHECKING:
    from snnir.machine.results import SimulationResult

__all__ = [
    "ACCUMULATE_PJ",
    "ENERGY_SOURCE",
    "ENERGY_TABLES",
    "MAC_PJ",
    "Energy",
    "EnergyTable",
    "Macs",
    "Operations",
    "dense_macs",
    "estimate_energy",
    "host_work",
    "node_macs",
    "on_host",
    "operations_of",
]

MAC_PJ = 4.6
"""Picojoules of a 32-bit floating-point multiply-accumulate (3.7 for the product, 0.9 for the sum) at 45 nm."""
ACCUMULATE_PJ = 0.9
"""Picojoules of a 32-bit floating-point addition at 45 nm."""
ENERGY_SOURCE = "M. Horowitz, Computing's energy problem, ISSCC 2014: 45 nm, arithmetic only, no memory or routing"


@dataclass(frozen=True)
class EnergyTable:
    """Picojoules of single operations."""

    source: str
    add: float
    """32-bit integer addition; a shift, or a comparison, counts as one."""
    multiply: float
    """8-bit integer multiplication."""
    float_mac: float
    """32-bit floating-point multiplication and addition."""
    access: float
    """64 bits of an 8 KiB SRAM; an access of fewer bits counts by its bits."""


ENERGY_TABLES = {
    "45 nm": EnergyTable("M. Horowitz, Computing's energy problem, ISSCC 2014", 0.1, 0.2, 4.6, 10.0),
    "7 nm": EnergyTable("N. Jouppi et al., Ten lessons from three generations ..., ISCA 2021, table 2", 0.03, 0.07, 1.69, 7.5),
}
"""Energy per operation by technology, each with its source."""


@dataclass(frozen=True)
class Operations:
    """What one sample takes, operations of all kinds counted separately."""

    additions: float = 0
    """Of weights to sums, shifted or not."""
    multiplications: float = 0
    """Of weights by charges and graded events, and of factors of products, each with an addition."""
    comparisons: float = 0
    """With thresholds, of every neuron at every step in which it may fire."""
    bits_read: float = 0
    """Weights, and sums before they change."""
    bits_written: float = 0

    @classmethod
    def dense(cls, macs: int) -> Operations:
        """A dense int8 network: every weight and activation read (8 bits each), sums held in registers."""
        return cls(0, macs, 0, 16 * macs, 0)

    def arithmetic(self, table: EnergyTable) -> float:
        """Nanojoules of all arithmetic."""
        adding = self.additions + self.multiplications + self.comparisons
        return (adding * table.add + self.multiplications * table.multiply) / 1e3

    def memory(self, table: EnergyTable) -> float:
        """Nanojoules of all memory accesses."""
        return (self.bits_read + self.bits_written) / 64 * table.access / 1e3


_SUM_BITS, _WEIGHT_BITS = 32, 8


def operations_of(spiking: Graph, inputs: Mapping[str, np.ndarray], result: SimulationResult) -> Operations:
    """What a sample of a run took, as means over its samples: every synaptic operation reads a weight, and reads and writes a
    sum; every comparison reads a sum, and every spike writes one.

    A bif neuron is compared twice at every step of its window, a few-spike neuron once a bit, and once for its sign. Of products,
    one multiplication an element and window is counted, which is what few-spike neurons take; bif neurons take more.
    """
    synops, charges = float(result.total_synops.mean()), float(result.total_charges.mean())
    spikes, sizes = float(result.total_spikes.mean()), bind_sizes(spiking, inputs) | {"N": 1}
    by_window: dict[str, list[float]] = {}
    for name, steps in zip(result.windows, result.steps.mean(axis=0), strict=True):
        scan = name.rpartition("[")[0] if "[" in name else ""
        by_window.setdefault(scan if scan in spiking.values else "", []).append(float(steps))
    comparisons = products = 0.0
    for graph, name in [(spiking, ""), *((node.body, node.outputs[0].name) for node in spiking.nodes if node.body is not None)]:
        windows = by_window.get(name, [])
        for node in graph.nodes:
            op = node.op
            if isinstance(op, Fs):
                comparisons += _elements(node.output, sizes) * len(windows) * (op.steps + (op.quantization.lo < 0))
            elif isinstance(op, Population):
                comparisons += _elements(node.output, sizes) * 2 * sum(windows)
            elif isinstance(op, Product):
                products += _elements(node.output, sizes) * len(windows)
    read = synops * (_WEIGHT_BITS + _SUM_BITS) + comparisons * _SUM_BITS
    return Operations(synops - charges, charges + products, comparisons, read, (synops + spikes) * _SUM_BITS)


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
    """Multiply-accumulates per sample of the network as dense layers (one-to-one and sparse maps by their weights).

    The spiking graph may stand for the quantized one; it writes products of matrices element by element.
    """
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
        and on_host(node)
        and any(not value.is_constant for value in node.operands)
    ]


def on_host(node: Node) -> bool:
    """Whether the host computes a node of a quantized or spiking graph: it holds no levels, spikes or sums."""
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
        count = node_macs(node, sizes)
        if on_host(node):
            host += count
        else:
            spiking += count
    return spiking, host


def node_macs(node: Node, sizes: Mapping[str, int]) -> int:
    """Multiply-accumulates of one node, of one element in the body of a scan; `sizes` are numbers for open sizes."""
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
