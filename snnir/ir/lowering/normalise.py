"""Normalisations whose statistics change with the input: products and means, and a root and quotient that the host computes.

Before the network or after it the host computes them; inside they are refused by name, because no synapse divides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snnir.ir.graph import Value
from snnir.ir.lowering.builder import Builder
from snnir.ir.lowering.compose import along_axis, constant, plus, reshaped, static, sum_over
from snnir.ir.ops import Abs, Add, Clip, Div, Mul, Pow, ReduceMean, Sqrt, Sub

__all__ = [
    "divided_by_norm",
    "group_norm",
    "layer_norm",
    "local_response",
    "p_norm",
    "per_channel",
    "root_of_powers",
    "scaled_and_shifted",
    "standardised",
    "to_powers",
]

Factor = Value | np.ndarray | None
"""A scale or a bias: a value, a constant, or none."""


def standardised(
    call: Builder, x: Value, axes: Sequence[int], epsilon: float, label: str = "", center: bool = True
) -> tuple[Value, Value, Value]:
    """`(x - mean) / sqrt(variance + epsilon)` over `axes`, the mean, and the root; without `center` the mean counts as 0."""
    axes = tuple(axes)
    mean = call.emit(ReduceMean(axes), x, label="mean") if center else x
    apart = call.emit(Sub(), x, mean, label="centered") if center else x
    squares = call.emit(ReduceMean(axes), call.emit(Mul(), apart, apart, label="squares"), label="variance")
    root = call.emit(Sqrt(), plus(call, squares, epsilon, "guarded"), label="deviation")
    return call.emit(Div(), apart, root, label=label), mean, root


def per_channel(vector: np.ndarray, rank: int) -> np.ndarray:
    """A number for each element of axis 1 of a value with `rank` axes."""
    return vector.reshape(-1, *([1] * (rank - 2)))


def scaled_and_shifted(call: Builder, y: Value, scale: Factor, bias: Factor) -> Value:
    """`scale y + bias`; `y` itself, which the caller then gave the result's name, where there is neither."""
    if scale is not None:
        factor = scale if isinstance(scale, Value) else constant(call, y, "scale", scale)
        y = call.emit(Mul(), y, factor, label="" if bias is None else "scaled")
    if bias is not None:
        y = call.emit(Add(), y, bias if isinstance(bias, Value) else constant(call, y, "shift", bias))
    return y


def layer_norm(
    call: Builder, x: Value, axes: Sequence[int], epsilon: float, scale: Factor, bias: Factor, center: bool = True
) -> tuple[Value, Value, Value]:
    """`x` standardised over `axes`, scaled and shifted; the mean and the deviation are results too. Without `center` the mean
    counts as 0 (RMS normalisation, arXiv:1910.07467).
    """
    label = "" if scale is None and bias is None else "standard"
    y, mean, root = standardised(call, x, axes, epsilon, label, center)
    return scaled_and_shifted(call, y, scale, bias), mean, root


def group_norm(call: Builder, x: Value, groups: int, epsilon: float, scale: np.ndarray | None, bias: np.ndarray | None) -> Value:
    """x[N, C, ...] standardised over each group of channels; scale and bias [C], or one for each group."""
    batch, channels, *rest = x.type.shape
    (count,) = static((channels,), "the channel axis")
    split = reshaped(call, x, (batch, groups, count // groups, *rest), "groups")
    y = standardised(call, split, range(2, split.type.rank), epsilon, "standard")[0]
    whole = reshaped(call, y, x.type.shape, "" if scale is None and bias is None else "whole")
    factors = [None if vector is None else np.asarray(vector).reshape(-1) for vector in (scale, bias)]
    wide = [np.repeat(f, count // groups) if f is not None and len(f) == groups != count else f for f in factors]
    return scaled_and_shifted(call, whole, *(None if f is None else per_channel(f, x.type.rank) for f in wide))


def to_powers(call: Builder, x: Value, p: float) -> Value:
    """`|x|^p`; a square is a product."""
    if p == 2:
        return call.emit(Mul(), x, x, label="squares")
    parts = call.emit(Abs(), x, label="magnitudes")
    return parts if p == 1 else call.emit(Pow(), parts, constant(call, x, "power", p), label="powers")


def root_of_powers(call: Builder, total: Value, p: float, label: str = "") -> Value:
    """`total^(1/p)`."""
    if p == 1:
        return total
    if p == 2:
        return call.emit(Sqrt(), total, label=label)
    return call.emit(Pow(), total, constant(call, total, "root", 1 / p), label=label)


def p_norm(call: Builder, x: Value, axes: Sequence[int], p: float, keep: bool, label: str = "") -> Value:
    """`(sum of |x|^p)^(1/p)` over axes of known length."""
    total = sum_over(call, to_powers(call, x, p), axes, keep, label if p == 1 else f"{label or 'norm'}.total")
    return root_of_powers(call, total, p, label)


def divided_by_norm(call: Builder, x: Value, axis: int, p: float, least: float) -> Value:
    """`x` over its norm along one axis of known length; a norm below `least` counts as that."""
    norm = p_norm(call, x, (axis,), p, True, "norm")
    return call.emit(Div(), x, call.emit(Clip(low=least), norm, label="divisor"))


def local_response(call: Builder, x: Value, size: int, alpha: float, beta: float, offset: float) -> Value:
    """`x (offset + alpha / size * sum of squares of `size` channels around each)^-beta` (Krizhevsky et al. 2012)."""
    (count,) = static((x.type.shape[1],), "the channel axis")
    before, behind = (size - 1) // 2, size // 2
    apart = np.arange(count) - np.arange(count)[:, None]
    band = ((apart >= -before) & (apart <= behind)).astype(np.float64)
    squares = call.emit(Mul(), x, x, label="squares")
    base = plus(call, along_axis(call, squares, 1, band * (alpha / size), "neighbours"), offset, "base")
    return call.emit(Mul(), x, call.emit(Pow(), base, constant(call, x, "exponent", -beta), label="factor"))
