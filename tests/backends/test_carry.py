"""Carried scans: bodies keep their sums and tracers, and only changes are sent. The same integers, fewer spikes.

That both simulators agree and settle to the integers on random graphs stands in `test_simulator_properties.py` and
`tests/test_conversion.py`; here is what is peculiar to `carry`.
"""

from __future__ import annotations

import numpy as np
import pytest

from snnir.backends.simulator import DELIVERIES, Simulator
from snnir.ir import Graph, Op, Quantization, TensorType, Value
from snnir.ir.dims import dim
from snnir.ir.execute import execute
from snnir.ir.ops import Bif, Dense, Diagonal, Encode, Gru, Linear, Lstm, MaxPool, Product, Rbif, Readout, Reshape, Rnn, Scan
from snnir.machine.plain import simulate_plain
from snnir.passes import Context, default_pipeline, run_pipeline
from tests.backends.spiking_graphs import random_spiking_graph
from tests.backends.test_simulator import cell
from tests.backends.test_simulator_properties import assert_alike, recordable, settled_integers
from tests.machine_bounds import ranges, step_bounds

LEVELS = Quantization(1.0, -4, 7)


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_the_plain_simulator_settles_to_the_integers(delivery: str) -> None:
    for seed in range(40):
        graph, inputs = random_spiking_graph(np.random.default_rng(seed), scans=1 + seed % 2)
        outputs, seen = settled_integers(graph, inputs)
        result = simulate_plain(graph, inputs, delivery=delivery, execution="carry")
        where = f"seed {seed}, {delivery}"
        assert result.settled, where
        for name, array in outputs.items():
            np.testing.assert_array_equal(result.outputs[name], array, err_msg=f"{where}: output {name}")
        for name, counts in result.counts.items():
            expected = np.stack(seen[name], axis=1) if "/" in name else seen[name][0]
            np.testing.assert_array_equal(counts, expected, err_msg=f"{where}: {name}")


@pytest.mark.parametrize(
    ("delivery", "fired"),
    [
        ("relay", [[0, 0, 1], [0, 1, 1], [1, 0, -1], [1, 1, 1]]),
        ("replay", [[0, 0, 1], [0, 1, 1], [1, 0, -1], [1, 1, 1], [2, 0, -1], [2, 1, 1]]),
        ("graded", [[0, 0, 1], [0, 1, 1]]),
    ],
)
def test_a_carried_cell_by_hand(delivery: str, fired: list[list[int]]) -> None:
    """x = 2, 0, 0: in window 1 the encoder takes 2 back, and the state gives it, one a step or at once.

    In window 2 nothing changes, so nothing is sent; only `replay` sends again what window 1 fired on the way.
    """
    result = Simulator(cell()).run(
        {"x": np.array([[[2], [0], [0]]])}, delivery=delivery, execution="carry", record=["last/h"], counts=True
    )
    assert result.counts["last/h"].tolist() == [[[2], [2], [2]]]
    assert result.rasters["last/h"][:, [1, 2, 4]].tolist() == fired
    assert result.membranes["last/h"][0, 1, :, 0].tolist()[-1] == 2
    assert result.synops["last/u"].tolist() == result.charges["last/u"].tolist() == [2]
    assert result.outputs["all"].tolist() == [[[2], [2], [2]]]


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_what_a_state_starts_as_is_taken_back(delivery: str) -> None:
    """x = 0 and h = 2 from the start: window 1 gets the difference of 2 and 2. `replay` counts its train from 0 again."""
    result = Simulator(cell(initial=2.0)).run(
        {"x": np.zeros((1, 4, 1))}, delivery=delivery, execution="carry", record=["last/h"], counts=True
    )
    assert result.counts["last/h"].tolist() == [[[2]] * 4]
    later = result.rasters["last/h"][result.rasters["last/h"][:, 1] > 0]
    assert later[later[:, 1] == 1][:, [2, 4]].tolist() == ([[0, -1], [1, 1]] if delivery == "replay" else [])
    if delivery != "replay":
        assert len(later) == 0
        assert result.steps[0, 2:].tolist() == [0, 0, 0]


