"""Bodies of integer ops: exact, at the width of the element type. Where standard operators lack a type it goes through i64."""

from __future__ import annotations

import numpy as np

from snnir.ir import Op
from snnir.ir.ops import (
    IntBitLength,
    IntCumulate,
    IntFloorDiv,
    IntNeg,
    IntPow,
    IntReduce,
    IntRemainder,
    IntShiftLeft,
    IntShiftRight,
    IntSqrt,
    IntTable,
)
from snnir.views.onnx_functions.body import BOOL, F64, I64, Body, Term, writes

__all__: list[str] = []

_SAME = {
    "int_abs": "Abs", "int_add": "Add", "int_div": "Div", "int_equal": "Equal", "int_greater": "Greater", "int_least": "Min",
    "int_mod": "Mod", "int_most": "Max", "int_mul": "Mul", "int_sign": "Sign", "int_sub": "Sub", "int_where": "Where",
}  # fmt: skip
"""Ops that are one standard operator."""


@writes(*_SAME)
def _same(body: Body, op: Op, *operands: Term) -> Term:
    compares = bool(getattr(op, "compares", False))
    return body.apply(_SAME[op.name], *operands, dtype=BOOL if compares else operands[-1].dtype)


@writes("int_and", "int_or", "int_xor", "int_not")
def _bits(body: Body, op: Op, *operands: Term) -> Term:
    operator = op.name.removeprefix("int_").capitalize()
    return body.apply(operator if operands[0].dtype == BOOL else f"Bitwise{operator}", *operands)


@writes("int_neg")
def _neg(body: Body, op: IntNeg, x: Term) -> Term:
    return body.like(0, x.dtype) - x if x.dtype.kind == "u" else -x


@writes("int_remainder")
def _remainder(body: Body, op: IntRemainder, x: Term, y: Term) -> Term:
    return x.do("Mod", y, fmod=1)


@writes("int_floor_div")
def _floor_div(body: Body, op: IntFloorDiv, x: Term, y: Term) -> Term:
    """One less than the truncated quotient where there is a rest and the signs differ; `x - rest` may leave the type."""
    y = y.equal(0).where(body.like(1, y.dtype), y)
    below = ~x.do("Mod", y).equal(0) & (x < 0).do("Xor", y < 0)
    return x / y - below.cast(x.dtype)


@writes("int_pow")
def _pow(body: Body, op: IntPow, x: Term, y: Term) -> Term:
    """Negative powers of 1 and -1 count by their parity, those of other numbers are 0."""
    kind = x.dtype
    x, y = x.cast(I64), y.cast(I64)
    if kind.kind == "u":
        return x.do("Pow", y).cast(kind)
    negative, unit = y < 0, x.do("Abs").equal(1)
    power = x.do("Pow", negative.where(y.do("Mod", 2), y))
    return (negative & ~unit).where(body.like(0, I64), power).cast(kind)


def _powers(body: Body, y: Term, most: int) -> Term:
    """2^y with y held in 0..most, i64."""
    return body.constant(np.left_shift(np.int64(1), np.arange(most + 1))).do("Gather", y.do("Max", 0).do("Min", most))


@writes("int_shift_left")
def _shift_left(body: Body, op: IntShiftLeft, x: Term, y: Term) -> Term:
    width = 8 * x.dtype.itemsize
    kind, y = x.dtype, _shift(y)
    out = (y < 0) | (y >= width)
    return out.where(body.like(0, I64), x.cast(I64) * _powers(body, y, 63)).cast(kind)


@writes("int_shift_right")
def _shift_right(body: Body, op: IntShiftRight, x: Term, y: Term) -> Term:
    """Floor division by a power of two; of shifts that are too wide only the sign is left."""
    kind, width, y = x.dtype, 8 * x.dtype.itemsize, _shift(y)
    out = (y < 0) | (y >= width)
    if kind.kind == "u":
        wide = np.dtype(np.uint64)
        held = out.where(body.like(0, I64), y).cast(wide)
        return out.where(body.like(0, wide), x.cast(wide).do("BitShift", held, direction="RIGHT")).cast(kind)
    x = x.cast(I64)
    sign = (x < 0).where(body.like(-1, I64), 0)
    return (out | (y >= 63)).where(sign, x.floor_div(_powers(body, y, 62))).cast(kind)


def _shift(y: Term) -> Term:
    """How far to shift, i64; what is wider than that stays too far."""
    return y.do("Min", 64).cast(I64) if y.dtype == np.uint64 else y.cast(I64)


@writes("int_sqrt")
def _sqrt(body: Body, op: IntSqrt, x: Term) -> Term:
    """The estimate of float64, which has 53 bits, may be off by one."""
    largest = 3037000499  # the root of the largest int64
    x = x.do("Max", 0)
    root = x.cast(F64).do("Sqrt").do("Floor").cast(I64).do("Min", largest)
    root = (root * root > x).where(root - 1, root)
    following = (root + 1).do("Min", largest)
    return (following * following <= x).where(following, root)


@writes("int_table")
def _table(body: Body, op: IntTable, x: Term, table: Term) -> Term:
    last = table.do("Shape", dtype=I64).do("Squeeze") - 1
    return table.do("Gather", x.do("Max", 0).do("Min", last))


@writes("int_bit_length")
def _bit_length(body: Body, op: IntBitLength, x: Term) -> Term:
    """How many powers of two are not above x."""
    powers = body.constant(np.left_shift(np.int64(1), np.arange(63)))
    reached = x.unsqueezed(-1) >= powers
    return reached.cast(I64).reduced("ReduceSum", [-1], keep=False)


_REDUCE: dict[str, str] = {"sum": "ReduceSum", "prod": "ReduceProd", "max": "ReduceMax", "min": "ReduceMin"}


def _through(x: Term) -> Term:
    """`x` as i64, which keeps the lowest bits of sums and products; u64 as it is."""
    return x if x.dtype == np.uint64 else x.cast(I64)


@writes("int_reduce")
def _reduce(body: Body, op: IntReduce, x: Term) -> Term:
    return _through(x).reduced(_REDUCE[op.function], op.axes, op.keep).cast(x.dtype)


@writes("int_cumulate")
def _cumulate(body: Body, op: IntCumulate, x: Term) -> Term:
    wide = _through(x)
    if op.function == "sum":
        at = body.constant(np.array(op.axis, np.int64))
        return wide.do("CumSum", at, exclusive=int(op.exclusive), reverse=int(op.reverse)).cast(x.dtype)
    return _running_product(body, op, wide).cast(x.dtype)


def _running_product(body: Body, op: IntCumulate, x: Term) -> Term:
    """For every place along the axis the product of those that count for it; opset 21 has no `CumProd`."""
    rank = body.node.operands[0].type.rank
    count = x.size(op.axis).do("Squeeze")
    own = body.apply("Range", body.like(0, I64), count, body.like(1, I64))
    place, other = (own.unsqueezed(*range(1, 1 + rank - op.axis - shift)) for shift in (0, 1))
    place, other = (other, place) if op.reverse else (place, other)
    counts = other < place if op.exclusive else other <= place
    factors = counts.where(x.unsqueezed(op.axis), 1)
    return factors.reduced("ReduceProd", [op.axis + 1], keep=False)
