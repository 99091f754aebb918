"""Integers and truth that change with the input: exact arithmetic on the host, with PyTorch's meaning at each width."""

from __future__ import annotations

import torch

from snnir.frontends.torch.call import Call
from snnir.frontends.torch.promotion import KINDS, computed_in, whole
from snnir.frontends.torch.registry import Entry, RefusalError, integer_handler
from snnir.ir import Op, Value
from snnir.ir.lowering.integers import compared, floor_divided, least_place
from snnir.ir.ops import (
    ArgMax,
    Cast,
    IntAbs,
    IntAdd,
    IntAnd,
    IntCumulate,
    IntDiv,
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
)

__all__: list[str] = []


def _kind(call: Call) -> str:
    """What PyTorch computes in. Raises `RefusalError` for types that are not exact here."""
    dtype = computed_in(call)
    if dtype not in KINDS:
        raise RefusalError(f"it computes in {dtype}; of integers up to int64 and truth are imported")
    return KINDS[dtype]


def _operands(call: Call, *names: str) -> list[Value]:
    kind = _kind(call)
    return [whole(call, name, kind) for name in names]


def _binary(operator: str, op: Op, truth: Op | None = None, left: str = "self", right: str = "other") -> None:
    becomes = (op.name,) if truth is None else (op.name, truth.name)

    @integer_handler(f"aten.{operator}", *becomes)
    def binary(call: Call) -> Value:
        """Exact; wraps at the width of the type."""
        a, b = _operands(call, left, right)
        if a.type.dtype == "bool" and not op.truth:  # type: ignore[attr-defined]
            if truth is None:
                raise RefusalError("it computes with truth; cast it to integers")
            return call.emit(truth, a, b)
        if call.number("alpha", 1.0) != 1:
            b = call.emit(IntMul(), b, whole(call, "alpha", b.type.dtype), label="scaled")
        return call.emit(op, a, b)


_binary("add", IntAdd(), IntOr())
_binary("sub", IntSub())
_binary("rsub", IntSub(), None, "other", "self")
_binary("mul", IntMul(), IntAnd())
for _name, _op in (("and", IntAnd()), ("or", IntOr()), ("xor", IntXor())):
    _binary(f"bitwise_{_name}", _op)
    _binary(f"__{_name}__", _op)
for _name in ("maximum", "fmax", "max.other"):
    _binary(_name, IntMost(), IntOr())
for _name in ("minimum", "fmin", "min.other"):
    _binary(_name, IntLeast(), IntAnd())
_binary("remainder", IntMod())
_binary("fmod", IntRemainder())
_binary("pow.Tensor_Tensor", IntPow(), None, "self", "exponent")
_binary("pow.Tensor_Scalar", IntPow(), None, "self", "exponent")
_binary("pow.Scalar", IntPow(), None, "self", "exponent")
for _name in ("__lshift__", "bitwise_left_shift"):
    _binary(_name, IntShiftLeft())
for _name in ("__rshift__", "bitwise_right_shift"):
    _binary(_name, IntShiftRight())


@integer_handler("aten.div", "int_div", "int_mod", "int_remainder", "int_equal", "int_not", "cast", "int_sub")
@integer_handler("aten.floor_divide", "int_div", "int_mod", "int_remainder", "int_equal", "int_not", "cast", "int_sub")
def divide(call: Call) -> Value:
    """Rounded down or towards 0; a division by 0 is an error when it happens."""
    a, b = _operands(call, "self", "other")
    return call.emit(IntDiv(), a, b) if call.arguments.get("rounding_mode") == "trunc" else floor_divided(call, a, b)


def _comparison(relation: str, *becomes: str) -> None:
    @integer_handler(f"aten.{relation}", *becomes)
    def comparison(call: Call) -> Value:
        """Exact."""
        kind = _kind(call)
        kind = "u8" if kind == "bool" and relation not in ("eq", "ne") else kind
        return compared(call, relation, whole(call, "self", kind), whole(call, "other", kind))


_comparison("eq", "int_equal")
_comparison("ne", "int_equal", "int_not")
_comparison("gt", "int_greater")
_comparison("lt", "int_greater")
_comparison("ge", "int_greater", "int_not")
_comparison("le", "int_greater", "int_not")


def _logical(operator: str, op: Op) -> None:
    @integer_handler(f"aten.logical_{operator}", op.name, "cast")
    def logical(call: Call) -> Value:
        """Of integers, whether they are not 0."""
        return call.emit(op, whole(call, "self", "bool"), whole(call, "other", "bool"))


_logical("and", IntAnd())
_logical("or", IntOr())
_logical("xor", IntXor())


@integer_handler("aten.logical_not", "int_not", "cast")
def logical_not(call: Call) -> Value:
    """Of integers, whether they are 0."""
    return call.emit(IntNot(), whole(call, "self", "bool"))


