"""Integers and truth that change with the input: exact arithmetic on the host, with ONNX's meaning at each width.

A value whose element type is an integer one, or truth that integers were compared for, never enters the network: what
computes with it stands before the first neuron or behind the last one. Data movement is that of real numbers.
"""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import reduced
from snnir.frontends.onnx.handlers.pooling import window
from snnir.frontends.onnx.registry import HANDLERS, RefusalError, Result, integer_handler
from snnir.ir import Dim, Op, Value
from snnir.ir.dims import concrete
from snnir.ir.lowering.compose import static
from snnir.ir.lowering.integers import compared, least_place
from snnir.ir.lowering.masks import hides, masked
from snnir.ir.ops import (
    ArgMax,
    Cast,
    IntAbs,
    IntAdd,
    IntAnd,
    IntCumulate,
    IntDiv,
    IntEqual,
    IntGreater,
    IntLeast,
    IntMod,
    IntMost,
    IntMul,
    IntNeg,
    IntNot,
    IntOr,
    IntPow,
    IntReduce,
    IntRemainder,
    IntShiftLeft,
    IntShiftRight,
    IntSign,
    IntSub,
    IntWhere,
    IntXor,
    MaxPool,
    Pad,
    Pow,
)
from snnir.ir.ops.rules import broadcast
from snnir.ir.types import DTYPES

__all__: list[str] = []


def _kind(call: Call, *indices: int) -> str:
    """The element type of those operands that change with the input and hold no real numbers."""
    values = [call.operands[index] for index in indices or range(len(call.operands))]
    return next(value.type.dtype for value in values if isinstance(value, Value) and value.type.is_exact)


def whole(call: Call, index: int, kind: str) -> Value:
    """An operand as integers (or truth) of type `kind`. Raises `RefusalError` for real numbers."""
    operand = call.operands[index]
    if isinstance(operand, np.ndarray) and operand.dtype.kind == "b" and kind != "bool":
        raise RefusalError(f"it computes with truth and {kind} at once")
    value = call.value(index)
    if value.type.dtype == kind:
        return value
    scope = call.scope
    if value.type.is_real and (scope.holds_truth(value) if kind == "bool" else scope.holds_whole(value)):
        return call.emit(Cast(kind), value, label=f"operand{index}")
    raise RefusalError(f"it computes with {value.type.dtype} and {kind} at once; cast the one to the other")


def _pair(call: Call, *indices: int) -> list[Value]:
    kind = _kind(call, *indices)
    return [whole(call, index, kind) for index in indices]


def _binary(operator: str, op: Op, said: str) -> None:
    def binary(call: Call) -> list[Result]:
        return [call.emit(op, *_pair(call, 0, 1))]

    binary.__doc__ = said
    integer_handler(operator, op.name)(binary)


_binary("Add", IntAdd(), "Wraps at the width of the type.")
_binary("Sub", IntSub(), "Wraps at the width of the type.")


@integer_handler("Mul", "int_mul")
def multiply(call: Call) -> list[Result]:
    """Wraps at the width of the type; nothing is left of a product with 0."""
    pair = _pair(call, 0, 1)
    shape = broadcast(*(value.type.shape for value in pair))
    if any(value.is_constant and not value.array.any() for value in pair) and not any(isinstance(size, Dim) for size in shape):
        return [np.zeros([concrete(size) for size in shape], DTYPES[pair[0].type.dtype])]
    return [call.emit(IntMul(), *pair)]


_binary("Div", IntDiv(), "Truncated towards 0; a division by 0 is an error when it happens.")
_binary("Equal", IntEqual(), "Exact.")
_binary("Greater", IntGreater(), "Exact.")
_binary("And", IntAnd(), "Truth that integers were compared for.")
_binary("Or", IntOr(), "Truth that integers were compared for.")
_binary("Xor", IntXor(), "Truth that integers were compared for.")
_binary("BitwiseAnd", IntAnd(), "On the host.")
_binary("BitwiseOr", IntOr(), "On the host.")
_binary("BitwiseXor", IntXor(), "On the host.")


def _comparison(operator: str, relation: str, *becomes: str) -> None:
    @integer_handler(operator, *becomes)
    def compare(call: Call) -> list[Result]:
        """Exact."""
        return [compared(call, relation, *_pair(call, 0, 1))]


_comparison("Less", "lt", "int_greater")
_comparison("GreaterOrEqual", "ge", "int_greater", "int_not")
_comparison("LessOrEqual", "le", "int_greater", "int_not")


