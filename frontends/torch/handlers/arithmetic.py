"""Arithmetic of tensors and numbers, and functions that the host computes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from snnir.frontends.torch.call import Call
from snnir.frontends.torch.registry import Entry, RefusalError, Spread, handler
from snnir.ir import Dim, Op, Value
from snnir.ir.lowering.functions import remainder, truncated
from snnir.ir.lowering.masks import masked_sum
from snnir.ir.ops import Abs, Add, Cos, Div, Log, LogSoftmax, Mul, Pow, Reciprocal, Remainder, Round, Sin, Softmax, Sqrt, Sub

__all__ = ["operand"]


def operand(call: Call, name: str) -> Value:
    """A tensor or a number that is computed with, as real numbers. Raises `RefusalError` for others."""
    entry = call.given(name)
    if isinstance(entry, Dim):
        raise RefusalError(f"it computes with the size {entry}, which is known only at run time")
    if isinstance(entry, torch.Tensor) and not entry.is_floating_point():
        entry = entry.to(call.node.meta["val"].dtype)
    if isinstance(entry, Spread) and not entry.array.is_floating_point():
        entry = Spread(entry.array.to(call.node.meta["val"].dtype), entry.shape)
    value = call.as_value(entry, name)
    if not value.type.is_real:
        raise RefusalError(f"it computes with {value.type.dtype}; only real numbers are imported")
    return value


def _binary(operator: str, op: type[Op], left: str = "self", right: str = "other") -> None:
    @handler(f"aten.{operator}", op.name, *(("masked",) if op is Add else ()))
    def binary(call: Call) -> Value:
        if call.arguments.get("rounding_mode") is not None:
            if call.given("rounding_mode") == "floor":
                return _floor_divided(call)
            return truncated(call, call.emit(Div(), operand(call, left), operand(call, right), label="quotient"))
        alpha = call.number("alpha", 1.0)
        if op is Add and alpha == 1:
            hidden = masked_sum(
                call, [_known(call, name) for name in ("self", "other")], lambda place: operand(call, ("self", "other")[place])
            )
            if hidden is not None:
                return hidden
        a, b = operand(call, left), operand(call, right)
        if alpha != 1:
            b = call.emit(Mul(), b, call.scalar("alpha", alpha), label="scaled")
        return call.emit(op(), a, b)


def _known(call: Call, name: str) -> Entry:
    """An operand, as an array where it is known."""
    entry = call.given(name)
    entry = entry.array if isinstance(entry, Spread) else entry
    return entry.detach().cpu().numpy() if isinstance(entry, torch.Tensor) and entry.dtype in _STORED else entry


_STORED = (torch.float32, torch.float64)


@handler("aten.floor_divide", "div", "round")
def floor_divide(call: Call) -> Value:
    """`floor(a / b)`."""
    return _floor_divided(call)


def _floor_divided(call: Call) -> Value:
    return call.emit(Round("floor"), call.emit(Div(), operand(call, "self"), operand(call, "other"), label="quotient"))


def _remainder(operator: str, floor: bool) -> None:
    @handler(f"aten.{operator}", "mul", "round", "sub", "remainder", *(() if floor else ("relu",)))
    def modulo(call: Call) -> Value:
        """By a known divisor; by one that changes with the input, on the host."""
        x, entry = operand(call, "self"), call.given("other")
        if isinstance(entry, Value):
            return call.emit(Remainder(not floor), x, operand(call, "other"))
        if not isinstance(entry, torch.Tensor | int | float):
            raise RefusalError("its divisor is a size that is known only at run time")
        return remainder(call, x, torch.as_tensor(entry).double().cpu().numpy(), floor)


_remainder("fmod", False)
_remainder("remainder", True)


_binary("add", Add)
_binary("sub", Sub)
_binary("rsub", Sub, "other", "self")
_binary("mul", Mul)
_binary("div", Div)
_binary("true_divide", Div)
_binary("pow.Tensor_Tensor", Pow, "self", "exponent")
_binary("pow.Scalar", Pow, "self", "exponent")


@handler("aten._neg_view", "mul")
@handler("aten.neg", "mul")
def neg(call: Call) -> Value:
    """`-x`."""
    return call.emit(Mul(), call.value("self"), call.scalar("minus", -1.0))


@handler("aten.square", "mul")
def square(call: Call) -> Value:
    """`x x`."""
    return call.emit(Mul(), call.value("self"), call.value("self"))


@handler("aten.pow.Tensor_Scalar", "pow", "mul")
def power(call: Call) -> Value:
    """`x^y`; a square is a product."""
    exponent = call.number("exponent")
    if exponent == 1:
        return call.value("self")
    if exponent == 2:
        return call.emit(Mul(), call.value("self"), call.value("self"))
    return call.emit(Pow(), call.value("self"), call.scalar("exponent", exponent))


@handler("aten.addcmul", "mul", "add")
def addcmul(call: Call) -> Value:
    """`x + value a b`."""
    product = call.emit(Mul(), operand(call, "tensor1"), operand(call, "tensor2"), label="product")
    factor = call.number("value", 1.0)
    if factor != 1:
        product = call.emit(Mul(), product, call.scalar("value", factor), label="scaled")
    return call.emit(Add(), operand(call, "self"), product)


@handler("aten.lerp", "mul", "add", "sub")
def lerp(call: Call) -> Value:
    """`x + weight (end - x)`."""
    x, weight = operand(call, "self"), operand(call, "weight")
    step = call.emit(Mul(), call.emit(Sub(), operand(call, "end"), x, label="way"), weight, label="step")
    return call.emit(Add(), x, step)


def _function(operator: str, op: Op) -> None:
    @handler(f"aten.{operator}", op.name)
    def function(call: Call) -> Value:
        return call.emit(op, call.value("self"))


for _name, _op in (
    ("abs", Abs()),
    ("sqrt", Sqrt()),
    ("log", Log()),
    ("reciprocal", Reciprocal()),
    ("sin", Sin()),
    ("cos", Cos()),
):
    _function(_name, _op)


@handler("aten.rsqrt", "sqrt", "reciprocal")
def rsqrt(call: Call) -> Value:
    """`1 / sqrt(x)`."""
    return call.emit(Reciprocal(), call.emit(Sqrt(), call.value("self"), label="root"))


@handler("aten.log1p", "log", "add")
def log1p(call: Call) -> Value:
    """`log(1 + x)`."""
    return call.emit(Log(), call.emit(Add(), call.value("self"), call.scalar("one", 1.0), label="more"))


def _logarithm(operator: str, base: float) -> None:
    @handler(f"aten.{operator}", "log", "mul")
    def logarithm(call: Call) -> Value:
        return call.emit(Mul(), call.emit(Log(), call.value("self"), label="log"), call.scalar("base", 1 / math.log(base)))


_logarithm("log2", 2.0)
_logarithm("log10", 10.0)


def _along(operators: tuple[str, ...], make: Callable[[int], Op]) -> None:
    def along(call: Call) -> Value:
        x = call.value("self")
        return call.emit(make(call.axis(call.integer("dim"), x.type.rank)), x)

    for operator in operators:
        handler(f"aten.{operator}", make(0).name)(along)


_along(("softmax", "_softmax"), Softmax)
_along(("log_softmax", "_log_softmax"), LogSoftmax)
