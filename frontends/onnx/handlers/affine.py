"""Conv, Gemm, MatMul, arithmetic and BatchNormalization."""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import real, reshaped, times
from snnir.frontends.onnx.handlers.windows import filled
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Op, Value
from snnir.ir.lowering import normalise
from snnir.ir.lowering.columns import changing_convolution
from snnir.ir.lowering.compose import changes
from snnir.ir.lowering.masks import masked_sum
from snnir.ir.ops import Add, BatchNorm, Conv, Div, Linear, MatMul, Mul, ReduceMean, Sub, Transpose

__all__: list[str] = []


@handler("Conv", "conv", "matmul", "gather")
def conv(call: Call) -> list[Result]:
    """ONNX Conv, any number of spatial axes; weights may change with the input."""
    x, weight = call.value(0), call.value(1)
    kernel = call.static(weight.type.shape[2:], "the kernel")
    ones = (1,) * len(kernel)
    stride, dilation = call.integers("strides", ones), call.integers("dilations", ones)
    x, pads = filled(call, x, kernel, stride, dilation, None)
    groups, bias = call.integer("group", 1), call.value(2) if call.has(2) else None
    if changes(weight):
        return [changing_convolution(call, x, weight, bias, stride, pads, dilation, groups)]
    operands = (x, weight) if bias is None else (x, weight, bias)
    return [call.emit(Conv(stride, pads, dilation, groups), *operands)]


@handler("Gemm", "linear", "matmul")
def gemm(call: Call) -> list[Result]:
    """`alpha A' B' + beta C`; a linear layer where B is constant."""
    alpha, beta = call.number("alpha", 1.0), call.number("beta", 1.0)
    a = call.value(0)
    if call.integer("transA", 0):
        a = call.emit(Transpose((1, 0)), a, label="A")
    known = call.operands[1]
    if not isinstance(known, np.ndarray):
        return [_general_gemm(call, a, alpha, beta)]
    weight = known if call.integer("transB", 0) else known.T
    if alpha != 1:
        weight = weight * weight.dtype.type(alpha)
    operands = [a, call.constant(_weight_name(call, known, weight), np.ascontiguousarray(weight))]
    bias = call.operands[2] if call.has(2) else None
    if bias is None:
        return [call.emit(Linear(), *operands)]
    if isinstance(bias, np.ndarray) and bias.size in (1, len(weight)) and bias.shape[-1:] in ((), (1,), (len(weight),)):
        vector = np.broadcast_to(bias.reshape(-1), (len(weight),)) * bias.dtype.type(beta)
        same = beta == 1 and bias.shape == vector.shape
        operands.append(call.constant(call.node.input[2] if same else f"{call.node.input[2]}.bias", bias if same else vector))
        return [call.emit(Linear(), *operands)]
    product = call.emit(Linear(), *operands, label="product")
    return [call.emit(Add(), product, _scaled(call, call.value(2), beta, "C"))]


def _weight_name(call: Call, known: np.ndarray, weight: np.ndarray) -> str:
    return call.node.input[1] if weight is known else f"{call.node.input[1]}.T"


def _general_gemm(call: Call, a: Value, alpha: float, beta: float) -> Value:
    b = call.value(1)
    if call.integer("transB", 0):
        b = call.emit(Transpose((1, 0)), b, label="B")
    if alpha == 1 and not call.has(2):
        return call.emit(MatMul(), a, b)
    product = _scaled(call, call.emit(MatMul(), a, b, label="product"), alpha, "alpha")
    return call.emit(Add(), product, _scaled(call, call.value(2), beta, "C")) if call.has(2) else product


def _scaled(call: Call, value: Value, factor: float, label: str) -> Value:
    if factor == 1:
        return value
    constant = call.constant(f"{call.name()}.{label}.factor", np.array(factor, np.float32))
    return call.emit(Mul(), value, constant, label=f"{label}.scaled")


@handler("MatMul", "matmul")
def matmul(call: Call) -> list[Result]:
    """NumPy's matmul."""
    return [call.emit(MatMul(), call.value(0), call.value(1))]


def _is_whole(call: Call, index: int) -> bool:
    operand = call.operands[index]
    return operand.dtype.kind in "iu" if isinstance(operand, np.ndarray) else call.scope.holds_whole(call.value(index))


def _arithmetic(operator: str, op: type[Op]) -> None:
    @handler(operator, op.name, *(("masked",) if operator == "Add" else ()))
    def binary(call: Call) -> list[Result]:
        if operator == "Add" and (hidden := masked_sum(call, call.operands, call.value)) is not None:
            return [hidden]
        for index in range(2):
            if not call.type(index).is_real:
                raise RefusalError(f"it computes with {call.type(index).dtype}; only real numbers are imported")
        if operator == "Div" and all(_is_whole(call, index) for index in range(2)):
            raise RefusalError("it divides whole numbers, and rounds; only real numbers are imported")
        return [call.emit(op(), call.value(0), call.value(1))]


for _operator, _op in (("Add", Add), ("Sub", Sub), ("Mul", Mul), ("Div", Div)):
    _arithmetic(_operator, _op)


@handler("BatchNormalization", "batch_norm", "reduce_mean", "sub", "mul", "sqrt", "div", "add")
def batch_normalization(call: Call) -> list[Result]:
    """In training mode (opset 14 on) by the statistics of the batch, which mixes its samples; running ones are results too."""
    if call.integer("training_mode", 0):
        return _by_statistics_of_the_batch(call)
    if any(call.wants(index) for index in range(1, len(call.node.output))):
        raise RefusalError("its statistics outputs are used; only the normalised value is supported")
    op = BatchNorm(call.number("epsilon", 1e-5))
    return [call.emit(op, *(call.value(index) for index in range(5)))]


def _by_statistics_of_the_batch(call: Call) -> list[Result]:
    """`running = momentum given + (1 - momentum) found`, of the mean and of the variance over all but the channels."""
    x, momentum = real(call, 0), call.number("momentum", 0.9)
    call.scope.note(f"{call.origin[0]} is in training mode: it normalises by the statistics of the batch, not by stored ones")
    axes = (0, *range(2, x.type.rank))
    scale, bias = (_per_channel(call, index, x.type.rank) for index in (1, 2))
    y, mean, _ = normalise.standardised(call, x, axes, call.number("epsilon", 1e-5), "standardised")
    results = [normalise.scaled_and_shifted(call, y, scale, bias)]
    if call.wants(1) or call.wants(2):
        apart = call.emit(Sub(), x, mean, label="apart")
        variance = call.emit(ReduceMean(axes), call.emit(Mul(), apart, apart, label="spread"), label="found_variance")
        for output, (given, found) in enumerate(((3, mean), (4, variance)), 1):
            flat = reshaped(call, found, x.type.shape[1:2], f"found{output}")
            kept = times(call, call.value(given), momentum, f"kept{output}")
            results.append(call.emit(Add(), kept, times(call, flat, 1 - momentum, f"new{output}"), output=output))
    return list(results)


def _per_channel(call: Call, index: int, rank: int) -> Value:
    value = call.value(index)
    return reshaped(call, value, (*value.type.shape, *([1] * (rank - 2))), f"operand{index}")
