"""Functions of one value that are made of several ops."""

from __future__ import annotations

import numpy as np

from snnir.ir.graph import Value
from snnir.ir.lowering.builder import Builder, RefusalError
from snnir.ir.lowering.compose import along_axis, minus, plus, static, times
from snnir.ir.ops import Add, Asin, Elementwise, Exp, Mul, Relu, Round, Softplus, Sub, Tanh

__all__ = ["arc_cosine", "gated", "hyperbolic_cosine", "mish", "remainder", "running_sum", "triangle", "truncated"]


def gated(call: Builder, x: Value, gate: Elementwise) -> Value:
    """`x gate(x)`: a product of two spiking values."""
    return call.emit(Mul(), x, call.emit(gate, x, label="gate"))


def mish(call: Builder, x: Value) -> Value:
    """`x tanh(softplus(x))` (arXiv:1908.08681)."""
    return call.emit(Mul(), x, call.emit(Tanh(), call.emit(Softplus(), x, label="softplus"), label="gate"))


def arc_cosine(call: Builder, x: Value) -> Value:
    """`pi / 2 - asin(x)`."""
    return plus(call, minus(call, call.emit(Asin(), x, label="asin"), "negated"), np.pi / 2)


def hyperbolic_cosine(call: Builder, x: Value) -> Value:
    """`(exp(x) + exp(-x)) / 2`."""
    down = call.emit(Exp(), minus(call, x, "negated"), label="down")
    return times(call, call.emit(Add(), call.emit(Exp(), x, label="up"), down, label="both"), 0.5)


def running_sum(call: Builder, x: Value, axis: int, exclusive: bool = False, reverse: bool = False) -> Value:
    """The sum of all elements up to each one along an axis of known length: a triangular matrix."""
    (size,) = static((x.type.shape[axis],), "a running sum")
    matrix = np.tril(np.ones((size, size)), -1 if exclusive else 0)
    return along_axis(call, x, axis, matrix.T if reverse else matrix)


def triangle(call: Builder, x: Value, diagonal: int, upper: bool) -> Value:
    """The upper or the lower triangle of the last two axes, the rest 0."""
    ones = np.ones(static(x.type.shape[-2:], "a triangle"))
    return times(call, x, np.triu(ones, diagonal) if upper else np.tril(ones, diagonal))


def truncated(call: Builder, x: Value, label: str = "") -> Value:
    """`x` towards zero: `floor(relu(x)) - floor(relu(-x))`."""
    down = call.emit(Round("floor"), call.emit(Relu(), x, label="positive"), label="positive.whole")
    negated = call.emit(Relu(), minus(call, x, "negated"), label="negative")
    up = call.emit(Round("floor"), negated, label="negative.whole")
    return call.emit(Sub(), down, up, label=label)


def remainder(call: Builder, x: Value, divisor: np.ndarray, floor: bool = False) -> Value:
    """`x - divisor trunc(x / divisor)`, with the sign of `x`; with `floor` rounded down, with the sign of the divisor.

    Raises `RefusalError` where the divisor holds a 0.
    """
    if not divisor.all():
        raise RefusalError("it divides by 0")
    quotient = times(call, x, 1 / divisor, "quotient")
    whole = call.emit(Round("floor"), quotient, label="whole") if floor else truncated(call, quotient, "whole")
    return call.emit(Sub(), x, times(call, whole, divisor, "multiple"))
