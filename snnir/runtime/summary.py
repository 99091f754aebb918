"""What a run took, in one record: steps against their bounds, spikes, operations, energy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from snnir.ir.execute import bind_sizes
from snnir.runtime.costs import ENERGY_TABLES, Operations, dense_macs, estimate_energy
from snnir.runtime.inputs import as_inputs
from snnir.runtime.totals import RunTotals

if TYPE_CHECKING:
    from snnir.machine.results import SimulationResult
    from snnir.runtime.program import Program

__all__ = ["run_facts"]


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
    }
