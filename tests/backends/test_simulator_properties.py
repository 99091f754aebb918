"""The simulator's promises over random spiking graphs, in every delivery and execution.

Exact once settled, and spike for spike what plain NumPy does.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from snnir.backends.simulator import DELIVERIES, EXECUTIONS, SimulationResult, Simulator, workspace
from snnir.ir import Graph, Value
from snnir.ir.execute import execute
from snnir.ir.ops import Bif, Encode, MaxPool, Product
from snnir.machine.plain import PlainResult, simulate_plain
from tests.backends.spiking_graphs import random_spiking_graph

SEEDS = 200
GROUP = 20
GROUPS = range(0, SEEDS, GROUP)


def named_values(graph: Graph) -> dict[Value, str]:
    """Every result, bodies included, under the simulator's name for it."""
    names = {}
    for node in graph.nodes:
        names.update({value: value.name for value in node.outputs})
        if node.body is not None:
            names.update({value: f"{node.outputs[0].name}/{name}" for value, name in named_values(node.body).items()})
    return names


def recordable(graph: Graph) -> list[str]:
    return [
        name
        for value, name in named_values(graph).items()
        if value.producer is not None
        and isinstance(value.producer.op, Bif | MaxPool | Product | Encode)
        and value.type.dtype == "spike"
        and not value.producer.operands[0].name.startswith("start")
    ]


def executions(graph: Graph) -> tuple[str, ...]:
    """Those that differ: without a scan, nothing is carried."""
    return EXECUTIONS if any(node.body is not None for node in graph.nodes) else EXECUTIONS[:1]


def settled_integers(graph: Graph, inputs: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, list[np.ndarray]]]:
    """Outputs of the reference executor, and all values that it saw."""
    names, seen = named_values(graph), dict[str, list[np.ndarray]]()

    def observe(value: Value, array: np.ndarray) -> None:
        if value in names:
            seen.setdefault(names[value], []).append(array)

    return execute(graph, inputs, observe), seen


@pytest.mark.parametrize("first", GROUPS)
def test_settled_tracers_are_the_integer_meaning(first: int) -> None:
    for seed in range(first, first + GROUP):
        graph, inputs = random_spiking_graph(np.random.default_rng(seed))
        outputs, seen = settled_integers(graph, inputs)
        simulator = Simulator(graph)
        for delivery, execution in product(DELIVERIES, executions(graph)):
            result = simulator.run(inputs, delivery=delivery, execution=execution, counts=True, trace=True)
            where = f"seed {seed}, {delivery}, {execution}"
            assert result.settled, where
            for name, array in outputs.items():
                np.testing.assert_array_equal(result.outputs[name], array, err_msg=f"{where}: output {name}")
            for name, counts in result.counts.items():
                if not name.rpartition("/")[2].startswith("readout"):
                    expected = np.stack(seen[name], axis=1) if "/" in name else seen[name][0]
                    np.testing.assert_array_equal(counts, expected, err_msg=f"{where}: {name}")
            for name, rows in result.trace.items():
                np.testing.assert_array_equal(rows[-1], outputs[name], err_msg=f"{where}: trace of {name}")


def test_trains_that_nothing_reads_any_more_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(0, SEEDS, 2):
        graph, inputs = random_spiking_graph(np.random.default_rng(seed))
        found = []
        for room in (workspace.ROOM, 0):  # 0: after each instruction
            monkeypatch.setattr(workspace, "ROOM", room)
            found.append(Simulator(graph).run(inputs, counts=True, record=recordable(graph)))
        where = f"seed {seed}"
        for name, array in found[0].outputs.items():
            np.testing.assert_array_equal(found[1].outputs[name], array, err_msg=f"{where}: {name}")
        for part in ("counts", "spikes", "synops", "rasters"):
            for name, array in getattr(found[0], part).items():
                np.testing.assert_array_equal(getattr(found[1], part)[name], array, err_msg=f"{where}: {part} of {name}")


@pytest.mark.parametrize("first", GROUPS)
def test_fast_and_plain_simulators_spike_alike(first: int) -> None:
    for seed in range(first, first + GROUP):
        rng = np.random.default_rng(seed)
        graph, inputs = random_spiking_graph(rng)
        simulator, record = Simulator(graph), recordable(graph)
        for turn, delivery in enumerate(DELIVERIES):
            for steps in (None, int(rng.integers(1, 10))):
                for execution in executions(graph):
                    if execution == "carry" and steps is not None and turn != seed % len(DELIVERIES):
                        continue  # seeds take turns, to save time
                    options: dict[str, Any] = {"steps": steps, "delivery": delivery, "execution": execution, "record": record}
                    fast = simulator.run(inputs, counts=True, **options)
                    plain = simulate_plain(graph, inputs, **options)
                    assert_alike(fast, plain, f"seed {seed}, {delivery}, {execution}, steps {steps}")


