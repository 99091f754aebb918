"""Roundings and the thresholds that stand for them."""

from __future__ import annotations

import numpy as np
import pytest

from snnir.errors import GraphError
from snnir.ir import Quantization
from snnir.ir.ops import FakeQuantize, Quantize
from snnir.ir.rounding_modes import ROUNDINGS, reached_from, round_by


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_a_level_is_reached_exactly_from_its_threshold_on(rounding: str) -> None:
    x = np.arange(-48, 49) / 8  # halves and whole numbers among them
    levels = round_by(rounding, x)
    found = range(2) if rounding == "bipolar" else range(-4, 6)
    for level in found:
        twice, beyond = reached_from(rounding, level)
        reached = 2 * x > twice if beyond else 2 * x >= twice
        np.testing.assert_array_equal(levels >= level, reached)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_roundings_in_torch_are_those_in_numpy(rounding: str) -> None:
    torch = pytest.importorskip("torch")
    from snnir.backends.torch.levels import rounded

    x, levels = np.arange(-48, 49) / 16, Quantization(0.25, -9, 7)
    for single in (False, True):
        found = rounded(torch.from_numpy(x), levels, rounding, single)
        np.testing.assert_array_equal(found.numpy(), levels.round(x, rounding, single))


def test_sums_that_float64_moves_off_a_tie_are_ties() -> None:
    """The mean of 9 levels: weights of 1/9 add up to a number next to the half."""
    torch = pytest.importorskip("torch")
    from snnir.backends.torch.levels import _fake_quantize

    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (4000, 9))
    exact = np.rint(levels.sum(axis=1) * 2 / 18 / 0.5) * 0.5  # sums of 9 halves: many are ties of 0.5
    op = FakeQuantize(Quantization(0.5, 0, 1000))
    x = (levels * (1 / 9)).sum(axis=1)
    assert (np.abs(2 * x - np.floor(2 * x) - 0.5) < 1e-9).sum() == (levels.sum(axis=1) * 4 % 18 == 9).sum()
    np.testing.assert_array_equal(op.function(x), exact)
    np.testing.assert_array_equal(_fake_quantize(op, torch.from_numpy(x))[0].numpy(), exact)


def test_an_unknown_rounding_is_named() -> None:
    for op in (Quantize, FakeQuantize):
        with pytest.raises(GraphError, match="'stochastic' is unknown"):
            op(Quantization(1.0, 0, 1), "stochastic")
