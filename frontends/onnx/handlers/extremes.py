"""Maxima and minima: of several values, over axes, and what is made of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import minus, real, reduced
from snnir.frontends.onnx.registry import Result, handler, integer_handler
from snnir.ir import Value
from snnir.ir.lowering.choose import extreme, extreme_over, sloped
from snnir.ir.ops import ArgMax, IntReduce, Masked
from snnir.ir.types import DTYPES

__all__: list[str] = []


def _extreme(operator: str, sign: int) -> None:
    @handler(operator, "max_pool", "clip", "relu", "add", "mul")
    def of_values(call: Call) -> list[Result]:
        """Of any number of values; known ones become a clip or a shifted ReLU. A minimum is `-max(-x)`. Minus infinity never is
        the largest, infinity never the smallest: such operands are left out.
        """
        operands: list[Value | np.ndarray] = []
        kept = [index for index, operand in enumerate(call.operands) if not _never(call, operand, -sign * np.inf)]
        for index in kept or range(len(call.operands)):
            operand = call.operands[index]
            value = real(call, index)
            operands.append(operand if isinstance(operand, np.ndarray) else value)
        return [call.value(kept[0]) if len(operands) == 1 else extreme(call, operands, sign)]


def _never(call: Call, operand: object, number: float) -> bool:
    """Whether the operand is `number` everywhere, and of a shape that gives the others no further elements."""
    if not isinstance(operand, np.ndarray) or operand.dtype.kind != "f" or not operand.size or not (operand == number).all():
        return False
    shapes = [other.type.shape if isinstance(other, Value) else getattr(other, "shape", ()) for other in call.operands]
    return operand.size == 1 and any(len(shape) >= operand.ndim for shape in shapes if shape != operand.shape)


_extreme("Max", 1)
_extreme("Min", -1)


def _over_axes(operator: str, sign: int) -> None:
    @handler(operator, "max_pool", "mul", "masked")
    def over_axes(call: Call) -> list[Result]:
        """Over axes of known length: a max pool with one window. A minimum is `-max(-x)`. Of nothing: an infinity, which only
        the host takes, or the end of truth.
        """
        x, axes = real(call, 0), reduced(call)
        if axes is not None and any(x.type.shape[axis] == 0 for axis in axes):
            if call.scope.holds_truth(x):
                return [np.full(_left(call, x, axes), sign < 0)]
            zeros = np.zeros(_left(call, x, axes), DTYPES[x.type.dtype])
            none = call.array("none", np.zeros((), np.float32))
            lowest = call.emit(Masked(), call.array("nothing", zeros), none, label="" if sign > 0 else "lowest")
            return [lowest if sign > 0 else minus(call, lowest)]
        return [x if axes is None else extreme_over(call, x, axes, bool(call.integer("keepdims", 1)), sign)]


def _left(call: Call, x: Value, axes: Sequence[int]) -> tuple[int, ...]:
    """The shape that is left by a reduction."""
    keep = bool(call.integer("keepdims", 1))
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.type.shape) if keep or axis not in axes)
    return call.static(shape, "the extreme of no elements")


def _of_integers(operator: str, function: str) -> None:
    @integer_handler(operator, "int_reduce")
    def over_axes(call: Call) -> list[Result]:
        """Exact. Of nothing: the end of the type."""
        x, axes = call.value(0), reduced(call)
        if axes is not None and any(x.type.shape[axis] == 0 for axis in axes):
            kind = DTYPES[x.type.dtype]
            low, high = (0, 1) if kind.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
            return [np.full(_left(call, x, axes), low if function == "max" else high, kind)]
        return [x if axes is None else call.emit(IntReduce(function, axes, bool(call.integer("keepdims", 1))), x)]


_of_integers("ReduceMax", "max")
_of_integers("ReduceMin", "min")
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
