"""Spikes and membranes of a recorded run, as a picture needs them: one time axis, a lane for each population."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from snnir.ir import Graph, Node
from snnir.ir.ops import Population, Scan
from snnir.machine.results import SimulationResult
from snnir.runtime.inputs import first_samples
from snnir.runtime.program import Program

__all__ = ["Lanes", "layers", "neuron_spikes", "population_names", "populations", "recording"]

_GAP = 2
"""Empty steps between windows."""
_MOST_EVENTS = 200_000
_TRACED = 6
"""Neurons of a population whose membranes are drawn: those that fire most."""
_COUNTED = 16
"""Samples on which spikes of single neurons are counted."""
_MOST_NEURONS = 8192


def populations(graph: Graph) -> dict[str, Node]:
    """Every population of a spiking graph by its name in results."""
    found = {}
    for node in graph.nodes:
        if isinstance(node.op, Population):
            found[node.output.name] = node
        if isinstance(node.op, Scan) and node.body is not None:
            prefix = node.outputs[0].name
            found.update({f"{prefix}/{name}": inner for name, inner in populations(node.body).items()})
    return found


def population_names(program: Program) -> list[str]:
    """The names of all populations, in order."""
    return list(populations(program.graph("spiking")))


def user_name(name: str, node: Node) -> str:
    """What the user calls the layer of a population: its module or node in the model; the value's name where it has none."""
    word = node.origin[-1].partition(" ")[2] if node.origin else ""
    return word.strip("/") or name


class Lanes:
    """The moments of a recorded sample on one axis: the windows of a scan in order of processing, one behind the other.

    Populations outside of scans have one window, which begins at 0; scans begin where it ends.
    """

    def __init__(self, result: SimulationResult) -> None:
        self.starts: dict[str, list[int]] = {"": [0]}
        self.marks: list[tuple[int, str]] = [(0, result.windows[0])] if result.windows else []
        moment = int(result.steps[0, 0]) + _GAP if result.steps.size else 0
        for column, name in enumerate(result.windows):
            scan, bracket, _ = name.rpartition("[")
            if not column or not bracket:
                continue
            self.starts.setdefault(scan, []).append(moment)
            self.marks.append((moment, name))
            moment += int(result.steps[0, column]) + _GAP
        self.length = max(moment - _GAP, 1)

    def start(self, name: str, windows: np.ndarray) -> np.ndarray:
        """The moments at which windows of a population begin, int64."""
        starts = np.array(self.starts.get(name.rpartition("/")[0], [0]), np.int64)
        found: np.ndarray = starts[np.minimum(windows, len(starts) - 1)]
        return found


