"""Grids of weights that a file stores as integers: exact for every sum, checked against rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from snnir.ir import Graph, Quantization, TensorType
from snnir.ir.dims import dim
from snnir.ir.ops import Add, Linear, Quantize
from snnir.ir.rounding_modes import ROUNDINGS, reached_from
from snnir.passes import Context
from snnir.passes.model_grid import given_table, model_grid, steady
from snnir.passes.quantize_weights import QuantizeWeights
from snnir.passes.sums import terms_of


def _sum(weights: list[np.ndarray], scales: list[float]) -> tuple[Graph, object]:
    graph = Graph("sum")
    total = None
    for number, (weight, scale) in enumerate(zip(weights, scales, strict=True)):
        x = graph.input(f"x{number}", TensorType((dim("N"), weight.shape[1]), "f64"))
        levels = graph.add1(Quantize(Quantization(scale, -8, 7), "even", False, True), x, name=f"q{number}")
        term = graph.add1(Linear(), levels, graph.constant(f"w{number}", weight), name=f"s{number}")
        total = term if total is None else graph.add1(Add(), total, term, name="total")
    return graph, total


@pytest.mark.parametrize("seed", range(6))
def test_no_weight_that_is_an_integer_times_a_scale_is_rounded(seed: int) -> None:
    rng = np.random.default_rng(seed)
    channels = rng.uniform(0.001, 0.1, 5).astype(np.float32).astype(np.float64)
    integers = rng.integers(-127, 128, (5, 9))
    graph, total = _sum([integers * channels[:, None]], [float(np.float32(0.037))])
    found = model_grid(terms_of(total), 1, Quantization(0.2, 0, 15))  # type: ignore[arg-type]
    assert found is not None
    assert found.error == 0
    multiples = integers * channels[:, None] * float(np.float32(0.037)) / found.grid.unit.reshape(-1, 1)
    np.testing.assert_allclose(multiples, np.rint(multiples), atol=1e-9)
    assert np.abs(np.rint(multiples)).max() <= 127


def test_weights_that_are_no_multiples_have_no_grid() -> None:
    graph, total = _sum([np.random.default_rng(0).normal(size=(3, 9))], [0.1])
    assert model_grid(terms_of(total), 1, Quantization(0.2, 0, 15)) is None  # type: ignore[arg-type]


def test_scales_without_a_common_grid_say_how_far_off_they_are() -> None:
    ones = np.ones((2, 1))
    for scales, exact in (([0.1, 0.3], True), ([0.1, 0.1 * np.sqrt(2)], False)):
        graph, total = _sum([ones, ones], scales)
        found = model_grid(terms_of(total), 1, Quantization(0.2, -8, 7))  # type: ignore[arg-type]
        assert found is not None
        assert (found.error == 0) is exact
        assert found.error < 1e-5


@pytest.mark.parametrize("rounding", [name for name in ROUNDINGS if name != "bipolar"])
def test_tables_put_every_sum_where_rational_arithmetic_does(rounding: str) -> None:
    rng = np.random.default_rng(5)
    for unit, scale, bias in ((0.25, 1.0, 0.0), (0.5, 1.5, 0.25), (float(rng.uniform(0.01, 0.1)), 0.3, 0.017)):
        levels = Quantization(scale, -3, 4)
        table, _ = given_table((), np.full((1,), unit), np.full((1,), bias), levels, rounding, 1000)
        for total in range(-60, 61):
            ratio = 2 * (Fraction(unit) * total + Fraction(bias)) / Fraction(scale)
            expected = levels.lo
            for level in range(levels.lo + 1, levels.hi + 1):
                twice, beyond = reached_from(rounding, level)
                expected += ratio > twice if beyond else ratio >= twice
            assert levels.lo + int((total >= table[:, 0]).sum()) == expected


def test_ties_are_found_only_where_a_sum_can_meet_them() -> None:
    levels, zero = Quantization(1.0, 0, 3), np.zeros(1)
    assert given_table((), np.full(1, 0.25), zero, levels, "even", 100)[1]
    assert not given_table((), np.full(1, 1 / 3), zero, levels, "even", 100)[1]  # theta 3: odd
    assert not given_table((), np.full(1, 0.25), zero, levels, "half-up", 100)[1]
    assert not given_table((), np.full(1, 0.25), zero, levels, "even", 1)[1]  # out of reach


def test_steady_tables_are_uniform_thresholds() -> None:
    levels = Quantization(1.0, -2, 3)
    table, _ = given_table((), np.full(1, 0.25), np.zeros(1), levels, "floor", 100)
    uniform = steady(table, levels.lo)
    assert uniform is not None
    theta, shift = uniform
    assert theta.tolist() == [4]
    assert (theta // 2 - shift).tolist() == [0]  # V(0) = 0
    assert steady(given_table((), np.full(1, 0.3), np.zeros(1), levels, "even", 100)[0], levels.lo) is None


def test_weights_left_as_real_numbers_are_remarked_upon() -> None:
    graph, total = _sum([np.random.default_rng(0).normal(size=(3, 9))], [0.1])
    result = graph.add1(Quantize(Quantization(0.2, 0, 15), "even", False, True), total, name="q")  # type: ignore[arg-type]
    graph.output("q", result)
    remarks = QuantizeWeights().run(graph, Context()).remarks
    assert any("not all weights" in remark for remark in remarks)
