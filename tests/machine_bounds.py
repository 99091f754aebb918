"""What the machine level certifies of a spiking graph for samples of the sizes of given inputs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnir.ir import Graph
from snnir.ir.execute import bind_sizes
from snnir.machine import Bounds, IntegerProgram, certify, lower, settling


def machine_program(graph: Graph, data: Mapping[str, np.ndarray], delivery: str, execution: str) -> IntegerProgram:
    return lower(graph, bind_sizes(graph, data), delivery, execution).program


def step_bounds(
    graph: Graph, data: Mapping[str, np.ndarray], delivery: str = "relay", execution: str = "reset"
) -> dict[str, list[int]]:
    """Steps of the windows outside scans (`""`) and of each scan."""
    found = settling(machine_program(graph, data, delivery, execution))
    return {"": [found.outer], **found.windows}


def ranges(graph: Graph, data: Mapping[str, np.ndarray], delivery: str = "relay", execution: str = "reset") -> Bounds:
    """Ranges of events and registers."""
    return certify(machine_program(graph, data, delivery, execution))
