"""Scales for channels: factors that weights carry leave what a graph computes as it is, and give every channel its levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import snnir
from snnir.ir import Graph, TensorType
from snnir.ir.dims import dim
from snnir.ir.execute import execute
from snnir.ir.ops import Add, Clip, Concat, Conv, Gather, Gru, Linear, Lstm, Mul, Observe, Relu
from snnir.ir.verify import verify
from snnir.passes import Context, default_pipeline, run_pipeline
from snnir.passes.channel_scales import apply_factors, candidates
from snnir.passes.place_observers import place_observers
from tests.random_graphs import random_graph

N, T = dim("N"), dim("T")


def simplified(graph: Graph, data: dict[str, np.ndarray]) -> Graph:
    passes = default_pipeline(4)
    until = [pass_.name for pass_ in passes].index("calibrate")
    return run_pipeline(graph, passes[:until], Context(data))[-1].graph


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_any_factors_leave_random_graphs_as_they_are(first: int) -> None:
    divided = 0
    for seed in range(first, first + 20):
        graph, data = random_graph(seed)
        observed = place_observers(simplified(graph, data))
        rng = np.random.default_rng(seed)
        found = [candidate for candidate in candidates(observed.graph, observed.raw, data) if candidate.free]
        for candidate in found:  # some with an offset, as if the data were far from 0
            if candidate.movable and seed % 2:
                low = rng.uniform(-9, 9, len(candidate.largest))
                candidate.ends[:] = low, low + 0.1
                candidate.largest[:], candidate.count = np.abs(low) + 0.1, 1000
        chosen = {candidate.node: np.exp(rng.normal(size=len(candidate.largest))) for candidate in found}
        divided += len(chosen)
        changed = apply_factors(observed.graph, found, chosen, data)
        verify(changed)
        for name, expected in execute(observed.graph, data).items():
            result = execute(changed, data)[name]
            if expected.dtype.kind == "f":
                span = float(np.abs(expected).max(initial=0)) + 1e-6
                np.testing.assert_allclose(result, expected, atol=2e-4 * span, rtol=2e-4, err_msg=f"{seed} {name}")
    assert divided > 5


def _correlation(graph: Graph, calibration: dict[str, np.ndarray], data: dict[str, np.ndarray], **options: Any) -> float:
    program = snnir.compile(graph, calibration=calibration, **options)
    assert program.verify(data).ok
    (levels,), (real,) = program.reference(data).values(), execute(graph, data).values()
    return float(np.corrcoef(levels.ravel(), real.ravel())[0, 1])


def _split(data: np.ndarray, count: int = 128) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    return {"x": data[:count]}, {"x": data[count:]}


RANGES = np.array([1e3, 30.0, 1.0, 0.02, 200.0, 5e-3])


def _head(graph: Graph, x: Any, rng: np.random.Generator, inputs: int) -> None:
    h = graph.add1(
        Relu(), graph.add1(Linear(), x, graph.constant("w", rng.normal(size=(12, inputs)).astype(np.float32) / RANGES))
    )
    graph.output("y", graph.add1(Linear(), h, graph.constant("v", rng.normal(size=(3, 12)).astype(np.float32))))


def test_features_of_an_input_have_scales_of_their_own() -> None:
    rng = np.random.default_rng(0)
    graph = Graph("columns")
    _head(graph, graph.input("x", TensorType((N, 6), "f32")), rng, 6)
    x = (rng.normal(size=(256, 6)) * RANGES).astype(np.float32)
    assert _correlation(graph, *_split(x), bits=8) > 0.999
    assert _correlation(graph, *_split(x + 50 * RANGES.astype(np.float32)), bits=8) > 0.995, "far from 0"


@pytest.mark.parametrize("cell", [Gru, Lstm])
def test_channels_of_a_sequence_have_scales_of_their_own(cell: Any) -> None:
    rng = np.random.default_rng(1)
    graph, gates = Graph("sensors"), 3 if cell is Gru else 4
    x = graph.input("x", TensorType((N, T, 6), "f32"))
    feed = (rng.normal(size=(gates * 5, 6)) * 0.5 / RANGES).astype(np.float32)
    back = (rng.normal(size=(gates * 5, 5)) * 0.5).astype(np.float32)
    arrays = {"w": feed, "r": back, "b": rng.normal(size=20).astype(np.float32)}
    arrays |= {f"s{index}": np.zeros((1, 5), np.float32) for index in range(cell.STATES)}
    every, *_ = graph.add(cell(), x, *(graph.constant(name, array) for name, array in arrays.items()))
    last = graph.add1(Gather(1, (-1,), ()), every)
    graph.output("y", graph.add1(Linear(), last, graph.constant("v", rng.normal(size=(2, 5)).astype(np.float32))))
    data = (rng.normal(size=(192, 7, 6)) * RANGES).astype(np.float32)
    assert _correlation(graph, *_split(data), bits=8) > 0.995


def test_parts_of_a_concatenation_keep_ranges_of_their_own() -> None:
    found = []
    for second in (1.0, 1e-3):
        rng = np.random.default_rng(2)
        graph = Graph("branches")
        x = graph.input("x", TensorType((N, 6), "f32"))
        parts = []
        for name, factor in (("a", 1.0), ("b", second)):
            weight = graph.constant(name, (rng.normal(size=(8, 6)) * factor).astype(np.float32))
            parts.append(graph.add1(Relu(), graph.add1(Linear(), x, weight)))
        weight = rng.normal(size=(3, 16)) * np.repeat([1.0, 1 / second], 8)
        joined = graph.add1(Concat(1), *parts)
        graph.output("y", graph.add1(Linear(), joined, graph.constant("w", weight.astype(np.float32))))
        found.append(_correlation(graph, *_split(rng.normal(size=(256, 6)).astype(np.float32)), bits=8))
    assert abs(found[1] - found[0]) < 1e-3


def test_channels_of_activations_have_scales_of_their_own() -> None:
    """The same function is computed alike with channels alike and unlike, through depthwise weights and a residual sum."""
    ratios = []
    for seed in range(4):
        alike, unlike = (_loss_of_maps(seed, spread) for spread in (0.0, 1.2))
        ratios.append(unlike / alike)
    assert max(ratios) < 1.6
    assert np.mean(ratios) < 1.2


def _loss_of_maps(seed: int, spread: float) -> float:
    rng = np.random.default_rng(seed)
    factors = np.exp(np.random.default_rng(seed + 50).normal(0, spread, 16))
    graph = Graph("maps")
    x = graph.input("x", TensorType((N, 3, 8, 8), "f32"))
    first = rng.normal(size=(16, 3, 3, 3)) * factors.reshape(-1, 1, 1, 1)
    h = graph.add1(Relu(), graph.add1(Conv((1, 1), (1, 1, 1, 1), (1, 1)), x, graph.constant("a", first.astype(np.float32))))
    depthwise = graph.constant("b", rng.normal(size=(16, 1, 3, 3)).astype(np.float32))
    deep = graph.add1(Conv((1, 1), (1, 1, 1, 1), (1, 1), 16), h, depthwise)
    h = graph.add1(Relu(), graph.add1(Add(), deep, h))
    last = rng.normal(size=(4, 16, 1, 1)) / factors.reshape(1, -1, 1, 1)
    graph.output("y", graph.add1(Conv((1, 1), (0, 0, 0, 0), (1, 1)), h, graph.constant("c", last.astype(np.float32))))
    data = rng.normal(size=(40, 3, 8, 8)).astype(np.float32)
    return 1 - _correlation(graph, *_split(data, 32), bits=4)


def test_what_leaves_the_network_or_is_compared_keeps_its_units() -> None:
    graph = Graph("kept")
    x = graph.input("x", TensorType((N, 4), "f32"))
    h = graph.add1(Relu(), graph.add1(Linear(), x, graph.constant("w", np.diag([1.0, 10, 100, 1000]).astype(np.float32))))
    graph.output("y", h)
    graph.output("part", graph.add1(Gather(1, (0, 2), (2,)), h))
    data = {"x": np.abs(np.random.default_rng(5).normal(size=(64, 4))).astype(np.float32)}
    observed = place_observers(simplified(graph, data))
    free = {candidate.node.operands[0].name: candidate.free for candidate in candidates(observed.graph, observed.raw, data)}
    assert free["x"]
    assert not any(free[name] for name in free if name != "x")
    assert any(isinstance(node.op, Observe) for node in observed.graph.nodes)


@pytest.mark.parametrize("slopes", [(-0.5, -0.1, -0.3), (0.2, -0.4, 0.0, -1.1, 0.7)])
@pytest.mark.parametrize("sizes", [(), (6,), (6, 6)])
def test_both_parts_of_a_prelu_with_falling_slopes_take_the_same_factors(
    slopes: tuple[float, ...], sizes: tuple[int, ...]
) -> None:
    """Channels of unequal range behind such a PReLU: factors are carried through the maximum, and pay."""
    rng, count = np.random.default_rng(len(slopes)), len(slopes)
    graph = Graph("sloped")
    x = graph.input("x", TensorType((N, 3, *sizes), "f32"))
    ranges = (4.0 ** np.arange(count)).reshape(-1, *(1,) * (1 + len(sizes)))
    dims = len(sizes)
    conv = Conv((1,) * dims, (1,) * (2 * dims), (1,) * dims) if dims else Linear()
    weight = (rng.normal(size=(count, 3, *(3,) * dims)) * ranges).astype(np.float32)
    h = graph.add1(conv, x, graph.constant("w", weight))
    spread = np.array(slopes, np.float32).reshape(1, count, *(1,) * dims)
    scaled = graph.add1(Mul(), h, graph.constant("slope", spread))
    p = graph.add1(Add(), scaled, graph.add1(Mul(), graph.add1(Clip(low=0.0), h), graph.constant("rest", 1 - spread)), name="p")
    last = (rng.normal(size=(4, count, *(2,) * dims)) / ranges.reshape(1, -1, *(1,) * dims)).astype(np.float32)
    op = Conv((1,) * dims, (0,) * (2 * dims), (1,) * dims) if dims else Linear()
    graph.output("y", graph.add1(op, p, graph.constant("v", last)))
    data = {"x": rng.normal(size=(300 if not sizes else 48, 3, *sizes)).astype(np.float32)}

    observed = place_observers(simplified(graph, data))
    found = candidates(observed.graph, observed.raw, data)
    (both,) = [candidate for candidate in found if candidate.pair is not None]
    chosen = {both.node: np.exp(rng.normal(size=count))}
    changed = apply_factors(observed.graph, found, chosen, data)
    verify(changed)
    np.testing.assert_allclose(execute(changed, data)["y"], execute(observed.graph, data)["y"], atol=1e-4, rtol=1e-4)
    assert _correlation(graph, data, data, bits=4, fit=False, channel_scales="accurate") > 0.9
