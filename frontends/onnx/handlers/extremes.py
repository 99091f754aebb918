"""Maxima and minima: of several values, over axes, and what is made of them."""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import minus, real, reduced
from snnir.frontends.onnx.registry import Result, handler
from snnir.ir import Value
from snnir.ir.lowering.choose import extreme, extreme_over, sloped
from snnir.ir.ops import ArgMax

__all__: list[str] = []


def _extreme(operator: str, sign: int) -> None:
    @handler(operator, "max_pool", "clip", "relu", "add", "mul")
    def of_values(call: Call) -> list[Result]:
        """Of any number of values; known ones become a clip or a shifted ReLU. A minimum is `-max(-x)`."""
        operands: list[Value | np.ndarray] = []
        for index, operand in enumerate(call.operands):
            value = real(call, index)
            operands.append(operand if isinstance(operand, np.ndarray) else value)
        return [call.value(0) if len(operands) == 1 else extreme(call, operands, sign)]


_extreme("Max", 1)
_extreme("Min", -1)


def _over_axes(operator: str, sign: int) -> None:
    @handler(operator, "max_pool", "mul")
    def over_axes(call: Call) -> list[Result]:
        """Over axes of known length: a max pool with one window. A minimum is `-max(-x)`."""
        x, axes = real(call, 0), reduced(call)
        return [x if axes is None else extreme_over(call, x, axes, bool(call.integer("keepdims", 1)), sign)]


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
    if slope.ndim == 1 and x.type.rank > 2 and slope.size == x.type.shape[1] and slope.size != x.type.shape[-1]:
        slope = slope.reshape(-1, *([1] * (x.type.rank - 2)))  # PyTorch's old exports: one for each channel
    return [sloped(call, x, slope)]
