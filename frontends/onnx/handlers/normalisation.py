"""Normalisations whose statistics change with the input: products and means, and a root and quotient that the host computes.

Before the network or after it the host computes them; inside they are refused by name, because no synapse divides.
"""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import along_axis, constant, plus, real, reshaped, sum_over, times
from snnir.frontends.onnx.handlers.pooling import window
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Value
from snnir.ir.ops import Abs, Add, AveragePool, Clip, Div, Mul, Pow, Reciprocal, ReduceMean, Sqrt, Sub

__all__: list[str] = []


def _standard(call: Call, x: Value, axes: tuple[int, ...], epsilon: float, label: str, center: bool = True) -> tuple[Value, ...]:
    """`(x - mean) / sqrt(variance + epsilon)` over `axes`, the mean, and the root."""
    mean = call.emit(ReduceMean(axes), x, label="mean") if center else x
    apart = call.emit(Sub(), x, mean, label="centered") if center else x
    squares = call.emit(ReduceMean(axes), call.emit(Mul(), apart, apart, label="squares"), label="variance")
    root = call.emit(Sqrt(), plus(call, squares, epsilon, "guarded"), label="deviation")
    return call.emit(Div(), apart, root, label=label), mean, root


def _per_channel(call: Call, index: int, rank: int) -> Value:
    vector = call.known(index, "the scale" if index == 1 else "the bias")
    return constant(call, call.value(0), f"channel{index}", vector.reshape(-1, *([1] * (rank - 2))))


@handler("InstanceNormalization", "reduce_mean", "sub", "mul", "sqrt", "div", "add")
def instance_normalization(call: Call) -> list[Result]:
    """Over the spatial axes of each sample and channel."""
    x = real(call, 0)
    axes = tuple(range(2, x.type.rank))
    y = _standard(call, x, axes, call.number("epsilon", 1e-5), "standard")[0]
    scaled = call.emit(Mul(), y, _per_channel(call, 1, x.type.rank), label="scaled")
    return [call.emit(Add(), scaled, _per_channel(call, 2, x.type.rank))]


