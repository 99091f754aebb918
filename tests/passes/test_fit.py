"""Post-training quantization: equalized channels, adapted weights, refined rounding, PReLU as one activation."""

from __future__ import annotations

import numpy as np
import pytest

import snnir
from snnir.ir import Graph
from snnir.ir.dims import BATCH, dim
from snnir.ir.execute import execute
from snnir.ir.ops import Add, Bif, Clip, Concat, Conv, Linear, MaxPool, Mul, PRelu, Relu, Reshape, Scan, Transpose
from snnir.ir.types import TensorType
from snnir.passes import Context, default_pipeline, run_pipeline
from snnir.passes.adapt_weights import AdaptWeights
from snnir.passes.merge_prelu import MergePRelu
from snnir.passes.quantize_weights import QuantizeWeights
from snnir.runtime.accuracy import measure
from tests.random_graphs import random_graph


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


def residual_network(rng: np.random.Generator) -> tuple[Graph, dict[str, np.ndarray]]:
    """conv, depthwise conv, a residual sum, a concatenation, a pool, a linear layer; channels of unequal range."""
    graph = Graph("unequal")
    x = graph.input("x", TensorType((dim(BATCH), 3, 8, 8), "f32"))
    ranges = np.exp(np.linspace(-3, 3, 6)).astype(np.float32)
    weights = [
        graph.constant("w", normal(rng, 6, 3, 3, 3) * ranges.reshape(-1, 1, 1, 1)),
        graph.constant("d", normal(rng, 6, 1, 3, 3)),
    ]
    bias = graph.constant("b", normal(rng, 6))
    first = graph.add1(Conv((1, 1), (1, 1, 1, 1), (1, 1)), x, weights[0])
    a = graph.add1(Relu(), first, name="a")
    deep = graph.add1(Conv((1, 1), (1, 1, 1, 1), (1, 1), 6), a, weights[1], bias)
    total = graph.add1(Relu(), graph.add1(Add(), deep, a), name="total")
    both = graph.add1(Concat(1), total, a, name="both")
    pooled = graph.add1(MaxPool((2, 2), (2, 2), (0, 0, 0, 0), (1, 1)), both)
    flat = graph.add1(Reshape((dim(BATCH), 192)), graph.add1(Transpose((0, 2, 3, 1)), pooled))
    columns = 1 / np.tile(np.concatenate([ranges, ranges]), 16)
    graph.output("y", graph.add1(Linear(), flat, graph.constant("v", normal(rng, 5, 192) * columns)))
    return graph, {"x": normal(rng, 48, 3, 8, 8)}


def sloped(slopes: np.ndarray) -> tuple[Graph, dict[str, np.ndarray]]:
    rng, graph = np.random.default_rng(5), Graph("prelu")
    x = graph.input("x", TensorType((dim(BATCH), 3, 6), "f32"))
    h = graph.add1(Conv((1,), (0, 0), (1,)), x, graph.constant("w", normal(rng, 4, 3, 3)), name="h")
    shape = (1, 4, 1)
    scaled = graph.add1(Mul(), h, graph.constant("slope", slopes.reshape(shape)), name="scaled")
    positive = graph.add1(Clip(low=0.0), h, name="positive")
    rest = graph.add1(Mul(), positive, graph.constant("rest", 1 - slopes.reshape(shape)), name="rest")
    p = graph.add1(Add(), scaled, rest, name="p")
    graph.output("y", graph.add1(Conv((1,), (0, 0), (1,)), p, graph.constant("v", normal(rng, 2, 4, 2))))
    return graph, {"x": normal(rng, 40, 3, 6)}


