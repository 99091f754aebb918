"""Operators that compute with integers: QLinearConv and its kin, ConvInteger, and those of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.handlers.pooling import window
from snnir.frontends.onnx.handlers.windows import padding
from snnir.frontends.onnx.quantizers import bounds_of, dequantize, known_number, quantize, spread
from snnir.frontends.onnx.registry import Known, RefusalError, Result, handler
from snnir.ir import Value
from snnir.ir.ops import Add, AveragePool, Concat, Conv, LeakyRelu, Linear, MatMul, Mul, ReduceMean, Sigmoid, Softmax, Transpose

__all__ = ["dequantized"]

_MICROSOFT = ("com.microsoft",)


def dequantized(call: Call, index: int, scale: int, zero: int, label: str, axis: int | None = None) -> Value:
    """The real numbers of operand `index`, whose scale and zero point are the operands `scale` and `zero`."""
    operand = call.operands[index]
    shape = operand.shape if isinstance(operand, np.ndarray) else call.type(index).shape
    step = known_number(call, scale, f"the scale of {label}") if scale >= 0 else np.ones((), np.float32)
    shift = known_number(call, zero, f"the zero point of {label}") if zero >= 0 and call.has(zero) else np.zeros((), np.int64)
    if axis is None and max(step.size, shift.size) > 1:
        raise RefusalError(f"{label} has a scale or zero point for each row, which no synapse shares; quantize it per tensor")
    along = 0 if axis is None else axis % max(len(shape), 1)
    real = dequantize(call, index, spread(step, shape, along), spread(shift.astype(np.int64), shape, along), label)
    return real if isinstance(real, Value) else call.constant(f"{call.name()}.{label}", real)


def _rounded(call: Call, real: Value, scale: int, zero: int, after: bool = False) -> Value:
    """`saturate(round(real / scale) + zero)`; `after`: `saturate(round(real / scale + zero))`, so that halves go to the
    integer that is even as it is stored.
    """
    step = known_number(call, scale, "the scale of its result")
    shift = known_number(call, zero, "the zero point of its result") if call.has(zero) else None
    if step.size > 1:
        raise RefusalError("its result has several scales")
    at = np.zeros((), np.int64) if shift is None else shift.astype(np.int64).reshape(())
    rounding = "odd" if after and at % 2 else "even"
    return quantize(call, real, step.reshape(()), at, bounds_of(shift), rounding)


def _conv(call: Call, x: Value, weight: Value, bias: Known | None, label: str) -> Value:
    kernel = call.static(weight.type.shape[2:], "the kernel")
    ones = (1,) * len(kernel)
    stride, dilation = call.integers("strides", ones), call.integers("dilations", ones)
    pads = padding(call, x.type.shape[2:], kernel, stride, dilation)
    operands = [x, weight]
    if bias is not None:
        operands.append(call.constant(f"{call.name()}.bias", bias))
    return call.emit(Conv(stride, pads, dilation, call.integer("group", 1)), *operands, label=label)


@handler("QLinearConv", "conv", "fake_quantize", quantizing=True)
def qlinear_conv(call: Call) -> list[Result]:
    """x, its scale and zero point, w and its own, those of the result, and a bias in units of both scales together."""
    x, weight = dequantized(call, 0, 1, 2, "x"), dequantized(call, 3, 4, 5, "w", 0)
    bias = None
    if call.has(8):
        units = call.known(1, "the scale of x").astype(np.float64) * call.known(4, "the scale of w").astype(np.float64)
        bias = call.known(8, "the bias").astype(np.float64) * units.reshape(-1)
    return [_rounded(call, _conv(call, x, weight, bias, "sum"), 6, 7)]


@handler("ConvInteger", "conv", quantizing=True)
def conv_integer(call: Call) -> list[Result]:
    """A sum of integers."""
    return [_conv(call, dequantized(call, 0, -1, 2, "x"), dequantized(call, 1, -1, 3, "w", 0), None, "")]


@handler("QLinearMatMul", "matmul", "fake_quantize", domains=_MICROSOFT, quantizing=True)
def qlinear_matmul(call: Call) -> list[Result]:
    """NumPy's matmul of what both stand for."""
    a, b = dequantized(call, 0, 1, 2, "a"), dequantized(call, 3, 4, 5, "b", -1)
    return [_rounded(call, call.emit(MatMul(), a, b, label="sum"), 6, 7)]


@handler("MatMulInteger", "matmul", quantizing=True)
def matmul_integer(call: Call) -> list[Result]:
    """A sum of integers."""
    return [call.emit(MatMul(), dequantized(call, 0, -1, 2, "a"), dequantized(call, 1, -1, 3, "b", -1))]


