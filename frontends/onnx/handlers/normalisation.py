"""Normalisations whose statistics change with the input (`snnir.ir.lowering.normalise`), and pools of powers."""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import real, sum_over, times
from snnir.frontends.onnx.handlers.pooling import window
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Value
from snnir.ir.lowering import normalise
from snnir.ir.ops import AveragePool, Reciprocal

__all__: list[str] = []


def _vector(call: Call, index: int) -> np.ndarray:
    return call.known(index, "the scale" if index == 1 else "the bias")


@handler("InstanceNormalization", "reduce_mean", "sub", "mul", "sqrt", "div", "add")
def instance_normalization(call: Call) -> list[Result]:
    """Over the spatial axes of each sample and channel."""
    x = real(call, 0)
    rank = x.type.rank
    scale, bias = (normalise.per_channel(_vector(call, index), rank) for index in (1, 2))
    return [normalise.layer_norm(call, x, range(2, rank), call.number("epsilon", 1e-5), scale, bias)[0]]


@handler("GroupNormalization", "reshape", "reduce_mean", "sub", "mul", "sqrt", "div", "add")
def group_normalization(call: Call) -> list[Result]:
    """Scale and bias per group (opset 18) or per channel."""
    groups, epsilon = call.integer("num_groups", 1), call.number("epsilon", 1e-5)
    return [normalise.group_norm(call, real(call, 0), groups, epsilon, _vector(call, 1), _vector(call, 2))]


@handler("LayerNormalization", "reduce_mean", "sub", "mul", "sqrt", "div", "add")
def layer_normalization(call: Call) -> list[Result]:
    """Over the axes from `axis` on; the mean and the inverse deviation are results too."""
    x = real(call, 0)
    axes = range(call.axis(call.integer("axis", -1), x.type.rank), x.type.rank)
    bias = call.value(2) if call.has(2) else None
    y, mean, root = normalise.layer_norm(call, x, axes, call.number("epsilon", 1e-5), call.value(1), bias)
    return [y, mean, call.emit(Reciprocal(), root, output=2) if call.wants(2) else root]


@handler("RMSNormalization", "reduce_mean", "mul", "sqrt", "div", "add")
def rms_normalization(call: Call) -> list[Result]:
    """`x / sqrt(mean(x x) + epsilon)` over the axes from `axis` on, times the scale."""
    x = real(call, 0)
    axes = range(call.axis(call.integer("axis", -1), x.type.rank), x.type.rank)
    return [normalise.layer_norm(call, x, axes, call.number("epsilon", 1e-5), call.value(1), None, center=False)[0]]


@handler("MeanVarianceNormalization", "reduce_mean", "sub", "mul", "sqrt", "div", "add")
def mean_variance_normalization(call: Call) -> list[Result]:
    """Over the axes given, 0, 2 and 3 by default."""
    x = real(call, 0)
    axes = sorted(call.axis(axis, x.type.rank) for axis in call.integers("axes", (0, 2, 3)))
    return [normalise.standardised(call, x, axes, 1e-9)[0]]


@handler("LpNormalization", "mul", "abs", "linear", "sqrt", "div")
def lp_normalization(call: Call) -> list[Result]:
    """p of 1 or 2, along one axis of known length; ONNX gives 0 where the norm is 0."""
    x = real(call, 0)
    axis = call.axis(call.integer("axis", -1), x.type.rank)
    return [normalise.divided_by_norm(call, x, axis, call.integer("p", 2), 1e-30)]


@handler("LRN", "mul", "linear", "pow", "add")
def local_response_normalization(call: Call) -> list[Result]:
    """Across channels, of which there must be a known number."""
    alpha, beta, bias = call.number("alpha", 1e-4), call.number("beta", 0.75), call.number("bias", 1.0)
    return [normalise.local_response(call, real(call, 0), call.integer("size", 1), alpha, beta, bias)]


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
    parts = normalise.to_powers(call, x, p)
    label = "" if p == 1 else "total"
    if whole:
        total = sum_over(call, parts, tuple(range(2, x.type.rank)), True, label)
    else:
        kernel, stride, pads, dilation, ceil = window(call)
        if ceil:
            raise RefusalError("ceil_mode is not supported")
        mean = call.emit(AveragePool(kernel, stride, pads, dilation, False, True), parts, label="mean")
        total = times(call, mean, float(np.prod(kernel)), label)
    return normalise.root_of_powers(call, total, p)