def _unary(operator: str, op: Op) -> None:
    @integer_handler(f"aten.{operator}", op.name)
    def unary(call: Call) -> Value:
        """Exact; wraps at the width of the type."""
        return call.emit(op, *_operands(call, "self"))


_unary("neg", IntNeg())
_unary("abs", IntAbs())
_unary("sign", IntSign())
_unary("sgn", IntSign())
_unary("bitwise_not", IntNot())


@integer_handler("aten.square", "int_mul")
def square(call: Call) -> Value:
    """Exact; wraps at the width of the type."""
    (x,) = _operands(call, "self")
    return call.emit(IntMul(), x, x)


@integer_handler("aten.relu", "int_most")
def relu(call: Call) -> Value:
    """The greater of it and 0."""
    (x,) = _operands(call, "self")
    call.arguments = {**call.arguments, "zero": 0}
    return call.emit(IntMost(), x, whole(call, "zero", x.type.dtype))


def _clamp(operator: str) -> None:
    @integer_handler(f"aten.{operator}", "int_most", "int_least")
    def clamp(call: Call) -> Value:
        """Bounds may change with the input, or be missing; where they hold nothing, the upper one."""
        (x,) = _operands(call, "self")
        names = [name for name in ("min", "max") if call.has(name)]
        for name in names:
            bound = whole(call, name, x.type.dtype)
            x = call.emit(IntMost() if name == "min" else IntLeast(), x, bound, label="" if name == names[-1] else "from")
        return x


for _name in ("clamp", "clip", "clamp_min", "clamp_max"):
    _clamp(_name)
    _clamp(f"{_name}.Tensor")


@integer_handler("aten.where", "int_where", "cast")
def where(call: Call) -> Value:
    """By a condition that is known or changes with the input."""
    return call.emit(IntWhere(), whole(call, "condition", "bool"), *_operands(call, "self", "other"))


@integer_handler("aten.masked_fill", "int_where", "cast")
def masked_fill(call: Call) -> Value:
    """A number where the mask is true."""
    return call.emit(IntWhere(), whole(call, "mask", "bool"), *_operands(call, "value", "self"))


def _over(operator: str, function: str) -> None:
    @integer_handler(f"aten.{operator}", "int_reduce", "cast")
    def over(call: Call) -> Value:
        """Over any axes; sums and products in int64, which wraps, unless dtype says otherwise."""
        return call.emit(IntReduce(function, call.axes("dim"), call.flag("keepdim")), *_operands(call, "self"))


for _name, _function in (("sum", "sum"), ("prod", "prod"), ("amax", "max"), ("amin", "min")):
    _over(_name, _function)
for _name in ("max", "min"):
    _over(f"{_name}.default", _name)


def _running(operator: str, function: str) -> None:
    @integer_handler(f"aten.{operator}", "int_cumulate", "cast")
    def running(call: Call) -> Value:
        """In int64, which wraps, unless dtype says otherwise."""
        (x,) = _operands(call, "self")
        return call.emit(IntCumulate(function, call.axis(call.integer("dim"), x.type.rank)), x)


_running("cumsum", "sum")
_running("cumprod", "prod")


def _quantified(operator: str, function: str) -> None:
    @integer_handler(f"aten.{operator}", "cast", "int_reduce")
    def quantified(call: Call) -> Value:
        """Whether integers are not 0, over any axes."""
        truth = call.emit(Cast("u8"), whole(call, "self", "bool"), label="truth")
        found = call.emit(IntReduce(function, call.axes("dim"), call.flag("keepdim")), truth, label="found")
        return call.emit(Cast("u8" if call.node.meta["val"].dtype == torch.uint8 else "bool"), found)


_quantified("any", "max")
_quantified("all", "min")


def _extreme(operator: str, least: bool) -> None:
    function = "min" if least else "max"

    def place(call: Call, x: Value, label: str = "") -> Value:
        if not call.has("dim"):
            raise RefusalError("it goes over all elements; give it an axis")
        op = ArgMax(call.axis(call.integer("dim"), x.type.rank), call.flag("keepdim"))
        return least_place(call, op, x, label) if least else call.emit(op, x, label=label)

    @integer_handler(f"aten.arg{operator}", "argmax", *(("int_not",) if least else ()))
    def index(call: Call) -> Value:
        """Along one axis; of equal elements the first."""
        return place(call, call.value("self"))

    @integer_handler(f"aten.{operator}.dim", "int_reduce", "argmax")
    def along(call: Call) -> list[Entry]:
        """Along one axis; of equal elements the first."""
        x = call.value("self")
        axis = call.axis(call.integer("dim"), x.type.rank)
        found = call.emit(IntReduce(function, (axis,), call.flag("keepdim")), x, label="values") if call.wants(0) else None
        return [found, place(call, x, "indices") if call.wants(1) else None]


_extreme("max", False)
_extreme("min", True)