@handler("QGemm", "linear", "fake_quantize", domains=_MICROSOFT, quantizing=True)
def qgemm(call: Call) -> list[Result]:
    """`alpha A' B'`, and a bias in units of both scales together; real numbers where no scale of the result is given."""
    alpha = call.number("alpha", 1.0)
    a = dequantized(call, 0, 1, 2, "a")
    if call.integer("transA", 0):
        a = call.emit(Transpose((1, 0)), a, label="a.T")
    transposed = bool(call.integer("transB", 0))
    b = dequantized(call, 3, 4, 5, "b", 0 if transposed else 1)
    if not b.is_constant:
        raise RefusalError("both sides change with the input; only a constant side makes it a synapse")
    weight = (b.array if transposed else b.array.T) * alpha
    operands = [a, call.constant(f"{call.name()}.weight", np.ascontiguousarray(weight))]
    if call.has(6):
        units = call.known(1, "the scale of a").astype(np.float64) * call.known(4, "the scale of b").astype(np.float64)
        bias = call.known(6, "the bias").astype(np.float64).reshape(-1) * units.reshape(-1) * alpha
        operands.append(call.constant(f"{call.name()}.bias", np.broadcast_to(bias, (len(weight),)).copy()))
    if not call.has(7):
        return [call.emit(Linear(), *operands)]
    return [_rounded(call, call.emit(Linear(), *operands, label="sum"), 7, 8)]


def _two(operator: str, op: type[Add | Mul]) -> None:
    @handler(operator, op.name, "fake_quantize", domains=_MICROSOFT, quantizing=True)
    def binary(call: Call) -> list[Result]:
        result = call.emit(op(), dequantized(call, 0, 1, 2, "a"), dequantized(call, 3, 4, 5, "b"), label="sum")
        return [_rounded(call, result, 6, 7, after=True)]


_two("QLinearAdd", Add)
_two("QLinearMul", Mul)


def _one(operator: str, becomes: str, function: Callable[[Call, Value], Value], after: bool = False) -> None:
    @handler(operator, becomes, "fake_quantize", domains=_MICROSOFT, quantizing=True)
    def unary(call: Call) -> list[Result]:
        if call.integer("channels_last", 0):
            raise RefusalError("it is channels-last; export the model with the channels as axis 1")
        return [_rounded(call, function(call, dequantized(call, 0, 1, 2, "x")), 3, 4, after)]


def _global_mean(call: Call, x: Value) -> Value:
    return call.emit(ReduceMean(tuple(range(2, x.type.rank))), x, label="mean")


def _average(call: Call, x: Value) -> Value:
    return call.emit(AveragePool(*window(call), bool(call.integer("count_include_pad", 0))), x, label="mean")


def _leaky(call: Call, x: Value) -> Value:
    return call.emit(LeakyRelu(call.number("alpha", 0.01)), x, label="f")


_one("QLinearGlobalAveragePool", "reduce_mean", _global_mean)
_one("QLinearAveragePool", "average_pool", _average, after=True)
_one("QLinearSigmoid", "sigmoid", lambda call, x: call.emit(Sigmoid(), x, label="f"))
_one("QLinearLeakyRelu", "leaky_relu", _leaky)


@handler("QLinearSoftmax", "softmax", "fake_quantize", domains=_MICROSOFT, quantizing=True)
def qlinear_softmax(call: Call) -> list[Result]:
    """On the host. ONNX Runtime counts levels of `1 / floor(1 / scale)`, in float32; 1/256 and its like are meant."""
    x = dequantized(call, 0, 1, 2, "x")
    axis = call.axis(call.integer("axis", 1 if call.integer("opset", 13) < 13 else -1), x.type.rank)
    if call.integer("opset", 13) < 13 and axis != x.type.rank - 1:
        raise RefusalError(f"it normalises all axes from {axis} on together; export the model with opset 13 or newer")
    result = call.emit(Softmax(axis), x, label="softmax")
    step = known_number(call, 3, "the scale of its result").astype(np.float32).reshape(())
    levels = float(np.floor(np.float32(1) / step)) * float(step)
    if levels != 1:
        result = call.emit(Mul(), result, call.constant(f"{call.name()}.levels.factor", np.array(levels)), label="counted")
    return [_rounded(call, result, 3, 4)]


@handler("QLinearConcat", "concat", "fake_quantize", domains=_MICROSOFT, quantizing=True)
def qlinear_concat(call: Call) -> list[Result]:
    """The scale and zero point of the result, then for each part what it is, its scale and its zero point."""
    parts = [dequantized(call, index, index + 1, index + 2, f"part{index}") for index in range(2, len(call.operands), 3)]
    joined = call.emit(Concat(call.axis(call.integer("axis", 0), parts[0].type.rank)), *parts, label="joined")
    return [_rounded(call, joined, 0, 1)]
