"""Which scales are chosen, and why: for channels by error and spikes, for states so that products align, by what readers lose."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import snnir
from snnir.ir import Graph, TensorType
from snnir.ir.dims import BATCH, dim
from snnir.ir.execute import execute
from snnir.ir.ops import Add, Bif, Clip, Conv, Gather, Gru, Linear, Lstm, MaxPool, Mul, Observe, PRelu, Quantize, Relu, Scan
from snnir.ir.verify import verify
from snnir.passes import Context, default_pipeline, run_pipeline
from snnir.passes.align_scales import aligned_factors
from snnir.passes.channel_scales import candidates
from snnir.passes.choose_factors import ACCURATE, THRIFTY, Precision, choose_factors
from snnir.passes.merge_prelu import MergePRelu
from snnir.passes.place_observers import place_observers
from snnir.passes.quantize_activations import levels_of
from snnir.passes.scale_groups import scale_groups
from snnir.runtime.accuracy import measure
from tests.random_graphs import random_graph

N = dim(BATCH)


def _until(graph: Graph, data: dict[str, np.ndarray], name: str, **options: int) -> Graph:
    passes = default_pipeline(**options)  # type: ignore[arg-type]
    until = [item.name for item in passes].index(name)
    return run_pipeline(graph, passes[:until], Context(data), check=False)[-1].graph


def _hidden(ranges: np.ndarray, back: np.ndarray, seed: int = 0) -> tuple[Graph, dict[str, np.ndarray]]:
    """Two layers; hidden channels of these ranges, which the second layer multiplies by `back`."""
    rng = np.random.default_rng(seed)
    graph = Graph("hidden")
    x = graph.input("x", TensorType((N, 10), "f32"))
    first = (rng.normal(size=(len(ranges), 10)) * ranges[:, None]).astype(np.float32)
    h = graph.add1(Relu(), graph.add1(Linear(), x, graph.constant("w", first)), name="h")
    graph.output("y", graph.add1(Linear(), h, graph.constant("v", (rng.normal(size=(6, len(ranges))) * back).astype(np.float32))))
    return graph, {"x": rng.normal(size=(256, 10)).astype(np.float32)}


def _chosen(graph: Graph, data: dict[str, np.ndarray], bits: int, rule: str = THRIFTY) -> dict[str, np.ndarray]:
    placed = place_observers(_until(graph, data, "calibrate"))
    found = candidates(placed.graph, placed.raw, data)
    seen = {candidate.node.operands[0]: candidate for candidate in found}
    execute(placed.graph, data, lambda value, array: seen[value].see(array) if value in seen else None)
    chosen = choose_factors(placed.graph, found, Precision(bits, 8, rule))
    return {node.operands[0].name: factors for node, factors in chosen.items() if len(factors) > 1}


def test_channels_get_scales_where_that_is_cheaper_than_more_bits() -> None:
    """Ranges that differ pay where the next layer needs the small ones; where it does not, they would only cost spikes."""
    ranges = np.exp(np.linspace(-3, 3, 16))
    factors = _chosen(*_hidden(ranges, 1 / ranges), bits=4)["h"]
    assert factors[0] < 0.3 * factors[-1]
    assert np.corrcoef(np.log(factors), np.log(ranges))[0, 1] > 0.9
    kept = _chosen(*_hidden(ranges, ranges), bits=4).get("h", np.ones(16))
    assert (kept[:6] == 1).all(), "small channels do not matter"
    assert "h" not in _chosen(*_hidden(np.ones(16), np.ones(16)), bits=4), "all are alike"
    alike = _chosen(*_hidden(np.ones(16), np.ones(16)), bits=4, rule=ACCURATE).get("h", np.ones(16))
    assert alike.min() > 0.5, "all are nearly alike"


@pytest.mark.parametrize("seed", range(3))
def test_scales_for_channels_give_more_for_their_spikes_than_bits(seed: int) -> None:
    """At 5 bits with them the error times the square of the spikes is less than at 6 bits without, and the error too."""
    ranges = np.exp(np.random.default_rng(seed).normal(0, 1.5, 16))
    graph, data = _hidden(ranges, 1 / ranges, seed)
    found = []
    for bits, channels in ((5, True), (6, False)):
        passes = [
            item if item.name != "calibrate" else replace(item, channels=channels)  # type: ignore[call-arg]
            for item in default_pipeline(bits, fit=False)
        ]
        stages = run_pipeline(graph, passes, Context(data), check=False)
        quantized = next(stage.graph for stage in stages if stage.pass_.name == "quantize-weights")
        spikes = 0

        def count(value: object, array: np.ndarray) -> None:
            nonlocal spikes
            spikes += int(np.abs(array).sum()) if getattr(value, "name", "") == "h" else 0

        execute(quantized, data, count)
        found.append((measure(graph, quantized, data)[0].sqnr, spikes))
    (sqnr, spikes), (other, others) = found
    assert sqnr > other
    assert 10 ** (-sqnr / 10) * spikes**2 < 0.7 * 10 ** (-other / 10) * others**2


def test_accurate_scales_lose_less_where_thrifty_ones_keep_one_for_all() -> None:
    """On average over networks whose channels differ a little, at 4 bits, on data that were not seen."""
    gains = []
    for seed in range(4):
        ranges = np.exp(np.random.default_rng(seed).normal(0, 0.2, 16))
        graph, data = _hidden(ranges, 1 / ranges, seed)
        other = {"x": np.random.default_rng(99 + seed).normal(size=(256, 10)).astype(np.float32)}
        thrifty, accurate = (
            snnir.compile(graph, calibration=data, bits=4, fit=False, check=False, channel_scales=rule)
            for rule in (THRIFTY, ACCURATE)
        )
        before, after = (measure(graph, item.graph("quantized"), other)[0].sqnr for item in (thrifty, accurate))
        gains.append(after - before)
    assert np.mean(gains) > 0.5, gains
    assert min(gains) > -1.5, gains


@pytest.mark.parametrize("cell", [Gru, Lstm])
@pytest.mark.parametrize("bits", [4, 8])
def test_products_that_a_state_adds_up_are_powers_of_two_apart(cell: type[Gru] | type[Lstm], bits: int) -> None:
    for seed in range(4):
        graph, data = _recurrent(cell, seed)
        levels = _until(graph, data, "quantize-weights", bits=bits)
        (scan,) = [node for node in levels.nodes if isinstance(node.op, Scan)]
        assert scan.body is not None
        state = list(scan.body.outputs.values())[scan.op.states - 1]  # type: ignore[attr-defined]
        assert state.producer is not None
        total = state.producer.operands[0]
        scales_found = []
        behind = [total]
        while behind:
            node = behind.pop().producer
            if node is not None and isinstance(node.op, Add):
                behind += node.operands
            elif node is not None:
                quantization = node.output.type.quantization
                assert quantization is not None
                scales_found.append(quantization.scale)
        assert len(scales_found) == 2
        ratio = math.log2(scales_found[0] / scales_found[1])
        assert abs(ratio - round(ratio)) < 1e-9


def _recurrent(cell: type[Gru] | type[Lstm], seed: int) -> tuple[Graph, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    graph, gates = Graph("memory"), 3 if cell is Gru else 4
    x = graph.input("x", TensorType((N, dim("T"), 6), "f32"))
    arrays = {"w": rng.normal(size=(gates * 5, 6)) * 0.5, "r": rng.normal(size=(gates * 5, 5)) * 0.5, "b": rng.normal(size=20)}
    arrays |= {f"s{index}": np.zeros((1, 5)) for index in range(cell.STATES)}
    every, *_ = graph.add(cell(), x, *(graph.constant(name, array.astype(np.float32)) for name, array in arrays.items()))
    last = graph.add1(Gather(1, (-1,), ()), every)
    graph.output("y", graph.add1(Linear(), last, graph.constant("v", rng.normal(size=(2, 5)).astype(np.float32))))
    return graph, {"x": rng.normal(size=(64, 9, 6)).astype(np.float32)}


def test_a_scale_moves_by_less_than_two_and_hardly_down() -> None:
    moved = 0
    for seed in range(60):
        graph, data = random_graph(seed)
        calibrated = _until(graph, data, "quantize-activations")
        scales = {node: levels_of(node, 5).scale for _, node in calibrated.walk() if isinstance(node.op, Observe)}
        factors = aligned_factors(calibrated, scales)
        assert all(0.94 < factor < 2 for factor in factors.values())
        for nodes in scale_groups(calibrated):
            assert len({factors.get(node, 1.0) for node in nodes}) == 1, "what shares a scale goes on to"
        moved += bool(factors)
    assert moved


def test_inputs_get_the_bits_that_the_rest_needs() -> None:
    """Beside activations of 4 bits 8 are enough; where a small difference of two large inputs matters, they are not."""
    graph, data = _hidden(np.ones(16), np.ones(16))
    assert _input_bits(graph, data, 4) == 8
    rng = np.random.default_rng(7)
    graph = Graph("difference")
    x = graph.input("x", TensorType((N, 2), "f32"))
    weight = np.array([[1, -1], [-1, 1], [2, -2]], np.float32) * 30
    h = graph.add1(Relu(), graph.add1(Linear(), x, graph.constant("w", weight)))
    graph.output("y", graph.add1(Linear(), h, graph.constant("v", rng.normal(size=(2, 3)).astype(np.float32))))
    common = rng.normal(size=(256, 1))
    data = {"x": (common + rng.normal(0, 0.01, (256, 2))).astype(np.float32)}
    assert _input_bits(graph, data, 4) >= 10
    assert _input_bits(graph, data, 8) == 14
    assert _input_bits(graph, data, 4, input_bits=6) == 6, "given bits stay"
    few = _input_bits(graph, data, 4, neuron="few-spikes")
    assert 8 <= few <= _input_bits(graph, data, 4), "bits are planes there"


def _input_bits(graph: Graph, data: dict[str, np.ndarray], bits: int, **options: int | str) -> int:
    program = snnir.compile(graph, calibration=data, bits=bits, check=False, **options)  # type: ignore[arg-type]
    (node,) = [node for node in program.graph("quantized").nodes if isinstance(node.op, Quantize)]
    levels = node.op.quantization  # type: ignore[attr-defined]
    return int(levels.hi - levels.lo).bit_length()


def _sloped(slopes: np.ndarray, rank: int) -> tuple[Graph, dict[str, np.ndarray]]:
    rng = np.random.default_rng(len(slopes) + rank)
    graph, count = Graph("falling"), len(slopes)
    sizes = (6, 5)[: rank - 2]
    x = graph.input("x", TensorType((N, 3, *sizes), "f32"))
    shape = (3, 3)[: rank - 2]
    weight = graph.constant("w", rng.normal(size=(count, 3, *shape)).astype(np.float32))
    bias = graph.constant("b", rng.normal(size=count).astype(np.float32))
    conv = Conv((1,) * len(sizes), (1,) * (2 * len(sizes)), (1,) * len(sizes))
    h = graph.add1(conv if sizes else Linear(), x, weight, bias)
    spread = slopes.astype(np.float32).reshape(1, count, *(1,) * len(sizes))
    scaled = graph.add1(Mul(), h, graph.constant("slope", spread))
    rest = graph.add1(Mul(), graph.add1(Clip(low=0.0), h), graph.constant("rest", 1 - spread))
    p = graph.add1(Add(), scaled, rest, name="p")
    if len(sizes) == 2:
        p = graph.add1(MaxPool((2, 2), (2, 2), (0,) * 4, (1, 1)), p)
    last = rng.normal(size=(4, count, *(2,) * len(sizes))).astype(np.float32)
    op = Conv((1,) * len(sizes), (0,) * (2 * len(sizes)), (1,) * len(sizes)) if sizes else Linear()
    graph.output("y", graph.add1(op, p, graph.constant("v", last)))
    return graph, {"x": rng.normal(size=(48, 3, *sizes)).astype(np.float32)}


@pytest.mark.parametrize("rank", [2, 3, 4])
@pytest.mark.parametrize("slopes", [(-0.5, -0.1, -0.3), (0.2, -0.4, 0.0, -1.1, 0.7), (0.3, -0.6)])
def test_prelu_with_falling_slopes_is_the_larger_of_two_increasing_functions(slopes: tuple[float, ...], rank: int) -> None:
    graph, data = _sloped(np.array(slopes), rank)
    merged = MergePRelu().run(graph, Context()).graph
    verify(merged)
    assert any(isinstance(node.op, PRelu) for node in merged.nodes)
    np.testing.assert_allclose(execute(merged, data)["y"], execute(graph, data)["y"], atol=1e-5)
    program = snnir.compile(graph, calibration=data, bits=5)
    assert sum(isinstance(node.op, Bif) for _, node in program.graph().walk()) == 2
    assert program.verify(data["x"][:8]).ok
    assert measure(graph, program.graph("quantized"), data)[0].sqnr > 20
