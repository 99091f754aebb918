"""Comparisons, logic and conditions: truth is 1 and falsehood 0, so all of it is sums, steps and products.

What holds truth in ONNX is a real number here, an input or output of the model too.
"""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import constant, minus, plus, real, spread_from
from snnir.frontends.onnx.fold import chosen as the_one
from snnir.frontends.onnx.handlers.finite import answered
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Value
from snnir.ir.lowering.choose import chosen, selected
from snnir.ir.lowering.choose import exclusive as lowered
from snnir.ir.lowering.choose import nonzero as differing
from snnir.ir.lowering.masks import hides, masked
from snnir.ir.ops import Add, IsInf, Step, Sub

__all__ = ["nonzero"]


def _reals(call: Call, *indices: int) -> list[Value]:
    """Operands as real numbers; known integers and truths too."""
    like = next((operand for operand in call.operands if isinstance(operand, Value) and operand.type.is_real), None)
    values = []
    for index in indices:
        operand = call.operands[index]
        if isinstance(operand, np.ndarray) and operand.dtype.kind in "iub" and like is not None:
            values.append(constant(call, like, f"operand{index}", operand))
        else:
            values.append(real(call, index))
    return values


def _flag(call: Call, value: Value) -> Value:
    call.scope.flags.add(value)
    return value


def _comparison(operator: str, turned: bool, zero: bool) -> None:
    @handler(operator, "step", "sub")
    def comparison(call: Call) -> list[Result]:
        """A step of the difference."""
        a, b = _reals(call, 0, 1)
        difference = call.emit(Sub(), *((b, a) if turned else (a, b)), label="difference")
        return [_flag(call, call.emit(Step(zero), difference))]


_comparison("Greater", False, False)
_comparison("GreaterOrEqual", False, True)
_comparison("Less", True, False)
_comparison("LessOrEqual", True, True)


@handler("Equal", "step", "sub", "mul", "is_inf", "expand")
def equal(call: Call) -> list[Result]:
    """`step(a - b >= 0) - step(a - b > 0)`; with infinity it asks what IsInf asks."""
    for known, other in ((0, 1), (1, 0)):
        operand = call.operands[known]
        if isinstance(operand, np.ndarray) and operand.dtype.kind == "f" and operand.size == 1 and np.isinf(operand).all():
            return answered(call, other, IsInf(bool((operand > 0).all()), bool((operand < 0).all())))
    a, b = _reals(call, 0, 1)
    difference = call.emit(Sub(), a, b, label="difference")
    parts = (call.emit(Step(zero), difference, label="not_less" if zero else "greater") for zero in (True, False))
    return [_flag(call, call.emit(Sub(), *parts))]


def nonzero(call: Call, x: Value, label: str = "") -> Value:
    """Whether elements differ from 0."""
    return _flag(call, differing(call, x, label))


def _truths(call: Call) -> list[Value]:
    for operand in call.operands:
        if isinstance(operand, np.ndarray) and operand.dtype.kind != "b":
            raise RefusalError(f"it needs truth values, found {operand.dtype}")
    return _reals(call, *range(len(call.operands)))


def _logic(operator: str, least: float) -> None:
    @handler(operator, "add", "step")
    def logic(call: Call) -> list[Result]:
        """Whether at least so many of two hold: a step of their sum."""
        both = call.emit(Add(), *_truths(call), label="both")
        return [_flag(call, call.emit(Step(), plus(call, both, -least, "excess")))]


_logic("And", 1.5)
_logic("Or", 0.5)


@handler("Xor", "add", "step", "sub")
def exclusive(call: Call) -> list[Result]:
    """At least one, and not both."""
    a, b = _truths(call)
    return [_flag(call, lowered(call, a, b))]


@handler("Not", "mul", "add")
def negation(call: Call) -> list[Result]:
    """`1 - x`."""
    (x,) = _truths(call)
    return [_flag(call, plus(call, minus(call, x, "negated"), 1.0))]


@handler("Where", "mul", "add", "sub", "masked")
def where(call: Call) -> list[Result]:
    """`condition a + (1 - condition) b`: masks where the condition is known, else two products of changing values.

    Minus infinity on one side is a mask of attention, which the host computes.
    """
    condition, *sides = call.operands
    known = spread_from(condition)
    if isinstance(known, np.ndarray) and known is not condition:
        call.operands[0] = condition = known.astype(bool)
        choice = the_one(call)
        if choice is not None:
            return [choice]
    for index, side in enumerate(sides):
        if isinstance(side, np.ndarray) and hides(side) and (side == -np.inf).all():
            return [_hidden(call, condition, index)]
    if isinstance(condition, np.ndarray):
        return [_known_where(call, condition)]
    holds = real(call, 0)
    a, b = _reals(call, 1, 2)
    return [selected(call, holds, a, b)]


def _hidden(call: Call, condition: object, index: int) -> Value:
    """The other side where the condition lets it through, else minus infinity (side `index`)."""
    if isinstance(condition, np.ndarray):
        if condition.dtype == object:
            raise RefusalError("its condition depends on a size that is known only at run time")
        return masked(call, call.value(2 - index), condition.astype(bool) != (index == 0))
    holds = real(call, 0)
    if index == 0:
        holds = plus(call, minus(call, holds, "negated"), 1.0, "kept")
    other = call.operands[2 - index]
    return masked(call, constant(call, holds, "other", other) if isinstance(other, np.ndarray) else call.value(2 - index), holds)


def _known_where(call: Call, condition: np.ndarray) -> Value:
    if condition.dtype == object:
        raise RefusalError("its condition depends on a size that is known only at run time")
    values = [real(call, index) for index in (1, 2)]
    operands = [known if isinstance(known, np.ndarray) else value for known, value in zip(call.operands[1:], values, strict=True)]
    return chosen(call, condition.astype(bool), operands, values[0])
