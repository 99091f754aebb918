"""Sums, means and other affine maps: of several values, over axes, and element by element with known factors."""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import along_axis, minus, real, reduced, reshaped, sum_over, times, transposed
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Op, Value
from snnir.ir.lowering.choose import chosen
from snnir.ir.lowering.functions import running_sum, triangle
from snnir.ir.ops import Abs, Add, Exp, Log, Mul, Sqrt

__all__: list[str] = []


def _total(call: Call, label: str) -> Value:
    values = [real(call, index) for index in range(len(call.operands))]
    total = values[0]
    for index, value in enumerate(values[1:], 2):
        total = call.emit(Add(), total, value, label=label if index == len(values) else f"sum{index}")
    return total


@handler("Sum", "add")
def sum_(call: Call) -> list[Result]:
    """Of any number of values."""
    return [_total(call, "")]


@handler("Mean", "add", "mul")
def mean(call: Call) -> list[Result]:
    """Of any number of values."""
    if len(call.operands) == 1:
        return [call.value(0)]
    return [times(call, _total(call, "sum"), 1 / len(call.operands))]


@handler("Neg", "mul")
def neg(call: Call) -> list[Result]:
    """Times -1."""
    real(call, 0)
    return [minus(call, call.value(0))]


@handler("Where", "mul", "add")
def where(call: Call) -> list[Result]:
    """A known condition: `condition a + (1 - condition) b`."""
    condition = call.known(0, "the condition")
    if condition.dtype == object:
        raise RefusalError("its condition depends on a size that is known only at run time")
    values = [real(call, index) for index in (1, 2)]
    operands = [known if isinstance(known, np.ndarray) else value for known, value in zip(call.operands[1:], values, strict=True)]
    return [chosen(call, condition.astype(bool), operands, values[0])]


@handler("Trilu", "mul")
def trilu(call: Call) -> list[Result]:
    """A known diagonal: times a mask of 0 and 1."""
    x = real(call, 0)
    k = call.known_integers(1, "the diagonal")[0] if call.has(1) else 0
    return [triangle(call, x, k, bool(call.integer("upper", 1)))]


@handler("CumSum", "linear", "transpose")
def cumsum(call: Call) -> list[Result]:
    """Along a known axis of known length: a triangular matrix."""
    x = real(call, 0)
    axis = call.axis(call.known_integers(1, "the axis")[0], x.type.rank)
    return [running_sum(call, x, axis, bool(call.integer("exclusive", 0)), bool(call.integer("reverse", 0)))]


def _reduction(operator: str, before: str, after: type[Op] | None, *becomes: str) -> None:
    @handler(operator, "linear", *becomes)
    def reduction(call: Call) -> list[Result]:
        """Over axes of known length."""
        x, axes = real(call, 0), reduced(call)
        if before == "square":
            x = call.emit(Mul(), x, x, label="square")
        elif before:
            x = call.emit({"abs": Abs, "exp": Exp}[before](), x, label=before)
        if axes is not None:
            x = sum_over(call, x, axes, bool(call.integer("keepdims", 1)), "" if after is None else "total")
        return [x if after is None else call.emit(after(), x)]


_reduction("ReduceSum", "", None)
_reduction("ReduceL1", "abs", None, "abs")
_reduction("ReduceSumSquare", "square", None, "mul")
_reduction("ReduceL2", "square", Sqrt, "mul", "sqrt")
_reduction("ReduceLogSum", "", Log, "log")
_reduction("ReduceLogSumExp", "exp", Log, "exp", "log")


@handler("DFT", "linear", "reshape", "transpose")
def dft(call: Call) -> list[Result]:
    """Of real numbers, along a known axis of known length: a matrix of cosines and sines."""
    x = real(call, 0)
    rank = x.type.rank
    if x.type.shape[-1] != 1 or call.integer("inverse", 0):
        raise RefusalError("it transforms complex numbers; only real ones are supported")
    if call.opset >= 20:
        axis = call.axis(call.known_integers(2, "the axis")[0] if call.has(2) else -2, rank)
    else:
        axis = call.axis(call.integer("axis", 1), rank)
    (size,) = call.static((x.type.shape[axis],), "a Fourier transform")
    length = call.known_integers(1, "the length")[0] if call.has(1) else size
    count = length // 2 + 1 if call.integer("onesided", 0) else length
    angle = -2 * np.pi * np.outer(np.arange(count), np.arange(size)) / length
    matrix = np.stack([np.cos(angle), np.sin(angle)], 1).reshape(2 * count, size)
    if length < size:
        matrix[:, length:] = 0
    line = reshaped(call, x, x.type.shape[:-1], "line")
    mapped = along_axis(call, line, axis, matrix, "mapped")
    shape = mapped.type.shape
    pairs = reshaped(call, mapped, (*shape[:axis], count, 2, *shape[axis + 1 :]), "pairs")
    return [transposed(call, pairs, [place for place in range(rank) if place != axis + 1] + [axis + 1])]