def test_the_first_window_is_that_of_reset() -> None:
    """Spike for spike, in every delivery, with and without a cap: nothing is known from before."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        graph, inputs = random_spiking_graph(rng, scans=1)
        record = recordable(graph)
        for delivery in DELIVERIES:
            for steps in (None, int(rng.integers(1, 6))):
                rasters = [
                    Simulator(graph).run(inputs, delivery=delivery, steps=steps, execution=execution, record=record).rasters
                    for execution in ("reset", "carry")
                ]
                for name in (name for name in record if name.startswith("scan/")):
                    first = [raster[name][raster[name][:, 1] == 0] for raster in rasters]
                    assert first[0].tolist() == first[1].tolist(), f"seed {seed}, {delivery}, {steps}: {name}"


def nested(reverse: bool = False) -> Graph:
    """A body with a shared value, an encoder, a maximum, and products of products of its own populations."""
    rng = np.random.default_rng(0)
    graph = Graph("nested", level="spiking")
    x = graph.input("x", TensorType((dim("N"), dim("T"), 4), "f32"))
    sequence = graph.add1(Encode(LEVELS), x, name="in")
    fixed = graph.add1(Encode(LEVELS), graph.input("c", TensorType((dim("N"), 4), "f32")), name="fixed")
    start = graph.add1(Encode(LEVELS), graph.constant("start", np.array([[1.0, -2.0, 0.0, 3.0]], np.float32)), name="start")
    body = Graph("body", level="spiking")
    kind = TensorType((dim("N"), 4), "spike", LEVELS)
    state, element = body.input("state", kind), body.input("element", kind)
    real = body.input("real", TensorType((dim("N"), 4), "f32"))
    shared = body.input("shared", kind)
    inside = body.add1(Encode(LEVELS), real, name="inside")

    def neurons(name: str, theta: int, *values: Value, op: type[Bif] = Bif) -> Value:
        weights = [body.constant("w", rng.integers(-5, 6, (4, 4)).astype(np.int8)) for _ in values]
        currents = [body.add1(Dense(), *pair, name=f"{name}_w") for pair in zip(values, weights, strict=True)]
        constants = [body.constant("theta", np.array(theta, np.int32)), body.constant("bias", np.array(3, np.int32))]
        return body.add1(op(LEVELS), *constants, *currents, name=name)

    a, b = neurons("a", 9, element, state, op=Rbif), neurons("b", 7, inside, shared)
    once = body.add1(Product(), a, b, name="once")
    twice = body.add1(Product(), once, a, name="twice")
    pooled = body.add1(MaxPool((2,), (1,), (1, 0), (1,)), body.add1(Reshape((dim("N"), 1, 4)), a), name="largest")
    flat = body.add1(Reshape((dim("N"), 4)), pooled)
    h = neurons("h", 61, once, twice, flat)
    scale, bias = body.constant("scale", np.array(0.5)), body.constant("bias", np.array(1, np.int32))
    direct = body.add1(Diagonal(), twice, body.constant("one", np.ones((), np.int8)), name="direct")
    for name, value in (("next", h), ("twice", twice), ("sum", body.add1(Readout(), scale, bias, direct, name="total"))):
        body.output(name, value)
    outputs = graph.add(Scan(1, 2, 1, reverse), start, sequence, x, fixed, names=["last", "products", "sums"], body=body)
    for value in outputs:
        graph.output(value.name, value)
    return graph


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_products_maxima_encoders_and_readouts_go_on(delivery: str, reverse: bool) -> None:
    graph, simulator = nested(reverse), Simulator(nested(reverse))
    rng = np.random.default_rng(1)
    for length in (0, 1, 2, 6):
        inputs = {"x": rng.normal(0, 4, (3, length, 4)), "c": rng.normal(0, 4, (3, 4))}
        outputs, seen = settled_integers(graph, inputs)
        record = recordable(graph)
        for steps in (None, 3, 11) if length else ():
            fast = Simulator(graph).run(
                inputs, delivery=delivery, execution="carry", steps=steps, counts=True, record=record, trace=True
            )
            plain = simulate_plain(graph, inputs, delivery=delivery, execution="carry", steps=steps, record=record)
            assert_alike(fast, plain, f"{delivery}, {length} elements, steps {steps}")
            for name, found in ranges(graph, inputs, delivery, "carry").trains.items():
                low, high = found["events"]
                values = fast.rasters[name][:, 4] if name in fast.rasters else np.zeros(0)
                assert low <= values.min(initial=0) and values.max(initial=0) <= high, name
        result = simulator.run(inputs, delivery=delivery, execution="carry", counts=True, trace=True)
        for name, array in outputs.items():
            np.testing.assert_array_equal(result.outputs[name], array, err_msg=name)
        for name, counts in result.counts.items():
            if name != "last/total" and length:
                expected = np.stack(seen[name], axis=1) if "/" in name else seen[name][0]
                np.testing.assert_array_equal(counts, expected, err_msg=name)
        bounds = step_bounds(graph, inputs, delivery, "carry")
        assert (result.steps <= np.array([bound for windows in bounds.values() for bound in windows])).all()


def test_shared_values_are_sent_once() -> None:
    inputs = {"x": np.random.default_rng(0).normal(0, 4, (2, 5, 4)), "c": np.ones((2, 4))}
    reset, carry = (Simulator(nested()).run(inputs, execution=execution).synops for execution in ("reset", "carry"))
    assert reset["last/b_w.1"].tolist() == [5 * 4 * 4] * 2
    assert carry["last/b_w.1"].tolist() == [4 * 4] * 2


def test_a_cut_off_window_is_made_up_for_later() -> None:
    """With one step a window, neurons that keep their sums catch up with a constant input; those that forget never do."""
    inputs = {"x": np.array([[[5.0], [0], [0], [0], [0], [0], [0], [0]]])}
    simulator = Simulator(cell())
    reset = simulator.run(inputs, steps=1, counts=True)
    carry = simulator.run(inputs, steps=1, counts=True, execution="carry")
    assert not reset.settled and not carry.settled
    assert reset.counts["last/h"][0, :, 0].tolist() == [1] * 8
    assert execute(simulator.graph, inputs)["last"].tolist() == [[5]]
    steady = {"x": np.full((1, 8, 1), 1.0)}
    slow = Simulator(cell(initial=7.0))  # the state of 7 takes 7 steps to tell, of which each window has one
    told = slow.run(steady, steps=1, counts=True, execution="carry")
    assert told.undelivered > 0
    assert told.counts["last/h"][0, :, 0].tolist() == sorted(told.counts["last/h"][0, :, 0].tolist())
    assert told.outputs["last"].tolist() == [[7]]


def recurrent(op: Op, gates: int, states: int) -> Graph:
    """A float layer over sequences [N, T, 3] with a linear readout of every element."""
    rng = np.random.default_rng(0)
    graph = Graph("layer")
    x = graph.input("x", TensorType((dim("N"), dim("T"), 3), "f32"))
    weights = [rng.normal(size=(gates * 5, 3)) * 0.7, rng.normal(size=(gates * 5, 5)) * 0.3]
    weights += [rng.normal(size=5 if gates == 1 else 20) * 0.3, *[np.zeros((1, 5))] * states]
    constants = [graph.constant(f"c{index}", array.astype(np.float32)) for index, array in enumerate(weights)]
    y = graph.add(op, x, *constants)[0]
    graph.output("y", graph.add1(Linear(), y, graph.constant("head", rng.normal(size=(2, 5)).astype(np.float32))))
    return graph


@pytest.mark.parametrize(("op", "gates", "states"), [(Rnn("tanh"), 1, 1), (Gru(), 3, 1), (Lstm(), 4, 2)])
def test_slowly_varying_signals_take_fewer_spikes(op: Op, gates: int, states: int) -> None:
    time = np.arange(40) / 40
    phase = np.arange(4)[:, np.newaxis, np.newaxis] + np.array([0.0, 1.0, 2.0])
    x = np.sin(2 * np.pi * time[:, np.newaxis] + phase).astype(np.float32)
    stages = run_pipeline(recurrent(op, gates, states), default_pipeline(4, 8, 6), Context({"x": x}))
    simulator = Simulator(stages[-1].graph)
    for delivery in DELIVERIES:
        reset, carry = (simulator.run({"x": x}, delivery=delivery, execution=execution) for execution in ("reset", "carry"))
        np.testing.assert_array_equal(reset.outputs["y"], carry.outputs["y"])
        assert carry.total_spikes.sum() < reset.total_spikes.sum() * (1 if delivery == "replay" else 0.5), delivery
    still = simulator.run({"x": np.repeat(x[:, :1], 40, axis=1)}, execution="carry", delivery="graded")
    silent, y = still.steps[:, -1] == 0, still.outputs["y"]  # a state may also go back and forth between two levels for ever
    assert silent.sum() >= 2, "once the state is steady, nothing is sent"
    np.testing.assert_array_equal(y[silent, -1], y[silent, -2])