def test_prelu_in_parts_becomes_one_population() -> None:
    slopes = np.array([0.1, 0.0, 0.7, 1.3], np.float32)
    graph, data = sloped(slopes)
    merged = MergePRelu().run(graph, Context()).graph
    (op,) = [node.op for node in merged.nodes if isinstance(node.op, PRelu)]
    np.testing.assert_allclose(np.array(op.slopes).reshape(op.shape), slopes.reshape(4, 1))
    np.testing.assert_allclose(execute(merged, data)["y"], execute(graph, data)["y"], atol=1e-4)
    program = snnir.compile(graph, calibration=data)
    assert sum(isinstance(node.op, Bif) for _, node in program.graph().walk()) == 1
    assert program.verify(data["x"][:8]).ok


def distance(graph: Graph, data: dict[str, np.ndarray], other: dict[str, np.ndarray], **options: object) -> float:
    program = snnir.compile(graph, calibration=data, **options)  # type: ignore[arg-type]
    return min(item.sqnr for item in measure(graph, program.graph("quantized"), other))


def test_fitting_brings_other_data_closer_to_the_model() -> None:
    """On average over networks, by what they lose in weights: beside levels of 4 bits, weights of 8 bits lose next to nothing."""
    promised: dict[tuple[int, int], float] = {(2, 8): 0, (4, 8): 0, (8, 8): 2, (8, 4): 3}
    gains: dict[tuple[int, int], list[float]] = {each: [] for each in promised}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        graph, data = residual_network(rng)
        other = {"x": normal(rng, 200, 3, 8, 8)}
        for bits, weight_bits in promised:
            fitted, plain = (distance(graph, data, other, bits=bits, weight_bits=weight_bits, fit=fit) for fit in (True, False))
            gains[bits, weight_bits].append(fitted - plain)
    for each, least in promised.items():
        assert np.mean(gains[each]) > least, (each, gains[each])
        assert min(gains[each]) > -0.1, (each, gains[each])


def test_refined_rounding_is_less_off_than_the_nearest() -> None:
    """What one layer gives out, with inputs that go together and are never 0 on average."""
    gains = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        graph = Graph("alone")
        x = graph.input("x", TensorType((dim(BATCH), 24), "f32"))
        graph.output("y", graph.add1(Linear(), x, graph.constant("w", rng.normal(size=(8, 24)).astype(np.float32))))
        mixing = rng.normal(size=(24, 24))
        data, other = ({"x": (rng.normal(size=(400, 24)) @ mixing + 3).astype(np.float32)} for _ in range(2))
        passes = [item for item in default_pipeline(8, 3) if item.name not in ("quantize-weights", "adapt-weights")]
        last = next(index for index, item in enumerate(passes) if item.name == "quantize-activations")
        levels = run_pipeline(graph, passes[: last + 1], Context(data))[-1].graph
        found = [QuantizeWeights(3, refine=refine).run(levels, Context(data)).graph for refine in (False, True)]
        nearest, refined = (measure(graph, item, other)[0].sqnr for item in found)
        gains.append(refined - nearest)
        again = QuantizeWeights(3).run(levels, Context()).graph
        assert measure(graph, again, other)[0].sqnr == nearest
    assert min(gains) > 1
    assert np.mean(gains) > 3


def test_weights_are_adapted_only_where_unseen_samples_gain() -> None:
    graph, data = residual_network(np.random.default_rng(5))
    stages = run_pipeline(graph, default_pipeline(2), Context(data), check=False)
    (stage,) = [item for item in stages if item.pass_.name == "adapt-weights"]
    assert stage.changed
    assert "layers were fitted" in stage.remarks[0]
    noise = {"x": np.zeros((40, 3, 8, 8), np.float32)}
    before = next(item.graph for item in stages if item.pass_.name == "quantize-activations")
    assert not AdaptWeights().run(before, Context(noise, exact=graph)).changed
    assert not AdaptWeights().run(before, Context(data)).changed


def test_recurrent_layers_are_fitted_too() -> None:
    for seed in range(40):
        graph, data = random_graph(seed)
        if any(isinstance(node.op, Scan) for node in graph.nodes):
            program = snnir.compile(graph, calibration=data)
            assert program.verify(data).ok
            return
    pytest.fail("no random graph has a scan")