def assert_alike(fast: SimulationResult, plain: PlainResult, where: str) -> None:
    assert set(fast.rasters) == set(plain.trains), where
    for name, train in plain.trains.items():
        np.testing.assert_array_equal(fast.rasters[name], raster(train, "/" in name), err_msg=f"{where}: spikes of {name}")
        np.testing.assert_array_equal(fast.counts[name], plain.counts[name], err_msg=f"{where}: counts of {name}")
    for name, array in plain.outputs.items():
        np.testing.assert_array_equal(fast.outputs[name], array, err_msg=f"{where}: output {name}")
    for kind in ("spikes", "synops", "charges"):
        for name, array in getattr(fast, kind).items():  # the plain one counts only where a window was simulated
            expected = getattr(plain, kind).get(name, np.zeros_like(array))
            np.testing.assert_array_equal(array, expected, err_msg=f"{where}: {kind} of {name}")
    assert fast.windows == plain.windows, where
    np.testing.assert_array_equal(fast.steps, plain.steps, err_msg=where)
    assert (fast.unsettled, fast.undelivered, fast.settled) == (plain.unsettled, plain.undelivered, plain.settled), where
    for name, membrane in plain.membranes.items():
        axis = 2 if "/" in name else 1
        steps = max(membrane.shape[axis], fast.membranes[name].shape[axis])
        held, expected = (hold(array, axis, steps) for array in (fast.membranes[name], membrane))
        np.testing.assert_array_equal(held, expected, err_msg=f"{where}: membrane of {name}")


def raster(train: np.ndarray, inside: bool) -> np.ndarray:
    """A dense train [(windows,) steps, N, ...] as the rows of a raster."""
    windows = train if inside else train[np.newaxis]
    flat = windows.reshape(*windows.shape[:3], int(np.prod(windows.shape[3:])))
    window, step, sample, address = np.nonzero(flat)
    rows = np.stack([sample, window, step, address, flat[window, step, sample, address]], axis=1)
    return rows[np.lexsort(rows.T[::-1])]


def hold(array: np.ndarray, axis: int, steps: int) -> np.ndarray:
    last = np.take(array, [-1], axis=axis)
    return np.concatenate([array, np.repeat(last, steps - array.shape[axis], axis=axis)], axis=axis)


def test_trace_is_what_a_cap_gives() -> None:
    """Without recurrence, the output after t steps is the output of a run that stops after t steps."""
    for seed in range(60):
        graph, inputs = random_spiking_graph(np.random.default_rng(seed), scans=0)
        simulator = Simulator(graph)
        trace = simulator.run(inputs, trace=True).trace["y"]
        for t in range(1, len(trace) + 1):
            np.testing.assert_array_equal(simulator.run(inputs, steps=t).outputs["y"], trace[t - 1], err_msg=f"seed {seed}, {t}")


def test_result_depends_on_no_thread() -> None:
    for seed in range(20):
        graph, inputs = random_spiking_graph(np.random.default_rng(seed), scans=1)
        inputs = {name: np.concatenate([array] * 3) for name, array in inputs.items()}
        execution = EXECUTIONS[seed % 2]
        one, two, many = (
            Simulator(graph).run(inputs, threads=threads, execution=execution, counts=True, record=recordable(graph), trace=True)
            for threads in (1, 2, 7)
        )
        for other in (two, many):
            for field in ("outputs", "spikes", "synops", "charges", "counts", "trace", "rasters", "membranes"):
                assert getattr(one, field).keys() == getattr(other, field).keys()
                for name, array in getattr(one, field).items():
                    np.testing.assert_array_equal(array, getattr(other, field)[name], err_msg=f"seed {seed}: {field} of {name}")
            np.testing.assert_array_equal(one.steps, other.steps)


def test_graphs_hold_every_op() -> None:
    names = {node.op.name for seed in range(SEEDS) for _, node in random_spiking_graph(np.random.default_rng(seed))[0].walk()}
    assert names >= {
        *("encode", "dense", "conv", "diagonal", "sparse", "bif", "rbif", "max_pool", "readout", "scan", "softmax"),
        *("concat", "expand", "gather", "pad", "reshape", "slice", "transpose"),
    }
