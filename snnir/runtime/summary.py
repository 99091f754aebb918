"""What a run took, in one record: steps against their bounds, spikes, operations, energy; and what a program is, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from snnir.ir.execute import bind_sizes
from snnir.ir.ops import Conv, Dense, Diagonal, Population, Sparse
from snnir.ir.phases import neuron_of
from snnir.runtime.accuracy import distance_text
from snnir.runtime.costs import ENERGY_TABLES, Operations, dense_macs, estimate_energy
from snnir.runtime.inputs import as_inputs
from snnir.runtime.totals import RunTotals

if TYPE_CHECKING:
    from snnir.machine.results import SimulationResult
    from snnir.runtime.program import Program

__all__ = ["program_summary", "run_facts"]


def run_facts(
    program: Program,
    data: np.ndarray | Mapping[str, np.ndarray],
    result: SimulationResult | RunTotals,
    delivery: str,
    execution: str = "reset",
) -> dict[str, object]:
    """What a run took: steps against their certified bound, spikes, operations, and energy as an estimate.

    `data` need not be all of the run's: what counts is how long its sequences are.
    """
    totals = result if isinstance(result, RunTotals) else RunTotals.of(result)
    inputs = as_inputs(program.graph("spiking"), data)
    bounds = program.bounds(bind_sizes(program.graph("spiking"), inputs), delivery, execution)
    macs = dense_macs(program.graph("quantized" if "quantized" in program.levels else "spiking"), inputs)
    counted: dict[str, object] = {}
    if totals.counts_synops:
        synops, charges = totals.per_sample(totals.synops), totals.per_sample(totals.charges)
        energy = estimate_energy(macs.spiking, synops, charges)
        counted = {
            "synops_per_sample": synops,
            "charges_per_sample": charges,
            "energy_spiking_nj": energy.spiking,
            "energy_dense_nj": energy.dense,
            "energy_spiking_integers_nj": Operations(synops - charges, charges).arithmetic(ENERGY_TABLES["45 nm"]),
            "energy_dense_int8_nj": Operations.dense(macs.spiking).arithmetic(ENERGY_TABLES["45 nm"]),
        }
    return {
        "samples": totals.samples,
        "delivery": delivery,
        "execution": execution,
        "neuron": program.facts.neuron or neuron_of(program.graph("spiking")),
        "settled": totals.settled,
        "unsettled_neurons": totals.unsettled,
        "undelivered_spikes": totals.undelivered,
        "steps_mean": totals.steps / totals.windows if totals.windows else 0.0,
        "steps_max": totals.steps_max,
        "steps_bound": max(max(windows, default=0) for windows in bounds.values()),
        "spikes_per_sample": totals.per_sample(totals.spikes),
        "dense_macs_per_sample": macs.spiking,
        "host_macs_per_sample": macs.host,
        **counted,
        "clipped_inputs": totals.clipped_shares,
        **_layers(totals),
    }


def _layers(totals: RunTotals) -> dict[str, object]:
    """Spikes of each population and operations of each synapse, per sample."""
    each = {name: totals.per_sample(count) for name, count in totals.spikes_of.items()}
    found: dict[str, object] = {"populations": [{"name": name, "spikes_per_sample": mean} for name, mean in each.items()]}
    if totals.counts_synops:
        found["synapses"] = [
            {
                "name": name,
                "synops_per_sample": totals.per_sample(count),
                "charges_per_sample": totals.per_sample(totals.charges_of[name]),
            }
            for name, count in totals.synops_of.items()
        ]
    return found


def program_summary(program: Program) -> str:
    """What `Program.summary` gives: a line for each fact that is known."""
    graph, facts = program.graph("spiking"), program.facts
    nodes = [node for _, node in graph.walk()]
    populations = sum(isinstance(node.op, Population) for node in nodes)
    synapses = sum(isinstance(node.op, Conv | Dense | Diagonal | Sparse) for node in nodes)
    rows: dict[str, object] = {
        "program": graph.name,
        "model": facts.provenance,
        "takes": ", ".join(f"{value.name} {value.type}" for value in graph.inputs),
        "gives": ", ".join(f"{name} {value.type}" for name, value in graph.outputs.items()),
        "network": f"{populations} populations of {facts.neuron or neuron_of(graph)} neurons, {synapses} synapses",
        "on the host": ", ".join(facts.host_nodes or ()),
        "multiply-accumulates that spike": None if facts.spiking_mac_share is None else f"{100 * facts.spiking_mac_share:.1f} %",
        "distance to float": distance_text(program.distances) if program.distances else None,
        "import": None if facts.import_error is None else f"equal within {facts.import_error:.2g} of the outputs' span",
    }
    rows |= {f"note {number}": note for number, note in enumerate(facts.notes or (), 1)}
    rows |= {f"warning {number}": item for number, item in enumerate(program.warnings, 1)}
    shown = {name: str(value) for name, value in rows.items() if value not in (None, "")}
    width = max(map(len, shown))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in shown.items())
