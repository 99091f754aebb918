"""Accumulator grids with gains: each synapse keeps the bits of its own weights, whatever flows in beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from snnir.ir import Graph, Node, Quantization, TensorType, Value
from snnir.ir.dims import dim
from snnir.ir.execute import execute
from snnir.ir.ops import Add, Conv, Linear, Mul, Quantize, Requantize, Sigmoid, SparseLinear
from snnir.ir.parse import parse
from snnir.ir.text import tensors, text
from snnir.passes import Context
from snnir.passes.grid import COARSEST, FINEST, population_grid
from snnir.passes.quantize_weights import QuantizeWeights
from snnir.passes.substitute_neurons import SubstituteNeurons
from snnir.passes.sums import terms_of

KINDS = ("dense", "direct", "diagonal", "conv", "sparse")
WIDTH, LENGTH = 6, 5
LEVELS = Quantization(0.1, -8, 7)


def _term(graph: Graph, kind: str, index: int, factor: float, rng: np.random.Generator) -> Value:
    """Levels weighed in one of the ways a synapse can, `[N, WIDTH, LENGTH]`; its range is about `factor`."""
    shape = (dim("N"), WIDTH, LENGTH)
    scale = LEVELS.scale * (factor if kind == "direct" else 1.0)
    x = graph.input(f"x{index}", TensorType(shape, "f32"))
    levels = graph.add1(Quantize(Quantization(scale, LEVELS.lo, LEVELS.hi)), x, name=f"q{index}")
    channels = rng.uniform(0.5, 2.0, (WIDTH, 1))

    def constant(*size: int) -> Value:
        weight = rng.uniform(0.2, 1.0, size) * rng.choice([-1, 1], size) * factor
        if size[0] == WIDTH and len(size) > 1:
            weight *= channels.reshape(-1, *(1,) * (len(size) - 1))
        return graph.constant(f"w{index}", weight)

    if kind == "direct":
        return levels
    if kind == "dense":
        return graph.add1(Linear(), levels, constant(LENGTH, LENGTH), name=f"s{index}")
    if kind == "diagonal":
        return graph.add1(Mul(), levels, constant(WIDTH, 1), name=f"s{index}")
    if kind == "conv":
        return graph.add1(Conv((1,), (1, 1)), levels, constant(WIDTH, WIDTH, 3), name=f"s{index}")
    rows, columns = np.divmod(rng.permutation((WIDTH * LENGTH) ** 2)[:200], WIDTH * LENGTH)
    rows, columns = np.sort(rows), columns
    operands = [constant(200), graph.constant(f"r{index}", rows), graph.constant(f"c{index}", columns)]
    return graph.add1(SparseLinear((WIDTH, LENGTH)), levels, *operands, name=f"s{index}")


def _population(kinds: Sequence[str], factors: Sequence[float], seed: int, which: Sequence[int]) -> tuple[Graph, float]:
    """A float graph of one population of the terms `which`, and the worth of a level."""
    graph = Graph("population")
    total = None
    for index, (kind, factor) in enumerate(zip(kinds, factors, strict=True)):
        rng = np.random.default_rng([seed, index])
        if index in which:
            term = _term(graph, kind, index, factor, rng)
            total = term if total is None else graph.add1(Add(), total, term, name="total")
    assert total is not None
    scale = 0.05 * max(factors)
    graph.output("y", graph.add1(Quantize(Quantization(scale, -128, 127)), total, name="y"))
    return graph, scale


def _error(graph: Graph, bits: int, data: dict[str, np.ndarray]) -> float:
    """The root mean square of what rounding the weights adds to the sum, in real units."""
    quantized, _, remarks = QuantizeWeights(bits).trace(graph)
    assert not remarks or "round to 0" in remarks[0]
    (population,) = (node for node in quantized.nodes if isinstance(node.op, Requantize))
    theta = population.operands[1].array
    inputs = {value.name: data[value.name] for value in graph.inputs}
    sums = _value(quantized, population.operands[0], inputs) * (population.op.quantization.scale / theta)  # type: ignore[attr-defined]
    (node,) = (node for node in graph.nodes if node.output.name == "y")
    return float(np.sqrt(np.mean((sums - _real(node.operands[0], inputs)) ** 2)))


def _value(graph: Graph, value: Value, inputs: dict[str, np.ndarray]) -> np.ndarray:
    return execute(graph, inputs, only=[value])[value.name]


def _real(value: Value, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The sum of the levels' worth times real weights, float64."""
    parts = []
    for term in terms_of(value):
        levels = term.source
        assert levels.producer is not None
        assert levels.type.quantization is not None
        x = levels.type.quantization.round(inputs[levels.producer.operands[0].name]) * levels.type.quantization.scale
        parts.append(x if term.node is None else term.node.op.evaluate(x, *(v.array for v in term.node.operands[1:]))[0])
    return np.asarray(sum(parts))


