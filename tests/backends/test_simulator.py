"""Small networks whose spikes can be worked out by hand, the edges of the simulator, and what it refuses."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from snnir.backends.simulator import Simulator
from snnir.errors import InputError, SnnirError, UnsupportedError, UsageError
from snnir.ir import Graph, Quantization, TensorType, Value
from snnir.ir.dims import dim
from snnir.ir.execute import execute
from snnir.ir.ops import Bif, Conv, Dense, Diagonal, Encode, Expand, MaxPool, Mul, Rbif, Readout, Reshape, Scan, Slice, Transpose
from snnir.machine.plain import simulate_plain

LEVELS = Quantization(1.0, -4, 7)


def encoded(*shape: int, quantization: Quantization = LEVELS) -> tuple[Graph, Value]:
    graph = Graph("small", level="spiking")
    return graph, graph.add1(Encode(quantization), graph.input("x", TensorType((dim("N"), *shape), "f32")), name="in")


def neurons(graph: Graph, *currents: Value, theta: int, bias: int = 0, name: str = "h", levels: Quantization = LEVELS) -> Value:
    constants = [graph.constant("theta", np.array(theta, np.int32)), graph.constant("bias", np.array(bias, np.int32))]
    return graph.add1(Bif(levels), *constants, *currents, name=name)


def dense(graph: Graph, value: Value, weight: object, name: str = "w") -> Value:
    return graph.add1(Dense(), value, graph.constant("weight", np.array(weight, np.int8)), name=name)


def read(graph: Graph, *currents: Value) -> None:
    scale, bias = graph.constant("scale", np.array(0.5)), graph.constant("bias", np.array(1, np.int32))
    graph.output("y", graph.add1(Readout(), scale, bias, *currents, name="sum"))


def chain(levels: Quantization = LEVELS) -> Graph:
    graph, value = encoded(2)
    hidden = neurons(graph, dense(graph, value, [[2, 1], [-3, 0]], "first"), theta=4, levels=levels)
    read(graph, dense(graph, hidden, [[1, 1], [1, -1], [5, 0]], "second"))
    return graph


def cell(reverse: bool = False, initial: float = 0.0, body_op: type[Bif] = Rbif, whole: bool = True) -> Graph:
    """h_k = x_k + h_{k-1}, in levels -4..7, thresholds 1; `whole`: all of it is an output too."""
    graph = Graph("cell", level="spiking")
    sequence = graph.add1(Encode(LEVELS), graph.input("x", TensorType((dim("N"), dim("T"), 1), "f32")), name="in")
    start = graph.add1(Encode(LEVELS), graph.constant("start", np.full((1, 1), initial, np.float32)), name="start")
    body = Graph("body", level="spiking")
    kind = TensorType((dim("N"), 1), "spike", LEVELS)
    state, element = body.input("state", kind), body.input("element", kind)
    currents = [body.add1(Diagonal(), value, body.constant("w", np.ones(1, np.int8)), name="u") for value in (element, state)]
    constants = [body.constant("theta", np.array(1, np.int32)), body.constant("bias", np.array(0, np.int32))]
    following = body.add1(body_op(LEVELS), *constants, *currents, name="h")
    body.output("state", following)
    body.output("all", following)
    last, everything = graph.add(Scan(1, 1, 1, reverse), start, sequence, names=["last", "all"], body=body)
    graph.output("last", last)
    if whole:
        graph.output("all", everything)
    return graph


def test_spikes_steps_and_costs_by_hand() -> None:
    """x = (3, -2): A = (4, -9). theta 4: neuron 0 fires once, at step 0; neuron 1 goes to -2, at steps 0 and 1."""
    result = Simulator(chain()).run({"x": np.array([[3, -2], [0, 0]])}, record=["in", "h"], counts=True, trace=True, threads=1)
    assert result.rasters["in"].tolist() == [[0, 0, 0, 0, 3], [0, 0, 0, 1, -2]]
    assert result.rasters["h"].tolist() == [[0, 0, 0, 0, 1], [0, 0, 0, 1, -1], [0, 0, 1, 1, -1]]
    assert result.counts["h"].tolist() == [[1, -2], [0, 0]]
    assert result.counts["sum"].tolist() == [[0, 4, 6], [1, 1, 1]]
    assert result.outputs["y"].tolist() == [[0.0, 2.0, 3.0], [0.5, 0.5, 0.5]]
    assert result.trace["y"][:, 0].tolist() == [[0.5, 1.5, 3.0], [0.0, 2.0, 3.0]]
    assert result.membranes["h"][0].tolist() == [[4, -9], [4, -9]]
    assert result.spikes["h"].tolist() == [3, 0]
    assert result.synops["first"].tolist() == result.charges["first"].tolist() == [4, 0]
    assert result.synops["second"].tolist() == [9, 0]
    assert result.charges["second"].tolist() == [0, 0]
    assert result.total_spikes.tolist() == [3, 0]
    assert result.total_synops.tolist() == [13, 0]
    assert result.total_charges.tolist() == [4, 0]
    assert result.windows == ["small"]
    assert result.steps.tolist() == [[2], [0]]
    assert result.settled
    assert result.unsettled == result.undelivered == 0


def test_a_cap_tells_what_was_left() -> None:
    simulator = Simulator(chain())
    capped = simulator.run({"x": np.array([[7, -4], [0, 0]])}, steps=2)  # A = (10, -21): levels 3 and -4
    assert not capped.settled
    assert capped.unsettled == 2
    assert capped.steps.tolist() == [[2], [0]]
    assert simulator.run({"x": np.array([[7, -4], [0, 0]])}, steps=4).settled


def test_a_cap_that_cuts_a_delivery_is_not_settled() -> None:
    result = Simulator(cell()).run({"x": np.array([[[3], [-3]]])}, steps=2)
    assert not result.settled
    assert result.unsettled == 1  # window 0 wanted 3 steps; its state of 2 is delivered whole
    assert result.undelivered == 0
    late = Simulator(cell(initial=5.0)).run({"x": np.zeros((1, 1, 1))}, steps=2)
    assert late.undelivered == 3
    assert not late.settled


@pytest.mark.parametrize(("delivery", "steps"), [("relay", [0, 3, 3]), ("graded", [0, 3, 3]), ("replay", [0, 3, 3])])
def test_recurrent_deliveries_by_hand(delivery: str, steps: list[int]) -> None:
    """x = 3, 0: window 1 gets 3 as single spikes or at once; either way its neuron fires at steps 0, 1 and 2."""
    result = Simulator(cell()).run({"x": np.array([[[3], [0]]])}, delivery=delivery, record=["last/h"])
    assert result.steps.tolist() == [[1, *steps[1:]]]
    assert result.rasters["last/h"][:, 1:3].tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert result.charges["last/u"].tolist() == [1]
    assert result.charges["last/u.1"].tolist() == [1 if delivery == "graded" else 0]
    assert result.synops["last/u.1"].tolist() == [1 if delivery == "graded" else 3]


def test_a_reversed_scan_counts_in_order_of_processing() -> None:
    result = Simulator(cell(reverse=True)).run({"x": np.array([[[1], [2], [3]]])}, counts=True)
    assert result.counts["last/h"].tolist() == [[[3], [5], [6]]]
    assert result.outputs["all"].tolist() == [[[6], [5], [3]]]
    assert result.outputs["last"].tolist() == [[6]]
    assert result.windows == ["cell", "last[2]", "last[1]", "last[0]"]


@pytest.mark.parametrize("kind", ["joined", "cut"])
@pytest.mark.parametrize("execution", ["reset", "carry"])
@pytest.mark.parametrize("delivery", ["replay", "relay", "graded"])
@pytest.mark.parametrize(("batch", "length"), [(2, 4), (1, 1), (2, 0)])
def test_scans_of_scans(batch: int, length: int, delivery: str, execution: str, kind: str) -> None:
    """What one scan stacks and another takes apart: kept cut where nobody reads the whole sequence."""
    graph = cell(whole=kind == "joined")
    (first,) = (node for node in graph.nodes if isinstance(node.op, Scan))
    body, start = first.body, first.operands[0]
    assert body is not None
    _, again = graph.add(Scan(1, 1, 1, reverse=True), start, first.outputs[1], names=["again", "second"], body=body)
    graph.output("second", again)
    x = np.random.default_rng(0).integers(-5, 6, (batch, length, 1)).astype(np.float32)
    found = Simulator(graph).run({"x": x}, delivery=delivery, execution=execution, counts=True)
    for name, array in execute(graph, {"x": x}).items():
        np.testing.assert_array_equal(found.outputs[name], array)


def test_inputs_times_factors_are_refused_where_they_are_no_numbers() -> None:
    graph = Graph("factors", level="spiking")
    real = graph.input("x", TensorType((dim("N"), 2), "f32"))
    product = graph.add1(Mul(), real, graph.constant("factor", np.array([2, 3e38], np.float32)))
    value = graph.add1(Encode(LEVELS), product, name="in")
    read(graph, dense(graph, value, [[1, 2]]))
    simulator = Simulator(graph)
    assert simulator.run({"x": np.array([[1, 10.0]])}).outputs["y"].tolist() == [[8.5]]  # 1 + 2 + 2 * 7, times a half
    for wrong in (np.nan, np.inf):
        with pytest.raises(InputError, match="x"):
            simulator.run({"x": np.array([[1, wrong]])})


@pytest.mark.parametrize("execution", ["reset", "carry"])
@pytest.mark.parametrize("delivery", ["replay", "relay", "graded"])
@pytest.mark.parametrize(("batch", "length"), [(0, 3), (2, 0), (0, 0), (1, 1)])
def test_empty_batches_and_sequences(batch: int, length: int, delivery: str, execution: str) -> None:
    graph, inputs = cell(initial=2.0), {"x": np.ones((batch, length, 1))}
    fast = Simulator(graph).run(inputs, delivery=delivery, execution=execution, counts=True, trace=True, record=["last/h"])
    plain = simulate_plain(graph, inputs, delivery=delivery, execution=execution, record=["last/h"])
    for result in (fast, plain):
        assert result.outputs["last"].tolist() == [[2 + length]] * batch
        assert result.outputs["all"].shape == (batch, length, 1)
        assert result.steps.shape == (batch, 1 + length)
        assert result.settled
    assert fast.counts["last/h"].shape == (batch, length, 1)


def test_more_samples_than_a_round_and_progress() -> None:
    seen: list[tuple[int, int]] = []
    x = np.random.default_rng(0).integers(-4, 8, (300, 2))
    result = Simulator(chain()).run({"x": x}, threads=2, progress=lambda done, total: seen.append((done, total)))
    np.testing.assert_array_equal(result.outputs["y"], execute(chain(), {"x": x})["y"])
    assert seen[0] == (2, 300)  # one sample of each thread, which may take long
    assert seen[-1] == (300, 300)
    assert seen == sorted(seen)


def test_plans_are_reused_and_lengths_may_differ() -> None:
    simulator = Simulator(cell())
    for length in (3, 1, 4, 3, 2, 5, 6, 7, 8, 9, 10):
        x = np.random.default_rng(length).integers(-2, 3, (2, length, 1))
        np.testing.assert_array_equal(simulator.run({"x": x}).outputs["all"], execute(simulator.graph, {"x": x})["all"])


def test_sums_beyond_32_bits() -> None:
    graph, value = encoded(2)
    large = graph.add1(Dense(), value, graph.constant("w", np.array([[2**33, -(2**32)], [5, 2**33]], np.int64)), name="large")
    constants = [graph.constant("theta", np.array(2**31, np.int64)), graph.constant("bias", np.array(-(2**30), np.int64))]
    graph.output("h", graph.add1(Bif(LEVELS), *constants, large, name="h"))
    x = np.random.default_rng(0).integers(-4, 8, (20, 2))
    np.testing.assert_array_equal(Simulator(graph).run({"x": x}).outputs["h"], execute(graph, {"x": x})["h"])


@pytest.mark.parametrize("shape", [(2, 6), (2, 5, 4), (2, 3, 4, 3), (2, 3, 2, 3, 2)])
def test_convolutions_beside_other_synapses(shape: tuple[int, ...]) -> None:
    """Alone, with a dense current (maps cannot stay side by side), and over more axes than the kernel knows."""
    rng = np.random.default_rng(0)
    spatial = len(shape) - 1
    for beside in (False, True):
        graph, value = encoded(*shape)
        kernel, padding = (3,) * spatial, (1,) * (2 * spatial)
        weight = graph.constant("w", rng.integers(-9, 10, (2, 2, *kernel)).astype(np.int8))
        currents = [graph.add1(Conv((1,) * spatial, padding, (1,) * spatial), value, weight, name="conv")]
        if beside:
            currents.append(dense(graph, value, rng.integers(-9, 10, (shape[-1], shape[-1]))))
        graph.output("h", neurons(graph, *currents, theta=21, bias=-3))
        x = rng.integers(-4, 8, (3, *shape))
        fast, plain = Simulator(graph).run({"x": x}), simulate_plain(graph, {"x": x})
        np.testing.assert_array_equal(fast.outputs["h"], execute(graph, {"x": x})["h"])
        for name, synops in fast.synops.items():
            np.testing.assert_array_equal(synops, plain.synops[name])


def test_a_graph_of_a_fixed_batch() -> None:
    graph = Graph("fixed", level="spiking")
    value = graph.add1(Encode(LEVELS), graph.input("x", TensorType((2, 3), "f32")), name="in")
    turned = graph.add1(Slice(1, None, None, -1), value)
    read(graph, dense(graph, neurons(graph, dense(graph, turned, np.eye(3)), theta=1), np.eye(3)))
    x = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(Simulator(graph).run({"x": x}).outputs["y"], execute(graph, {"x": x})["y"])


def test_constant_trains_spread_over_samples() -> None:
    graph, value = encoded(3)
    constant = graph.add1(Encode(LEVELS), graph.constant("c", np.array([[1, -2, 3]], np.float32)), name="constant")
    whole = graph.add1(Expand((dim("N"), 3)), constant)
    currents = [dense(graph, value, np.eye(3)), dense(graph, constant, 2 * np.eye(3)), dense(graph, whole, 3 * np.eye(3))]
    read(graph, dense(graph, neurons(graph, *currents, theta=3), np.eye(3)))
    x = np.random.default_rng(0).integers(-4, 8, (5, 3))
    for result in (Simulator(graph).run({"x": x}), simulate_plain(graph, {"x": x})):
        np.testing.assert_array_equal(result.outputs["y"], execute(graph, {"x": x})["y"])


def test_bad_options_name_the_choices() -> None:
    simulator, x = Simulator(chain()), {"x": np.zeros((1, 2))}
    with pytest.raises(UsageError, match="replay, relay, graded"):
        simulator.run(x, delivery="carry")
    with pytest.raises(UsageError, match="reset, carry"):
        simulator.run(x, execution="replay")
    with pytest.raises(UsageError, match="steps is 0"):
        simulator.run(x, steps=0)
    with pytest.raises(UsageError, match="cannot record 'nowhere'.*in, h"):
        simulator.run(x, record=["nowhere"])
    with pytest.raises(UsageError, match="cannot record 'h'"):
        simulator.run(x, record="h")
    with pytest.raises(UsageError, match="threads is 0"):
        simulator.run(x, threads=0)
    with pytest.raises(InputError, match="shape"):
        simulator.run({"x": np.zeros((1, 3))})
    with pytest.raises(UsageError, match="float level"):
        Simulator(Graph("early"))


def refused() -> dict[str, tuple[Graph, dict[str, np.ndarray], str]]:
    batch, batch_value = encoded(3, 2)
    batch.output("h", batch.add1(Transpose((1, 0, 2)), batch_value))
    merged, merged_value = encoded(3, 2)
    merged.output("h", merged.add1(Reshape((3 * dim("N"), 2)), merged_value))
    current, current_value = encoded(2)
    current.output("h", dense(current, current_value, np.eye(2)))
    again = chain()
    again.output("again", again.add1(Encode(LEVELS), again.outputs["y"], name="again"))
    moved, moved_value = encoded(2)
    turned = moved.add1(Slice(1, None, None, -1), dense(moved, moved_value, np.eye(2)))
    moved.output("h", neurons(moved, turned, theta=1))
    padded, padded_value = encoded(1, 1)
    padded.output("h", padded.add1(MaxPool((2,), (1,), (1, 1), (2,)), padded_value))
    large, large_value = encoded(2, quantization=Quantization(1.0, -(1 << 29), 1 << 29))
    large.output("h", large_value)
    wide, flat = {"x": np.zeros((4, 3, 2))}, {"x": np.zeros((4, 2))}
    return {
        "batch": (batch, wide, "batch axis"),
        "merged batch": (merged, wide, "batch axis"),
        "current as output": (current, flat, "gives out real values and spikes"),
        "encoded readout": (again, flat, "only after the network"),
        "moved current": (moved, flat, "cannot run slice"),
        "large event": (large, flat, "carries at most"),
        "empty window": (padded, {"x": np.zeros((1, 1, 1))}, "padding only"),
    }


@pytest.mark.parametrize("case", refused())
def test_what_cannot_be_simulated_is_refused_by_name(case: str) -> None:
    graph, inputs, message = refused()[case]
    with pytest.raises(UnsupportedError, match=message) as raised:
        Simulator(graph).run(inputs)
    assert isinstance(raised.value, SnnirError)


def test_numba_is_imported_only_to_run() -> None:
    script = "import sys, snnir.backends.simulator; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