@handler("GroupNormalization", "reshape", "reduce_mean", "sub", "mul", "sqrt", "div", "add")
def group_normalization(call: Call) -> list[Result]:
    """Scale and bias per group (opset 18) or per channel."""
    x, groups = real(call, 0), call.integer("num_groups", 1)
    batch, channels, *rest = x.type.shape
    (count,) = call.static((channels,), "the channel axis")
    split = reshaped(call, x, (batch, groups, count // groups, *rest), "groups")
    y = _standard(call, split, tuple(range(2, split.type.rank)), call.number("epsilon", 1e-5), "standard")[0]
    whole = reshaped(call, y, x.type.shape, "whole")
    factors = []
    for index, what in ((1, "the scale"), (2, "the bias")):
        vector = call.known(index, what).reshape(-1)
        vector = np.repeat(vector, count // groups) if len(vector) == groups != count else vector
        factors.append(constant(call, x, f"channel{index}", vector.reshape(-1, *([1] * len(rest)))))
    return [call.emit(Add(), call.emit(Mul(), whole, factors[0], label="scaled"), factors[1])]


@handler("LayerNormalization", "reduce_mean", "sub", "mul", "sqrt", "div", "add")
def layer_normalization(call: Call) -> list[Result]:
    """Over the axes from `axis` on; the mean and the inverse deviation are results too."""
    x = real(call, 0)
    axes = tuple(range(call.axis(call.integer("axis", -1), x.type.rank), x.type.rank))
    y, mean, root = _standard(call, x, axes, call.number("epsilon", 1e-5), "standard")
    y = call.emit(Mul(), y, call.value(1), label="scaled" if call.has(2) else "")
    y = call.emit(Add(), y, call.value(2)) if call.has(2) else y
    inverse = call.emit(Reciprocal(), root, output=2) if call.wants(2) else root
    return [y, mean, inverse]


@handler("RMSNormalization", "reduce_mean", "mul", "sqrt", "div", "add")
def rms_normalization(call: Call) -> list[Result]:
    """`x / sqrt(mean(x x) + epsilon)` over the axes from `axis` on, times the scale."""
    x = real(call, 0)
    axes = tuple(range(call.axis(call.integer("axis", -1), x.type.rank), x.type.rank))
    y = _standard(call, x, axes, call.number("epsilon", 1e-5), "standard", center=False)[0]
    return [call.emit(Mul(), y, call.value(1))]


@handler("MeanVarianceNormalization", "reduce_mean", "sub", "mul", "sqrt", "div", "add")
def mean_variance_normalization(call: Call) -> list[Result]:
    """Over the axes given, 0, 2 and 3 by default."""
    x = real(call, 0)
    axes = tuple(sorted(call.axis(axis, x.type.rank) for axis in call.integers("axes", (0, 2, 3))))
    return [_standard(call, x, axes, 1e-9, "")[0]]


@handler("LpNormalization", "mul", "abs", "linear", "sqrt", "div")
def lp_normalization(call: Call) -> list[Result]:
    """p of 1 or 2, along one axis of known length."""
    x = real(call, 0)
    axis, square = call.axis(call.integer("axis", -1), x.type.rank), call.integer("p", 2) == 2
    parts = call.emit(Mul(), x, x, label="squares") if square else call.emit(Abs(), x, label="magnitudes")
    total = sum_over(call, parts, (axis,), True, "total")
    norm = call.emit(Sqrt(), total, label="norm") if square else total
    # ONNX gives 0 where the norm is 0
    return [call.emit(Div(), x, call.emit(Clip(low=1e-30), norm, label="divisor"))]


@handler("LRN", "mul", "linear", "pow", "add")
def local_response_normalization(call: Call) -> list[Result]:
    """Across channels, of which there must be a known number."""
    x, size = real(call, 0), call.integer("size", 1)
    (count,) = call.static((x.type.shape[1],), "the channel axis")
    before, behind = (size - 1) // 2, size // 2
    offset = np.arange(count) - np.arange(count)[:, None]
    band = ((offset >= -before) & (offset <= behind)).astype(np.float64)
    squares = call.emit(Mul(), x, x, label="squares")
    total = along_axis(call, squares, 1, band * (call.number("alpha", 1e-4) / size), "neighbours")
    base = plus(call, total, call.number("bias", 1.0), "base")
    power = call.emit(Pow(), base, constant(call, x, "exponent", -call.number("beta", 0.75)), label="factor")
    return [call.emit(Mul(), x, power)]


@handler("LpPool", "mul", "abs", "average_pool", "sqrt")
def lp_pool(call: Call) -> list[Result]:
    """A sum over windows; for p other than 1 of powers, and with a root that the host computes."""
    return [_pooled(call, call.integer("p", 2), False)]


@handler("GlobalLpPool", "mul", "abs", "linear", "sqrt")
def global_lp_pool(call: Call) -> list[Result]:
    """The same over all positions, of which there must be a known number."""
    return [_pooled(call, call.integer("p", 2), True)]


def _pooled(call: Call, p: int, whole: bool) -> Value:
    x = real(call, 0)
    if p == 2:
        parts = call.emit(Mul(), x, x, label="squares")
    else:
        parts = call.emit(Abs(), x, label="magnitudes")
        parts = parts if p == 1 else call.emit(Pow(), parts, constant(call, x, "power", p), label="powers")
    label = "" if p == 1 else "total"
    if whole:
        total = sum_over(call, parts, tuple(range(2, x.type.rank)), True, label)
    else:
        kernel, stride, pads, dilation, ceil = window(call)
        if ceil:
            raise RefusalError("ceil_mode is not supported")
        mean = call.emit(AveragePool(kernel, stride, pads, dilation, False, True), parts, label="mean")
        total = times(call, mean, float(np.prod(kernel)), label)
    if p == 1:
        return total
    return call.emit(Sqrt(), total) if p == 2 else call.emit(Pow(), total, constant(call, x, "root", 1 / p))
