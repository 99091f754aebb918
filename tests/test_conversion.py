"""The product, as properties over graphs drawn at random: settled tracers are the quantized network's integers.

Every seed is compiled with its own number of bits and run in every recurrent delivery and execution, by the fast and the
plain simulator.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import pytest

from snnir.backends.simulator import DELIVERIES, EXECUTIONS, Simulator
from snnir.ir import Graph, Value
from snnir.ir.execute import execute
from snnir.ir.ops import Population
from snnir.ir.parse import parse
from snnir.ir.text import tensors, text
from snnir.machine import Bounds
from snnir.machine.plain import PlainResult, simulate_plain
from snnir.passes import Context, default_pipeline, run_pipeline
from snnir.runtime.verification import integer_counts
from tests.machine_bounds import ranges, step_bounds
from tests.random_graphs import random_graph

SEEDS = range(340)
BATCH_OF_SEEDS = 10


@lru_cache(maxsize=400)
def compiled(seed: int) -> tuple[dict[str, Graph], dict[str, np.ndarray]]:
    """A random graph at its three levels, with 2- to 8-bit activations and 5- to 12-bit weights; and its data.

    Compiled once in a process, for all tests that take it; they change neither graphs nor data.
    """
    rng = np.random.default_rng(10_000 + seed)
    graph, data = random_graph(seed)
    bits, weight_bits = int(rng.integers(2, 9)), int(rng.integers(5, 13))
    input_bits = int(rng.integers(2, 9))
    stages = run_pipeline(graph, default_pipeline(bits, weight_bits, input_bits), Context(data))
    graphs = {"float": graph, **{stage.graph.level: stage.graph for stage in stages if stage.graph.level != "float"}}
    # the network runs on data that it was not calibrated on, so that neurons saturate on both sides
    unseen = {name: (array * rng.choice([0.5, 1.0, 4.0]) + rng.normal() * 0.3).astype(np.float32) for name, array in data.items()}
    return graphs, unseen


def emitting(graph: Graph, prefix: str = "") -> dict[str, Population]:
    """Every population by its name in results."""
    found: dict[str, Population] = {}
    for node in graph.nodes:
        if isinstance(node.op, Population):
            found[prefix + node.output.name] = node.op
        if node.body is not None:
            found.update(emitting(node.body, f"{node.outputs[0].name}/"))
    return found


def value_of(graph: Graph, name: str) -> Value:
    if name in graph.values:
        return graph.values[name]
    scan, _, inner = name.partition("/")
    while scan not in graph.values:  # names may hold slashes themselves
        more, _, inner = inner.partition("/")
        scan = f"{scan}/{more}"
    producer = graph.values[scan].producer
    assert producer is not None
    assert producer.body is not None
    return producer.body.values[inner]


@pytest.mark.parametrize("first", SEEDS[::BATCH_OF_SEEDS])
def test_settled_tracers_are_the_integers(first: int) -> None:
    for seed in range(first, first + BATCH_OF_SEEDS):
        graphs, data = compiled(seed)
        spiking = graphs["spiking"]
        expected = integer_counts(graphs["quantized"], spiking, data)
        outputs = execute(graphs["quantized"], data)
        simulator = Simulator(spiking)
        recurrent = any(node.body is not None for node in spiking.nodes)
        for delivery, execution in product(DELIVERIES, EXECUTIONS if recurrent else EXECUTIONS[:1]):
            where = f"seed {seed}, {delivery}, {execution}"
            result = simulator.run(data, delivery=delivery, execution=execution, counts=True)
            assert result.settled, where
            assert set(result.counts) == set(expected), where
            for name, counts in result.counts.items():
                np.testing.assert_array_equal(counts, expected[name], err_msg=f"{where}: {name}")
            for name, array in outputs.items():
                np.testing.assert_array_equal(result.outputs[name], array, err_msg=f"{where}: output {name}")
            bounds = step_bounds(spiking, data, delivery, execution)
            limits = np.array([bound for windows in bounds.values() for bound in windows])
            assert (result.steps <= limits).all(), f"{where}: steps {result.steps.max(axis=0)} beyond {limits}"


@pytest.mark.parametrize("first", SEEDS[::BATCH_OF_SEEDS])
def test_fast_and_plain_simulator_spike_alike_and_within_certified_ranges(first: int) -> None:
    for seed in range(first, first + BATCH_OF_SEEDS):
        graphs, data = compiled(seed)
        spiking = graphs["spiking"]
        populations, simulator = emitting(spiking), Simulator(spiking)
        delivery, caps = DELIVERIES[seed % len(DELIVERIES)], (None, 1 + seed % 7)
        runs = [(steps, "reset") for steps in caps]
        if any(node.body is not None for node in spiking.nodes):
            runs.append((caps[seed // len(DELIVERIES) % 2], "carry"))  # every delivery with and without a cap, over the seeds
        for steps, execution in runs:
            where = f"seed {seed}, {delivery}, {execution}, steps {steps}"
            options: dict[str, Any] = {"delivery": delivery, "execution": execution, "steps": steps, "record": list(populations)}
            fast = simulator.run(data, counts=True, **options)
            plain = simulate_plain(spiking, data, **options)
            assert fast.windows == plain.windows, where
            np.testing.assert_array_equal(fast.steps, plain.steps, err_msg=where)
            assert (fast.settled, fast.unsettled, fast.undelivered) == (plain.settled, plain.unsettled, plain.undelivered), where
            for mine, other in ((fast.spikes, plain.spikes), (fast.synops, plain.synops), (fast.charges, plain.charges)):
                assert set(mine) == set(other), where
                for name in mine:
                    np.testing.assert_array_equal(mine[name], other[name], err_msg=f"{where}: {name}")
            for name, array in plain.outputs.items():
                np.testing.assert_array_equal(fast.outputs[name], array, err_msg=f"{where}: output {name}")
            certified = ranges(spiking, data, delivery, execution)
            for name, train in plain.trains.items():
                low, high = certified.trains[name]["events"]
                assert low <= train.min(initial=0) and train.max(initial=0) <= high, f"{where}: events of {name}"
            for name, op in populations.items():
                inside = name not in spiking.values
                raster = raster_of(plain.trains[name], inside)
                np.testing.assert_array_equal(fast.rasters[name], raster, err_msg=f"{where}: {name}")
                check_ranges(value_of(spiking, name), op, plain, certified, name, inside and execution == "carry", where)


def raster_of(train: np.ndarray, in_scan: bool) -> np.ndarray:
    """Events (sample, window, step, address, value) of a dense train [steps, N, ...] or [windows, steps, N, ...]."""
    by_window = train if in_scan else train[np.newaxis]
    flat = by_window.reshape(*by_window.shape[:3], int(np.prod(by_window.shape[3:])))
    window, step, sample, address = np.nonzero(flat)
    events = np.stack([sample, window, step, address, flat[window, step, sample, address]], axis=1)
    return events[np.lexsort(events.T[::-1])] if len(events) else events.reshape(0, 5)


def check_ranges(
    value: Value, op: Population, plain: PlainResult, certified: Bounds, name: str, carried: bool, where: str
) -> None:
    """No sum and no membrane leaves its certified range, before or after firing, at any step."""
    sums, train, registers = plain.membranes[name], plain.trains[name], certified.registers[name]
    spikes = np.moveaxis(train, train.ndim - value.type.rank, 0)
    if not sums.size:
        return
    axis = sums.ndim - value.type.rank
    length = sums.shape[axis]
    silent = np.zeros((*spikes.shape[:axis], max(length - spikes.shape[axis], 0), *spikes.shape[axis + 1 :]), np.int64)
    spikes = np.concatenate([spikes, silent], axis=axis)
    start = np.zeros((), np.int64)
    if carried:  # windows start at what those before them sent
        sent = spikes.sum(axis=axis, keepdims=True)
        start = sent.cumsum(axis=1) - sent
    sums, spikes = (array.take(range(length), axis=axis) for array in (sums, spikes))
    assert registers["sum"][0] <= sums.min() and sums.max() <= registers["sum"][1], f"{where}: sums of {name}"
    after = start + spikes.cumsum(axis=axis)
    assert op.quantization.lo <= after.min(initial=0) and after.max(initial=0) <= op.quantization.hi, (
        f"{where}: tracers of {name}"
    )
    if op.staircase:
        return
    assert value.producer is not None
    theta = value.producer.operands[0].array.astype(np.int64)
    for tracer in (after - spikes, after):
        membrane = sums + theta // 2 - theta * tracer
        assert registers["membrane"][0] <= membrane.min() and membrane.max() <= registers["membrane"][1], (
            f"{where}: membrane of {name}"
        )


@pytest.mark.parametrize("first", SEEDS[:100:BATCH_OF_SEEDS])
def test_text_reads_back_at_every_level(first: int) -> None:
    for seed in range(first, first + BATCH_OF_SEEDS):
        for level, graph in compiled(seed)[0].items():
            assert parse(text(graph), tensors(graph)) == graph, f"seed {seed}, {level}"
