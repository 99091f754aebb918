"""Maxima and minima: of several values, over axes, and what is made of them."""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import largest, largest_over, minus, plus, real, reduced, times
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Value
from snnir.ir.ops import Add, ArgMax, Clip, LeakyRelu, Relu
from snnir.ir.ops.rules import broadcast

__all__: list[str] = []


def _extreme(operator: str, sign: int) -> None:
    @handler(operator, "max_pool", "clip", "relu", "add", "mul")
    def extreme(call: Call) -> list[Result]:
        """Of any number of values; known ones become a clip or a shifted ReLU. A minimum is `-max(-x)`."""
        for index in range(len(call.operands)):
            real(call, index)
        known = [operand for operand in call.operands if isinstance(operand, np.ndarray)]
        changing = [operand for operand in call.operands if isinstance(operand, Value)]
        if len(call.operands) == 1:
            return [call.value(0)]
        alike = all(value.type.shape == changing[0].type.shape for value in changing)
        bound = (np.maximum if sign > 0 else np.minimum).reduce(np.broadcast_arrays(*known)) if known else None
        if len(changing) == 1:
            assert bound is not None
            return [_bounded(call, changing[0], bound, sign)]
        if sign < 0:
            changing = [minus(call, value, f"negated{index}") for index, value in enumerate(changing)]
        last = bound is None and sign > 0
        best = largest(call, changing, "" if last and alike else "best")
        if sign < 0:
            best = minus(call, best, "" if bound is None else "least")
        return [best if bound is None else _bounded(call, best, bound, sign)]


_extreme("Max", 1)
_extreme("Min", -1)


def _bounded(call: Call, x: Value, bound: np.ndarray, sign: int) -> Value:
    """`max(x, bound)`, for `sign` -1 `min(x, bound)`."""
    if bound.size == 1 and bound.ndim <= x.type.rank:
        limit = float(bound.reshape(-1)[0])
        return call.emit(Clip(low=limit) if sign > 0 else Clip(high=limit), x)
    if not np.isfinite(bound).all():
        raise RefusalError("its bounds hold infinities that differ from element to element")
    broadcast(x.type.shape, bound.shape)
    above = plus(call, times(call, x, float(sign), "signed"), -sign * bound, "above")
    return plus(call, times(call, call.emit(Relu(), above, label="excess"), float(sign), "kept"), bound)


def _over_axes(operator: str, sign: int) -> None:
    @handler(operator, "max_pool", "mul")
    def over_axes(call: Call) -> list[Result]:
        """Over axes of known length: a max pool with one window. A minimum is `-max(-x)`."""
        x, axes, keep = real(call, 0), reduced(call), bool(call.integer("keepdims", 1))
        if axes is None:
            return [x]
        if sign > 0:
            return [largest_over(call, x, axes, keep)]
        return [minus(call, largest_over(call, minus(call, x, "negated"), axes, keep, "largest"))]


_over_axes("ReduceMax", 1)
_over_axes("ReduceMin", -1)


@handler("ArgMin", "argmax", "mul")
def argmin(call: Call) -> list[Result]:
    """The index of the largest negated element, on the host."""
    x = real(call, 0)
    op = ArgMax(
        call.axis(call.integer("axis", 0), x.type.rank),
        bool(call.integer("keepdims", 1)),
        bool(call.integer("select_last_index", 0)),
    )
    return [call.emit(op, minus(call, x, "negated"))]


@handler("PRelu", "leaky_relu", "relu", "mul", "add")
def prelu(call: Call) -> list[Result]:
    """A known slope; one for all elements is a leaky ReLU, others `slope x + (1 - slope) max(x, 0)`."""
    x, slope = real(call, 0), call.known(1, "the slope")
    if slope.size == 1 and slope.ndim <= x.type.rank and float(slope.reshape(-1)[0]) >= 0:
        return [call.emit(LeakyRelu(float(slope.reshape(-1)[0])), x)]
    if slope.ndim == 1 and x.type.rank > 2 and slope.size == x.type.shape[1] and slope.size != x.type.shape[-1]:
        slope = slope.reshape(-1, *([1] * (x.type.rank - 2)))  # PyTorch's old exports: one for each channel
    positive = call.emit(Relu(), x, label="positive")
    rest = times(call, positive, 1 - slope, "rest")
    return [call.emit(Add(), times(call, x, slope, "scaled"), rest)]
