"""Sums, means and other affine maps: of several values, over axes, and element by element with known factors."""

from __future__ import annotations

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import minus, real, reduced, sum_over, times
from snnir.frontends.onnx.registry import Result, handler
from snnir.ir import Op, Value
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
