"""The two executions of scans side by side: the same integers, other costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnir.ir import Graph
from snnir.ir.ops import Scan

if TYPE_CHECKING:
    from snnir.backends.simulator import SimulationResult
    from snnir.runtime.program import Program

__all__ = ["Comparison", "Cost", "compare_executions"]


@dataclass(frozen=True)
class Cost:
    """What one execution takes, per sample: of the whole network, and of the bodies of its scans alone."""

    spikes: float
    synops: float
    scan_spikes: float
    scan_synops: float


@dataclass(frozen=True)
class Comparison:
    """Spikes and synaptic operations with `reset` and with `carry`.

    A spike is one that a population sends. What states, elements and results send to their receivers is no
    spike of a population; it counts where it arrives, as synaptic operations.
    """

    samples: int
    delivery: str
    reset: Cost
    carry: Cost

    def __repr__(self) -> str:
        spikes = f"{self.reset.spikes:,.1f} spikes with reset, {self.carry.spikes:,.1f} with carry"
        return f"<Comparison of {self.samples} samples ({self.delivery}): {spikes}>"

    @property
    def ratio(self) -> float:
        """How many spikes `reset` sends for one of `carry`, in the bodies of scans (1.0 where neither sends any)."""
        return _ratio(self.reset.scan_spikes, self.carry.scan_spikes)

    @property
    def synops_ratio(self) -> float:
        """The same for synaptic operations."""
        return _ratio(self.reset.scan_synops, self.carry.scan_synops)

    def facts(self) -> dict[str, object]:
        """All numbers by name."""
        return {**asdict(self), "ratio": self.ratio, "synops_ratio": self.synops_ratio}

    def __str__(self) -> str:
        if not self.reset.scan_synops:
            return "no scan: nothing is carried"
        spikes = f"{self.reset.scan_spikes:,.1f} spikes with reset, {self.carry.scan_spikes:,.1f} with carry"
        synops = f"{self.reset.scan_synops:,.0f} operations, {self.carry.scan_synops:,.0f}"
        return f"{spikes} (ratio {self.ratio:.2f}); {synops} (ratio {self.synops_ratio:.2f})"


def compare_executions(
    program: Program,
    inputs: Mapping[str, np.ndarray],
    delivery: str = "relay",
    steps: int | None = None,
    threads: int | None = None,
    known: Mapping[str, SimulationResult] | None = None,
    max_memory: int | None = None,
) -> Comparison:
    """Run both executions and compare them. `known` are results of the same inputs and options, by their execution."""
    costs, samples = {}, 0
    for execution in ("reset", "carry"):
        result = (known or {}).get(execution)
        if result is None:
            result = program.run(
                inputs, delivery=delivery, execution=execution, steps=steps, threads=threads, max_memory=max_memory
            )
        samples = len(result.steps)
        costs[execution] = _cost(program.graph("spiking"), result)
    return Comparison(samples, delivery, **costs)


def _cost(spiking: Graph, result: SimulationResult) -> Cost:
    bodies = tuple(f"{node.outputs[0].name}/" for node in spiking.nodes if isinstance(node.op, Scan))
    numbers = []
    for parts in (result.spikes, result.synops):
        means = {name: float(counts.mean()) if counts.size else 0.0 for name, counts in parts.items()}
        numbers.append((sum(means.values()), sum(mean for name, mean in means.items() if name.startswith(bodies))))
    (spikes, scan_spikes), (synops, scan_synops) = numbers
    return Cost(spikes, synops, scan_spikes, scan_synops)


def _ratio(reset: float, carry: float) -> float:
    if carry:
        return reset / carry
    return float("inf") if reset else 1.0
