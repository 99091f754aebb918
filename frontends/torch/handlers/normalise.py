"""Normalisations whose statistics change with the input (`snnir.ir.lowering.normalise`), variances and norms."""

from __future__ import annotations

import math

import numpy as np

from snnir.frontends.torch.call import Call, to_array
from snnir.frontends.torch.handlers.affine import by_statistics
from snnir.frontends.torch.registry import Entry, RefusalError, handler
from snnir.ir import Value
from snnir.ir.lowering import normalise
from snnir.ir.lowering.choose import extreme_over
from snnir.ir.lowering.compose import sum_over, times
from snnir.ir.ops import Abs, Exp, Log, Mul, ReduceMean, Sqrt, Sub

__all__: list[str] = []


def _factor(call: Call, name: str) -> Value | None:
    return call.value(name) if call.has(name) else None


def _last(call: Call, x: Value) -> range:
    return range(x.type.rank - len(call.sizes("normalized_shape")), x.type.rank)


@handler("aten.layer_norm", "reduce_mean", "sub", "mul", "sqrt", "div", "add")
def layer_norm(call: Call) -> Value:
    """Over the last axes."""
    x = call.value("input")
    scale, bias = _factor(call, "weight"), _factor(call, "bias")
    return normalise.layer_norm(call, x, _last(call, x), call.number("eps", 1e-5), scale, bias)[0]


@handler("aten.native_layer_norm", "reduce_mean", "sub", "mul", "sqrt", "div", "add")
def native_layer_norm(call: Call) -> list[Entry]:
    """The same with its statistics, as a program with core operators only holds it."""
    x = call.value("input")
    if call.wants(2):
        raise RefusalError("its inverse deviation is used; only the normalised value is supported")
    scale, bias = _factor(call, "weight"), _factor(call, "bias")
    return list(normalise.layer_norm(call, x, _last(call, x), call.number("eps", 1e-5), scale, bias))


@handler("aten.rms_norm", "reduce_mean", "mul", "sqrt", "div")
def rms_norm(call: Call) -> Value:
    """`x / sqrt(mean(x x) + eps)` over the last axes."""
    x = call.value("input")
    epsilon = call.number("eps", float(np.finfo(np.float32).eps))
    return normalise.layer_norm(call, x, _last(call, x), epsilon, _factor(call, "weight"), None, center=False)[0]


@handler("aten.group_norm", "reshape", "reduce_mean", "sub", "mul", "sqrt", "div", "add")
def group_norm(call: Call) -> Value:
    """x[N, C, ...], channels in groups."""
    scale, bias = (_known(call, name) for name in ("weight", "bias"))
    return normalise.group_norm(call, call.value("input"), call.integer("num_groups"), call.number("eps", 1e-5), scale, bias)


@handler("aten.instance_norm", "reduce_mean", "sub", "mul", "sqrt", "div", "add", "batch_norm")
def instance_norm(call: Call) -> Value:
    """x[N, C, ...], each channel of each sample by itself; with running statistics it is a batch norm."""
    if not call.flag("use_input_stats"):
        return by_statistics(call)
    x = call.value("input")
    scale, bias = (_known(call, name) for name in ("weight", "bias"))
    scale, bias = (None if vector is None else normalise.per_channel(vector, x.type.rank) for vector in (scale, bias))
    return normalise.layer_norm(call, x, range(2, x.type.rank), call.number("eps", 1e-5), scale, bias)[0]


def _known(call: Call, name: str) -> np.ndarray | None:
    return to_array(call.known(name, f"its {name}"), name) if call.has(name) else None


@handler("aten.linalg_vector_norm", "mul", "abs", "linear", "sqrt", "pow", "max_pool")
def vector_norm(call: Call) -> Value:
    """Of order 1, 2 or any other, or infinite (a maximum), over axes of known length."""
    return _norm(call, call.number("ord", 2.0))


@handler("aten.norm.Scalar", "mul", "abs", "linear", "sqrt", "pow", "max_pool")
@handler("aten.norm.ScalarOpt_dim", "mul", "abs", "linear", "sqrt", "pow", "max_pool")
def norm(call: Call) -> Value:
    """The same under its older name."""
    return _norm(call, call.number("p", 2.0))


def _norm(call: Call, order: float) -> Value:
    x, axes, keep = call.value("self"), call.axes("dim"), call.flag("keepdim")
    if order == math.inf:
        return extreme_over(call, call.emit(Abs(), x, label="magnitudes"), axes, keep, 1)
    if order <= 0:
        raise RefusalError(f"a norm of order {order}; only positive orders are supported")
    return normalise.p_norm(call, x, axes, order, keep)


@handler("aten.logsumexp", "exp", "linear", "log")
def logsumexp(call: Call) -> Value:
    """`log(sum(exp(x)))` over axes of known length."""
    x = call.emit(Exp(), call.value("self"), label="exp")
    return call.emit(Log(), sum_over(call, x, call.axes("dim"), call.flag("keepdim"), "total"))


def _variance(call: Call, label: str) -> tuple[Value, Value]:
    """The variance and the mean. Axes have a known length where the divisor is not their number of elements."""
    x, axes, keep = call.value("self"), call.axes("dim"), call.flag("keepdim")
    correction = call.number("correction", 1.0)
    if "unbiased" in call.arguments:
        correction = 1.0 if call.flag("unbiased") else 0.0
    mean = call.emit(ReduceMean(axes), x, label="center")
    apart = call.emit(Sub(), x, mean, label="apart")
    squares = call.emit(Mul(), apart, apart, label="squares")
    if not correction:
        return call.emit(ReduceMean(axes, keep), squares, label=label), mean
    count = math.prod(call.static(tuple(x.type.shape[axis] for axis in axes), "a variance"))
    if count <= correction:
        raise RefusalError(f"a variance of {count} elements with correction {correction:g}")
    plain = call.emit(ReduceMean(axes, keep), squares, label="uncorrected")
    return times(call, plain, count / (count - correction), label), mean


@handler("aten.var.default", "reduce_mean", "sub", "mul")
@handler("aten.var.dim", "reduce_mean", "sub", "mul")
@handler("aten.var.correction", "reduce_mean", "sub", "mul")
def var(call: Call) -> Value:
    """The mean of squares of what lies apart from the mean."""
    return _variance(call, "")[0]


@handler("aten.std.default", "reduce_mean", "sub", "mul", "sqrt")
@handler("aten.std.dim", "reduce_mean", "sub", "mul", "sqrt")
@handler("aten.std.correction", "reduce_mean", "sub", "mul", "sqrt")
def std(call: Call) -> Value:
    """The root of the variance."""
    return call.emit(Sqrt(), _variance(call, "variance")[0])


@handler("aten.var_mean.default", "reduce_mean", "sub", "mul")
@handler("aten.var_mean.dim", "reduce_mean", "sub", "mul")
@handler("aten.var_mean.correction", "reduce_mean", "sub", "mul")
def var_mean(call: Call) -> list[Entry]:
    """Both."""
    variance, _ = _variance(call, "variance")
    return [variance, call.emit(ReduceMean(call.axes("dim"), call.flag("keepdim")), call.value("self"), label="mean")]
