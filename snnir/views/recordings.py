"""Spikes and membranes of a recorded run, as a picture needs them: one time axis, a lane for each population."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from snnir.ir import Graph, Node
from snnir.ir.ops import Population, Scan
from snnir.machine.plain import simulate_plain
from snnir.machine.results import SimulationResult
from snnir.runtime.costs import dense_macs
from snnir.runtime.inputs import first_samples
from snnir.runtime.program import Program

__all__ = ["Lanes", "layers", "neuron_spikes", "population_names", "populations", "recording"]

_GAP = 2
"""Empty steps between windows."""
_MOST_EVENTS = 200_000
_TRACED_NUMBERS = 60_000
"""Potentials of a population that are kept: as many neurons as that holds, and `_LEAST_TRACED` at least, which fire most."""
_LEAST_TRACED = 6
_COUNTED = 16
"""Samples on which spikes of single neurons are counted."""
_MOST_NEURONS = 8192
_INTERPRETED = 2_000_000_000
"""Multiply-accumulates times steps up to which the plain interpreter counts operations at single neurons."""


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


def recording(
    program: Program, result: SimulationResult, traced: Mapping[str, Collection[int]] | None = None
) -> dict[str, object]:
    """The raster and membranes of one recorded sample; `traced` are addresses, by population, whose membranes are wanted.

    Events are flat lists of moment, address and value; of more than some ten thousands of events all are kept up to a limit
    that `left_out` counts.
    """
    lanes, found, traced = Lanes(result), [], traced or {}
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
                **_traces(name, node, result, lanes, set(traced.get(name, ()))),
            }
        )
    return {"length": lanes.length, "windows": [list(mark) for mark in lanes.marks], "lanes": found}


def _traces(name: str, node: Node, result: SimulationResult, lanes: Lanes, wanted: Collection[int]) -> dict[str, object]:
    """The membrane potentials of neurons, the busiest first: V = A + theta//2 - theta S where the threshold is one number.

    They have one list of moments. `wanted` neurons are among them, and as many others as there is room for.
    """
    sums, events = result.membranes.get(name), result.rasters[name]
    if sums is None:
        return {"traced": [], "traces": []}
    inside = name.rpartition("/")[0] in lanes.starts and "/" in name
    by_window = sums[0].reshape(sums.shape[1], sums.shape[2], -1) if inside else sums[0].reshape(1, sums.shape[1], -1)
    neurons = by_window.shape[2]
    counts = np.bincount(events[:, 3], minlength=neurons)
    theta = _thresholds(node, neurons, sums.shape[3 if inside else 2 :])
    moments, potentials = _potentials(name, by_window, events, theta, result, lanes)
    room = max(_TRACED_NUMBERS // max(len(moments), 1), _LEAST_TRACED)
    order = np.argsort(-counts, kind="stable").tolist()
    chosen = set(order[:room]) | {address for address in wanted if address < neurons}
    found = [
        {
            "address": address,
            "spikes": int(counts[address]),
            "threshold": None if theta is None else int(theta[address]),
            "potentials": potentials[:, address].tolist(),
        }
        for address in order
        if address in chosen
    ]
    return {"traced": moments.tolist(), "traces": found}


def _potentials(
    name: str,
    by_window: np.ndarray,
    events: np.ndarray,
    theta: np.ndarray | None,
    result: SimulationResult,
    lanes: Lanes,
) -> tuple[np.ndarray, np.ndarray]:
    """Moments [M] and, after each, the potentials of all neurons [M, n]; sums where the threshold is no single number."""
    moments, potentials = [np.zeros(0, np.int64)], [np.zeros((0, by_window.shape[2]), np.int64)]
    for window, sums in enumerate(by_window):
        steps = _steps(result, name, window)
        held = sums[np.minimum(np.arange(steps), len(sums) - 1)].astype(np.int64)
        if theta is not None:
            fired = np.zeros_like(held)
            own = events[(events[:, 1] == window) & (events[:, 2] < steps)]
            np.add.at(fired, (own[:, 2], own[:, 3]), own[:, 4])
            held += theta // 2 - theta * np.cumsum(fired, axis=0)
        moments.append(int(lanes.start(name, np.array([window]))[0]) + np.arange(steps))
        potentials.append(held)
    return np.concatenate(moments), np.concatenate(potentials)


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


def neuron_spikes(
    program: Program, inputs: Mapping[str, np.ndarray], one: Mapping[str, np.ndarray], how: Mapping[str, Any]
) -> dict[str, object]:
    """Spikes of every single neuron, as means over the first samples, by population; and the synaptic operations that arrive at
    it in the sample `one`, which are None where the network is too large for the plain interpreter, that counts them.
    """
    graph = program.graph("spiking")
    part = first_samples(graph, inputs, _COUNTED)
    names = population_names(program)
    result = program.run(part, record=names, **how)
    samples, nodes = len(result.steps), populations(graph)
    arrivals = _arrivals(program, one, int(result.steps.sum(axis=1).max(initial=1)), how)
    found = {}
    for name in names:
        events = result.rasters[name]
        size = int(np.prod([size for size in nodes[name].output.type.shape if isinstance(size, int)], initial=1))
        counts = np.bincount(events[:, 3], minlength=size) / samples
        silent = int((counts == 0).sum())
        found[name] = {"neurons": len(counts), "silent": silent, "spikes": counts[:_MOST_NEURONS].tolist(), "synops": None}
        if arrivals is not None:
            own = arrivals.get(name, np.zeros((1, len(counts)), np.int64)).reshape(-1)
            found[name]["synops"] = own[:_MOST_NEURONS].tolist()
    return {"samples": samples, "populations": found}


def _arrivals(
    program: Program, one: Mapping[str, np.ndarray], steps: int, how: Mapping[str, Any]
) -> Mapping[str, np.ndarray] | None:
    """Synaptic operations at each neuron, by population; None where counting them would take long."""
    macs = dense_macs(program.graph("quantized"), one)
    if (macs.spiking + macs.host) * steps > _INTERPRETED:
        return None
    return simulate_plain(program.graph("spiking"), one, **how).arrivals
