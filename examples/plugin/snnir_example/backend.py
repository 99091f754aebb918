"""A backend: the plain interpreter of the machine level, which is slow and simple."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnir.ir import Graph
from snnir.machine.options import RunOptions
from snnir.machine.plain import simulate_plain
from snnir.machine.results import SimulationResult
from snnir.plugins import Backend

__all__ = ["BACKEND", "run_plain"]


def run_plain(graph: Graph, inputs: Mapping[str, np.ndarray], options: RunOptions) -> SimulationResult:
    """Run a spiking graph step by step. Raises what `simulate_plain` raises."""
    found = simulate_plain(
        graph,
        inputs,
        steps=options.steps,
        delivery=options.delivery,
        execution=options.execution,
        encoding=options.encoding,
    )
    return SimulationResult(
        outputs=found.outputs,
        spikes=found.spikes,
        synops=found.synops,
        charges=found.charges,
        windows=found.windows,
        steps=found.steps,
        settled=found.settled,
        unsettled=found.unsettled,
        undelivered=found.undelivered,
        counts=found.counts if options.counts else {},
    )


BACKEND = Backend("plain", run_plain)
