"""Convolutions, linear layers, products of matrices and batch norm."""

from __future__ import annotations

import torch

from snnir.frontends.torch.call import Call
from snnir.frontends.torch.handlers.enlarge import transposed
from snnir.frontends.torch.registry import Entry, RefusalError, Unknown, handler
from snnir.ir import Value
from snnir.ir.lowering.columns import changing_convolution
from snnir.ir.lowering.compose import changes
from snnir.ir.ops import Add, BatchNorm, Conv, Linear, MatMul, Mul, Reshape, Transpose

__all__ = ["by_statistics"]


@handler("aten.convolution", "conv", "pad", "reshape", "matmul", "gather")
@handler("aten.conv3d", "conv", "matmul", "gather")
@handler("aten.conv2d", "conv", "matmul", "gather")
@handler("aten.conv1d", "conv", "matmul", "gather")
def conv(call: Call) -> Value:
    """Any number of spatial axes; padding as numbers, `same` or `valid`; weights may change with the input."""
    if call.flag("transposed"):
        return transposed(call)
    x, weight = call.value("input"), call.value("weight")
    kernel = call.static(weight.type.shape[2:], "the kernel")
    if x.type.rank != len(kernel) + 2:
        raise RefusalError(f"its input {x.type} has no batch; give x[N, C, ...]")
    stride, dilation = _each(call, "stride", len(kernel)), _each(call, "dilation", len(kernel))
    given = call.given("padding")
    if isinstance(given, str):
        total = [d * (k - 1) if given == "same" else 0 for k, d in zip(kernel, dilation, strict=True)]
        padding = (*(amount // 2 for amount in total), *(amount - amount // 2 for amount in total))
    else:
        padding = _each(call, "padding", len(kernel)) * 2
    groups, bias = call.integer("groups", 1), call.value("bias") if call.has("bias") else None
    if changes(weight):
        return changing_convolution(call, x, weight, bias, stride, padding, dilation, groups)
    operands = (x, weight) if bias is None else (x, weight, bias)
    return call.emit(Conv(stride, padding, dilation, groups), *operands)


def _each(call: Call, name: str, count: int) -> tuple[int, ...]:
    numbers = call.integers(name)
    return numbers * count if len(numbers) == 1 else numbers


@handler("aten.linear", "linear", "matmul")
def linear(call: Call) -> Value:
    """`x W' + b`, with a constant W or not."""
    x = call.value("input")
    if isinstance(call.given("weight"), torch.Tensor):
        operands = [x, call.value("weight")]
        return call.emit(Linear(), *operands, *([call.value("bias")] if call.has("bias") else []))
    weight = call.emit(Transpose((1, 0)), call.value("weight"), label="weight")
    if not call.has("bias"):
        return call.emit(MatMul(), x, weight)
    return call.emit(Add(), call.emit(MatMul(), x, weight, label="product"), call.value("bias"))


@handler("aten.bilinear", "linear", "matmul", "reshape", "add")
def bilinear(call: Call) -> Value:
    """`x' W y + b` with a constant W: a linear layer of x, and its product with y."""
    x, y, weight = call.value("input1"), call.value("input2"), call.known("weight", "the weight")
    outputs, left, right = weight.shape
    matrix = call.constant("weight", weight.transpose(1, 2).reshape(outputs * right, left).contiguous())
    rows = call.emit(Linear(), x, matrix, label="rows")
    lead = x.type.shape[:-1]
    rows = call.emit(Reshape((*lead, outputs, right)), rows, label="matrices")
    column = call.emit(Reshape((*lead, right, 1)), y, label="column")
    products = call.emit(MatMul(), rows, column, label="products")
    flat = call.emit(Reshape((*lead, outputs)), products, label="sum" if call.has("bias") else "")
    return call.emit(Add(), flat, call.value("bias")) if call.has("bias") else flat


@handler("aten.addmm", "linear", "matmul", "add")
def addmm(call: Call) -> Value:
    """`beta c + alpha a b`; a linear layer where b is constant and c a vector."""
    alpha, beta = call.number("alpha", 1.0), call.number("beta", 1.0)
    a, b, c = call.value("mat1"), call.given("mat2"), call.given("self")
    if isinstance(b, torch.Tensor) and isinstance(c, torch.Tensor) and c.shape == (b.shape[1],) and alpha == beta == 1:
        return call.emit(Linear(), a, call.constant("weight", b.t().contiguous()), call.value("self"))
    product = _scaled(call, call.emit(MatMul(), a, call.value("mat2"), label="product"), alpha, "alpha")
    return call.emit(Add(), product, _scaled(call, call.value("self"), beta, "beta"))


@handler("aten.baddbmm", "matmul", "add")
def baddbmm(call: Call) -> Value:
    """`beta c + alpha a b` of batches of matrices."""
    product = call.emit(MatMul(), call.value("batch1"), call.value("batch2"), label="product")
    scaled = _scaled(call, product, call.number("alpha", 1.0), "alpha")
    return call.emit(Add(), scaled, _scaled(call, call.value("self"), call.number("beta", 1.0), "beta"))


def _scaled(call: Call, value: Value, factor: float, label: str) -> Value:
    return value if factor == 1 else call.emit(Mul(), value, call.scalar(label, factor), label=f"{label}.scaled")


def _product(operator: str, left: str, right: str) -> None:
    @handler(operator, "matmul")
    def matmul(call: Call) -> Value:
        return call.emit(MatMul(), call.value(left), call.value(right))


for _operator, _right in (("matmul", "other"), ("mm", "mat2"), ("bmm", "mat2"), ("mv", "vec"), ("dot", "tensor")):
    _product(f"aten.{_operator}", "self", _right)


def by_statistics(call: Call) -> Value:
    """A batch norm by its running statistics. Raises `RefusalError` where it has none, or trains."""
    x = call.value("input")
    if call.flag("training"):
        raise RefusalError("it is in training mode; call eval() on the module")
    if not call.has("running_mean") or not call.has("running_var"):
        raise RefusalError("it keeps no running statistics, so that every batch would be normalised by its own")
    mean = call.value("running_mean")
    one = torch.ones(mean.type.static_shape("batch norm"), dtype=torch.float32)
    scale = call.value("weight") if call.has("weight") else call.constant("scale", one)
    bias = call.value("bias") if call.has("bias") else call.constant("shift", 0 * one)
    return call.emit(BatchNorm(call.number("eps", 1e-5)), x, scale, bias, mean, call.value("running_var"))


@handler("aten.batch_norm", "batch_norm")
def batch_norm(call: Call) -> Value:
    """In evaluation only, with running statistics."""
    return by_statistics(call)


@handler("aten._native_batch_norm_legit_no_training", "batch_norm")
def native_batch_norm(call: Call) -> Entry:
    """The same, as a program with core operators only holds it."""
    unused = Unknown("it takes the statistics of a batch norm")
    return [by_statistics(call), unused, unused]