@pytest.mark.parametrize("power", range(0, 21, 2))
def test_two_synapses_lose_no_more_than_each_alone(power: int) -> None:
    """Whatever the ratio of their ranges, and whatever kinds of synapses they are.

    A step that is a power of two times another is less than twice as coarse as one of its own: by 1.2 on average where a
    grid can be aligned to one of the synapses, by 1.5 (sqrt(3 / ln 4)) where neurons of different channels share it. A sparse
    synapse has one gain for all its weights.
    """
    rng = np.random.default_rng(power)
    data = {f"x{index}": rng.uniform(-1, 1, (8, WIDTH, LENGTH)).astype(np.float32) for index in range(2)}
    for seed in range(4):
        for first in KINDS:
            second = KINDS[int(rng.integers(len(KINDS)))]
            if first == second == "direct":
                continue
            factors = (1.0, 2.0**-power * float(rng.uniform(0.7, 1.4)))
            if rng.random() < 0.5:
                factors = factors[::-1]
            errors = []
            for which in ([0, 1], [0], [1]):
                graph, scale = _population((first, second), factors, seed, which)
                errors.append(_error(graph, 8, data))
            both, *alone = errors
            tolerance = scale / FINEST * 30  # 200 weights that a threshold of at most FINEST rounds
            for index, kind in enumerate((first, second)):
                if kind in ("direct", "diagonal"):  # alone, its weights are multiples of grids of their own
                    alone[index] = max(alone[index], factors[index] * 0.5 / 127 / np.sqrt(12))
            kinds = {first, second}
            costs = 2.5 if "sparse" in kinds else 1.6 if kinds == {"dense", "conv"} or "diagonal" in kinds else 1.4
            assert both <= costs * float(np.linalg.norm(alone)) + tolerance, (first, second, factors, errors)


@pytest.mark.parametrize("seed", range(12))
def test_gains_are_kept_by_text_bounds_and_neurons(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = [str(rng.choice(KINDS)) for _ in range(3)]
    factors = [float(2.0 ** rng.uniform(-12, 0)) for _ in kinds]
    graph, _ = _population(kinds, factors, seed, range(3))
    if seed % 3 == 0:
        (last,) = (node for node in graph.nodes if node.output.name == "y")
        curve = graph.add1(Sigmoid(), last.operands[0])
        graph.output("z", graph.add1(Quantize(Quantization(1 / 15, 0, 15)), curve, name="z"))
    data = {f"x{index}": rng.uniform(-1, 1, (4, WIDTH, LENGTH)).astype(np.float32) for index in range(3)}
    quantized = QuantizeWeights(8).run(graph, Context(data)).graph
    spiking = SubstituteNeurons().run(quantized, Context(data)).graph
    gained = [node for node in spiking.nodes if getattr(node.op, "gain", ())]
    assert gained, "ranges this far apart need gains"
    assert all(_fits(node) for node in gained)
    for level in (quantized, spiking):
        assert parse(text(level), tensors(level)) == level
    for name, expected in execute(quantized, data).items():
        np.testing.assert_array_equal(execute(spiking, data)[name], expected)


def _fits(node: Node) -> bool:
    return node.operands[1].array.dtype == np.int8 and int(np.abs(node.operands[1].array.astype(int)).max()) <= 127


def test_a_population_of_one_synapse_needs_no_gain() -> None:
    for kind in ("dense", "direct", "conv", "sparse"):
        graph, _ = _population((kind,), (1.0,), 0, [0])
        quantized = QuantizeWeights(8).run(graph, Context({})).graph
        assert not any(getattr(node.op, "gain", ()) for node in quantized.nodes)


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_every_level_has_a_threshold_of_its_own_however_coarse_the_weights(bits: int) -> None:
    graph, _ = _population(("dense",), (1000.0,), 0, [0])
    (node,) = (node for node in graph.nodes if node.output.name == "y")
    fine = Quantization(0.01, -128, 127)
    theta, grid = population_grid(terms_of(node.operands[0]), 2, fine, bits)
    assert theta.min() >= COARSEST
    np.testing.assert_allclose(grid.unit, fine.scale / theta)
    assert grid.gains[0].min() > 0
