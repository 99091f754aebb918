"""Bodies of casts between element types, and to formats of few bits."""

from __future__ import annotations

import math

import numpy as np

from snnir.ir.ops import Cast, Narrow
from snnir.ir.types import DTYPES
from snnir.views.onnx_functions.body import BOOL, F64, I64, Body, Term, writes

__all__: list[str] = []


@writes("cast")
def _cast(body: Body, op: Cast, x: Term) -> Term:
    """Real numbers become i64 first, so that of what is beyond a narrower type the lowest bits are left."""
    kind = DTYPES[op.to]
    if kind.kind == "b":
        return x.cast(BOOL)
    if x.dtype.kind == "f" and kind.kind in "iu":
        x = x.cast(I64)
    x = x.cast(kind)
    if not op.bits:
        return x
    wide = x.cast(I64) if kind != np.uint64 else x
    if op.bits == 64:
        return wide
    half = (1 << op.bits - 1) if kind.kind == "i" else 0
    return (wide + half).do("Mod", 1 << op.bits) - half


@writes("narrow")
def _narrow(body: Body, op: Narrow, x: Term) -> Term:
    x = x.cast(F64)
    power = _power(x.do("Abs"))
    near = _nearest(op, x, power) if op.mantissa else _power_of_two(op, x, power)
    unknown = near.do("IsNaN", dtype=BOOL)
    if not op.nan:
        near = unknown.where(body.like(-0.0, F64), near)
    if op.saturate or not op.nan:
        held = near.do("Max", -op.largest).do("Min", op.largest)
        return held if not op.nan else unknown.where(near, held)
    beyond = x.do("Sign") * math.inf if op.infinite else body.like(math.nan, F64)
    return (near.do("Abs") > op.largest).where(beyond, near)


def _power(size: Term) -> Term:
    """The exponent of the largest power of two that is not above `size`; the logarithm may be off by one."""
    body = size.body
    two = body.like(2.0, F64)
    guess = (size.do("Max", 2.0**-1074).do("Log") / math.log(2.0)).do("Floor")
    guess = (two.do("Pow", guess) > size).where(guess - 1.0, guess)
    return (two.do("Pow", guess + 1.0) <= size).where(guess + 1.0, guess)


def _nearest(op: Narrow, x: Term, power: Term) -> Term:
    """`x` in whole steps of its binade, which below the least normal number is fixed."""
    step = x.body.like(2.0, F64).do("Pow", power.do("Max", float(1 - op.bias)) - float(op.mantissa))
    return (x / step).do("Round") * step


def _power_of_two(op: Narrow, x: Term, power: Term) -> Term:
    down = x.body.like(2.0, F64).do("Pow", power)
    share = {"up": 1.0, "nearest": 1.5, "down": 2.0}[op.rounding]
    above = x > down if share == 1.0 else x >= down * share
    least = x.body.like(2.0**-op.bias, F64)
    return (x > 0.0).where(above.where(down * 2.0, down).do("Max", least), least)