def _unary(operator: str, op: Op, said: str) -> None:
    def unary(call: Call) -> list[Result]:
        return [call.emit(op, call.value(0))]

    unary.__doc__ = said
    integer_handler(operator, op.name)(unary)


_unary("Neg", IntNeg(), "Wraps at the width of the type.")
_unary("Abs", IntAbs(), "Wraps at the width of the type.")
_unary("Sign", IntSign(), "Exact.")
_unary("Not", IntNot(), "Truth that integers were compared for.")
_unary("BitwiseNot", IntNot(), "On the host.")


@integer_handler("Mod", "int_mod", "int_remainder")
def modulo(call: Call) -> list[Result]:
    """With the sign of the divisor or, with fmod, of the dividend; a division by 0 is an error when it happens."""
    return [call.emit(IntRemainder() if call.integer("fmod", 0) else IntMod(), *_pair(call, 0, 1))]


@integer_handler("Pow", "int_pow", "cast", "pow")
def power(call: Call) -> list[Result]:
    """By integers exact, wrapping; by real numbers in float64, truncated. An integer exponent of a real base is cast."""
    base, exponent = call.value(0), call.value(1)
    if base.type.is_real:
        cast = call.emit(Cast(base.type.dtype), exponent, label="exponent")
        return [call.emit(Pow(), base, cast)]
    kind = base.type.dtype
    if exponent.type.is_weight:
        same = exponent if exponent.type.dtype == kind else call.emit(Cast(kind), exponent, label="exponent")
        return [call.emit(IntPow(), base, same)]
    wide = [call.emit(Cast("f64"), value, label=label) for value, label in ((base, "base"), (exponent, "exponent"))]
    return [call.emit(Cast(kind), call.emit(Pow(), *wide, label="real"))]


@integer_handler("BitShift", "int_shift_left", "int_shift_right")
def shift(call: Call) -> list[Result]:
    """On the host; of signed integers to the right with the sign. A negative shift counts as one of all bits."""
    return [call.emit(IntShiftLeft() if call.word("direction", "") == "LEFT" else IntShiftRight(), *_pair(call, 0, 1))]


def _of_values(operator: str, op: Op) -> None:
    @integer_handler(operator, op.name)
    def of_values(call: Call) -> list[Result]:
        """Of any number of values."""
        values = _pair(call, *range(len(call.operands)))
        result = values[0]
        for index, value in enumerate(values[1:], 2):
            result = call.emit(op, result, value, label="" if index == len(values) else f"of{index}")
        return [result]


_of_values("Max", IntMost())
_of_values("Min", IntLeast())


@integer_handler("Relu", "int_most")
def relu(call: Call) -> list[Result]:
    """The greater of it and 0."""
    x = call.value(0)
    return [call.emit(IntMost(), x, call.array("zero", np.zeros((), DTYPES[x.type.dtype])))]


@integer_handler("Clip", "int_most", "int_least")
def clip(call: Call) -> list[Result]:
    """Bounds may change with the input, or be missing; where they hold nothing, the upper one."""
    x = call.value(0)
    for index, op in ((1, IntMost()), (2, IntLeast())):
        if call.has(index):
            last = index == 2 or not call.has(2)
            x = call.emit(op, x, whole(call, index, x.type.dtype), label="" if last else "from")
    return [x]


@integer_handler("Where", "int_where", "cast", "masked", "int_not")
def where(call: Call) -> list[Result]:
    """Between integers; truth that integers were compared for chooses between real numbers as 1 or 0, and is a mask as it is."""
    kinds = [call.operands[index] for index in (1, 2)]
    integers = any(isinstance(value, Value) and value.type.is_exact for value in kinds)
    known = [value for value in kinds if isinstance(value, np.ndarray)]
    if not integers and (len(known) < 2 or known[0].dtype.kind == "f"):
        for index, side in enumerate(kinds):
            if isinstance(side, np.ndarray) and hides(side) and (side == -np.inf).all():
                keep = call.value(0) if index else call.emit(IntNot(), call.value(0), label="kept")
                return [masked(call, call.value(2 - index), keep)]
        call.operands[0] = call.emit(Cast("f32"), call.value(0), label="condition")
        return list(HANDLERS["Where"](call))
    values = _pair(call, 1, 2) if integers else [call.value(1), call.value(2)]
    condition = call.operands[0]
    if isinstance(condition, np.ndarray) and condition.dtype.kind == "b":
        return [call.emit(IntWhere(), call.value(0), *values)]
    return [call.emit(IntWhere(), whole(call, 0, "bool"), *values)]