def recording(program: Program, result: SimulationResult) -> dict[str, object]:
    """The raster and membranes of one recorded sample.

    Events are flat lists of moment, address and value; of more than some ten thousands of events all are kept up to a limit
    that `left_out` counts.
    """
    lanes, found = Lanes(result), []
    nodes = populations(program.graph("spiking"))
    each = max(1, _MOST_EVENTS // max(len(nodes), 1))
    for name, node in nodes.items():
        events = result.rasters[name]
        moments = lanes.start(name, events[:, 1]) + events[:, 2]
        size = int(np.prod([size for size in node.output.type.shape if isinstance(size, int)], initial=1))
        found.append(
            {
                "name": name,
                "title": user_name(name, node),
                "kind": node.op.name,
                "neurons": max(size, int(events[:, 3].max(initial=0)) + 1),
                "moments": moments[:each].tolist(),
                "addresses": events[:each, 3].tolist(),
                "values": events[:each, 4].tolist(),
                "left_out": max(len(events) - each, 0),
                "traces": _traces(name, node, result, lanes),
            }
        )
    return {"length": lanes.length, "windows": [list(mark) for mark in lanes.marks], "lanes": found}


def _traces(name: str, node: Node, result: SimulationResult, lanes: Lanes) -> list[dict[str, object]]:
    """The membrane potentials of the neurons that fire most: V = A + theta//2 - theta S where the threshold is one number."""
    sums, events = result.membranes.get(name), result.rasters[name]
    if sums is None or not len(events):
        return []
    op = node.op
    assert isinstance(op, Population)
    inside = name.rpartition("/")[0] in lanes.starts and "/" in name
    by_window = sums[0].reshape(sums.shape[1], sums.shape[2], -1) if inside else sums[0].reshape(1, sums.shape[1], -1)
    counts = np.bincount(events[:, 3], minlength=by_window.shape[2])
    theta = _thresholds(node, by_window.shape[2], sums.shape[3 if inside else 2 :])
    found = []
    for address in np.argsort(-counts, kind="stable")[:_TRACED].tolist():
        own = events[events[:, 3] == address]
        moments: list[int] = []
        potentials: list[int] = []
        for window in range(by_window.shape[0]):
            fired = own[own[:, 1] == window]
            start = int(lanes.start(name, np.array([window]))[0])
            for step in range(_steps(result, name, window)):
                value = int(by_window[window, min(step, by_window.shape[1] - 1), address])
                if theta is not None:
                    value += int(theta[address]) // 2 - int(theta[address]) * int(fired[fired[:, 2] <= step, 4].sum())
                moments.append(start + step)
                potentials.append(value)
        found.append(
            {
                "address": address,
                "spikes": int(counts[address]),
                "threshold": None if theta is None else int(theta[address]),
                "moments": moments,
                "potentials": potentials,
            }
        )
    return found


def _steps(result: SimulationResult, name: str, window: int) -> int:
    scan = name.rpartition("/")[0]
    columns = [column for column, each in enumerate(result.windows) if (each.rpartition("[")[0] == scan if scan else column == 0)]
    return int(result.steps[0, columns[window]]) if window < len(columns) else 0


def _thresholds(node: Node, size: int, shape: Sequence[int]) -> np.ndarray | None:
    """The threshold of every neuron, int64[neurons]; None for staircases, and where thresholds are computed."""
    theta = node.operands[0]
    assert isinstance(node.op, Population)
    if node.op.staircase or not theta.is_constant:
        return None
    return np.broadcast_to(theta.array, tuple(shape)).reshape(-1).astype(np.int64)[:size]


def layers(program: Program, result: SimulationResult) -> list[dict[str, object]]:
    """Spikes of each population and operations of each synapse, as means over samples, in the order of the graph."""
    nodes = populations(program.graph("spiking"))
    found: list[dict[str, object]] = []
    for name, spikes in result.spikes.items():
        node = nodes.get(name)
        title = user_name(name, node) if node is not None else name
        found.append({"name": name, "title": title, "kind": "population", "spikes": float(spikes.mean())})
    for name, synops in result.synops.items():
        charges = result.charges.get(name)
        found.append(
            {
                "name": name,
                "title": name,
                "kind": "synapse",
                "synops": float(synops.mean()),
                "charges": 0.0 if charges is None else float(charges.mean()),
            }
        )
    return found


def neuron_spikes(program: Program, inputs: Mapping[str, np.ndarray], how: Mapping[str, Any]) -> dict[str, object]:
    """Spikes of every single neuron, as means over the first samples, by population."""
    part = first_samples(program.graph("spiking"), inputs, _COUNTED)
    names = population_names(program)
    result = program.run(part, record=names, **how)
    samples = len(result.steps)
    found = {}
    for name in names:
        events = result.rasters[name]
        node = populations(program.graph("spiking"))[name]
        size = int(np.prod([size for size in node.output.type.shape if isinstance(size, int)], initial=1))
        counts = np.bincount(events[:, 3], minlength=size) / samples
        found[name] = {"neurons": len(counts), "silent": int((counts == 0).sum()), "spikes": counts[:_MOST_NEURONS].tolist()}
    return {"samples": samples, "populations": found}
