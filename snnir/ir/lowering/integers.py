"""Compositions of exact integer arithmetic, which only the host computes."""

from __future__ import annotations

from snnir.ir.graph import Value
from snnir.ir.lowering.builder import Builder
from snnir.ir.ops import ArgMax, Cast, IntDiv, IntEqual, IntGreater, IntMod, IntNot, IntRemainder, IntSub

__all__ = ["compared", "floor_divided", "least_place"]


def compared(call: Builder, relation: str, a: Value, b: Value) -> Value:
    """Whether `a` and `b`, integers of one type (or truth, for eq and ne), stand in the relation eq, ne, gt, ge, lt or le."""
    turned, negated = relation in ("lt", "ge"), relation in ("ne", "ge", "le")
    op = IntEqual() if relation in ("eq", "ne") else IntGreater()
    result = call.emit(op, *((b, a) if turned else (a, b)), label="opposite" if negated else "")
    return call.emit(IntNot(), result) if negated else result


def floor_divided(call: Builder, a: Value, b: Value) -> Value:
    """`floor(a / b)`: the quotient, less 1 where the remainders with the signs of `a` and of `b` differ. Nothing overflows."""
    down, up = call.emit(IntMod(), a, b, label="modulo"), call.emit(IntRemainder(), a, b, label="remainder")
    differ = call.emit(IntNot(), call.emit(IntEqual(), down, up, label="alike"), label="differ")
    excess = call.emit(Cast(a.type.dtype), differ, label="excess")
    return call.emit(IntSub(), call.emit(IntDiv(), a, b, label="quotient"), excess)


def least_place(call: Builder, op: ArgMax, x: Value, label: str = "") -> Value:
    """Where the least of the integers `x` stands: their bits the other way round turn their order around."""
    return call.emit(op, call.emit(IntNot(), x, label="turned"), label=label)