@integer_handler("Trilu", "int_where")
def trilu(call: Call) -> list[Result]:
    """A known diagonal: 0 outside of the triangle."""
    x, k = call.value(0), call.known_integers(1, "the diagonal")[0] if call.has(1) else 0
    ones = np.ones(static(x.type.shape[-2:], "a triangle"), np.bool_)
    mask = np.triu(ones, k) if call.integer("upper", 1) else np.tril(ones, k)
    return [call.emit(IntWhere(), call.array("mask", mask), x, call.array("zero", np.zeros((), DTYPES[x.type.dtype])))]


@integer_handler("Pad", "int_where")
def pad(call: Call) -> list[Result]:
    """Constant mode with any known value, reflect and edge."""
    filling = call.known(2, "the padding value").reshape(-1) if call.has(2) else np.zeros(1, np.int64)
    if not filling.any() or call.word("mode", "constant") != "constant":
        return list(HANDLERS["Pad"](call))
    x, name = call.value(0), call.name()
    call.operands[2] = None
    (padded,) = HANDLERS["Pad"](call)
    if padded is x or not isinstance(padded, Value) or padded.producer is None or not isinstance(padded.producer.op, Pad):
        return [padded]
    inside = np.ones(static(x.type.shape, "padding with a value other than 0"), np.bool_)
    mask = call.array("inside", padded.producer.op.fill(inside, 0).astype(np.bool_))
    outside = call.constant(f"{name}.outside", filling[0].astype(DTYPES[x.type.dtype]))
    return [call.emit(IntWhere(), mask, padded, outside)]


@integer_handler("MaxPool", "cast", "max_pool")
def max_pool(call: Call) -> list[Result]:
    """Integers of 8 bits, in real numbers, which hold them exactly."""
    x = call.value(0)
    if call.wants(1) or DTYPES[x.type.dtype].itemsize > 1 or x.type.dtype == "bool":
        raise RefusalError(f"it pools {x.type.dtype}, or gives indices; integers of 8 bits are supported, without indices")
    pooled = call.emit(MaxPool(*window(call)), call.emit(Cast("f32"), x, label="real"), label="pooled")
    return [call.emit(Cast(x.type.dtype), pooled)]


def _over_axes(operator: str, function: str) -> None:
    @integer_handler(operator, "int_reduce")
    def over_axes(call: Call) -> list[Result]:
        """Exact; wraps at the width of the type."""
        x, axes = call.value(0), reduced(call)
        return [x if axes is None else call.emit(IntReduce(function, axes, bool(call.integer("keepdims", 1))), x)]


for _operator, _function in (("ReduceSum", "sum"), ("ReduceProd", "prod")):
    _over_axes(_operator, _function)


@integer_handler("DequantizeLinear", "cast")
def dequantize_linear(call: Call) -> list[Result]:
    """Integers that the model computes, as real numbers: the host computes them."""
    if isinstance(call.operands[0], Value):
        call.operands[0] = call.emit(Cast("f64" if call.scope.exact else "f32"), call.value(0), label="real")
    return list(HANDLERS["DequantizeLinear"](call))


def _running(operator: str, function: str) -> None:
    @integer_handler(operator, "int_cumulate")
    def running(call: Call) -> list[Result]:
        """Along a known axis; wraps at the width of the type."""
        x = call.value(0)
        axis = call.axis(call.known_integers(1, "the axis")[0], x.type.rank)
        op = IntCumulate(function, axis, bool(call.integer("reverse", 0)), bool(call.integer("exclusive", 0)))
        return [call.emit(op, x)]


_running("CumSum", "sum")
_running("CumProd", "prod")


def _place(operator: str, least: bool) -> None:
    @integer_handler(operator, "argmax", *(("int_not",) if least else ()))
    def place(call: Call) -> list[Result]:
        """Exact."""
        x = call.value(0)
        axis = call.axis(call.integer("axis", 0), x.type.rank)
        op = ArgMax(axis, bool(call.integer("keepdims", 1)), bool(call.integer("select_last_index", 0)))
        return [least_place(call, op, x) if least else call.emit(op, x)]


_place("ArgMax", False)
_place("ArgMin", True)
