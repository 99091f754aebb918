"""Rounding and fitting of one layer beside the textbook forms of what they solve."""

from __future__ import annotations

import numpy as np
import pytest

from snnir.passes.adapt_weights import _solve
from snnir.passes.refine_rounding import _nearest_plane


@pytest.mark.parametrize(("inputs", "rows", "most"), [(1, 9, 7), (7, 40, 3), (64, 50, 127), (65, 200, 1), (150, 60, 15)])
def test_rounding_without_the_inverse_gives_the_integers_of_gptq(inputs: int, rows: int, most: int) -> None:
    generator = np.random.default_rng(inputs)
    x = generator.normal(size=(rows, inputs)) @ generator.normal(size=(inputs, inputs))
    hessian = x.T @ x + 0.3 * inputs * np.eye(inputs)
    real = generator.normal(0, 0.6 * most, (inputs, 11))

    upper = np.linalg.cholesky(np.linalg.inv(hessian)).T
    left, expected = real.copy(), np.empty_like(real)
    for i in range(inputs):
        expected[i] = np.clip(np.floor(left[i] + 0.5), -most, most)
        left[i + 1 :] -= np.outer(upper[i, i + 1 :], (left[i] - expected[i]) / upper[i, i])

    assert np.array_equal(_nearest_plane(hessian, real, most), expected)


@pytest.mark.parametrize("rows", [12, 29, 30, 31, 80])
def test_a_ridge_regression_leaves_no_gradient_over_rows_or_inputs(rows: int) -> None:
    generator = np.random.default_rng(rows)
    x, wanted = generator.normal(1, 1, (2, rows, 30)), generator.normal(-1, 1, (2, rows, 5))
    ((delta, shift),) = _solve(x, wanted, (0.3,))
    left = wanted - x @ delta.transpose(0, 2, 1) - shift[:, np.newaxis]
    centred = x - x.mean(axis=1, keepdims=True)
    penalty = 0.3 * (centred**2).sum(axis=(1, 2)) / 30
    assert np.allclose(left.sum(axis=1), 0)
    assert np.allclose(left.transpose(0, 2, 1) @ x, penalty[:, np.newaxis, np.newaxis] * delta)
