"""Choices between values: the larger or the smaller one, one by a known mask, one by the sign of another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snnir.ir.graph import Value
from snnir.ir.lowering.builder import Builder, RefusalError
from snnir.ir.lowering.compose import constant, largest, largest_over, minus, plus, times
from snnir.ir.ops import Add, Clip, LeakyRelu, Mul, Relu, Step, Sub
from snnir.ir.ops.rules import broadcast

__all__ = ["above", "bounded", "chosen", "exclusive", "extreme", "extreme_over", "nonzero", "opposite", "selected", "sloped"]


def bounded(call: Builder, x: Value, bound: np.ndarray, sign: int, label: str = "") -> Value:
    """`max(x, bound)`, for `sign` -1 `min(x, bound)`: a clip, or a shifted ReLU where the bounds differ."""
    if bound.size == 1 and bound.ndim <= x.type.rank:
        limit = float(bound.reshape(-1)[0])
        return call.emit(Clip(low=limit) if sign > 0 else Clip(high=limit), x, label=label)
    if not np.isfinite(bound).all():
        raise RefusalError("its bounds hold infinities that differ from element to element")
    broadcast(x.type.shape, bound.shape)
    part = f"{label}." if label else ""
    above = plus(call, times(call, x, float(sign), f"{part}signed"), -sign * bound, f"{part}above")
    excess = call.emit(Relu(), above, label=f"{part}excess")
    return plus(call, times(call, excess, float(sign), f"{part}kept"), bound, label)


def extreme(call: Builder, operands: Sequence[Value | np.ndarray], sign: int) -> Value:
    """The largest of several values (for `sign` -1 the smallest, `-max(-x)`), some of which change; known ones become bounds."""
    known = [operand for operand in operands if isinstance(operand, np.ndarray)]
    changing = [operand for operand in operands if isinstance(operand, Value)]
    alike = all(value.type.shape == changing[0].type.shape for value in changing)
    bound = (np.maximum if sign > 0 else np.minimum).reduce(np.broadcast_arrays(*known)) if known else None
    if len(changing) == 1:
        return changing[0] if bound is None else bounded(call, changing[0], bound, sign)
    if sign < 0:
        changing = [minus(call, value, f"negated{index}") for index, value in enumerate(changing)]
    last = bound is None and sign > 0
    best = largest(call, changing, "" if last and alike else "best")
    if sign < 0:
        best = minus(call, best, "" if bound is None else "least")
    return best if bound is None else bounded(call, best, bound, sign)


def extreme_over(call: Builder, x: Value, axes: Sequence[int], keep: bool, sign: int, label: str = "") -> Value:
    """The largest (for `sign` -1 the smallest) element over axes of known length: a max pool with one window."""
    if sign > 0:
        return largest_over(call, x, axes, keep, label)
    part = f"{label}." if label else ""
    return minus(call, largest_over(call, minus(call, x, f"{part}negated"), axes, keep, f"{part}largest"), label)


def chosen(call: Builder, mask: np.ndarray, operands: Sequence[Value | np.ndarray], like: Value) -> Value:
    """The first of two operands where the known mask is true, else the second: `mask a + (1 - mask) b`."""
    parts = []
    for index, (operand, part) in enumerate(zip(operands, (mask, ~mask), strict=True), 1):
        if isinstance(operand, np.ndarray):  # infinities (masks of attention) must not meet a factor of 0
            parts.append(constant(call, like, f"chosen{index}", np.where(part, operand, operand.dtype.type(0))))
        else:
            parts.append(times(call, operand, part.astype(np.float32), f"masked{index}"))
    return call.emit(Add(), *parts)


def sloped(call: Builder, x: Value, slope: np.ndarray) -> Value:
    """`x` where positive, else `slope x`: a leaky ReLU where there is one slope, else `slope x + (1 - slope) max(x, 0)`."""
    if slope.size == 1 and slope.ndim <= x.type.rank and float(slope.reshape(-1)[0]) >= 0:
        return call.emit(LeakyRelu(float(slope.reshape(-1)[0])), x)
    positive = call.emit(Relu(), x, label="positive")
    rest = times(call, positive, 1 - slope, "rest")
    return call.emit(Add(), times(call, x, slope, "scaled"), rest)


def above(call: Builder, x: Value, bound: np.ndarray | Value, label: str = "") -> Value:
    """1 where `x > bound`, else 0: a step of the difference."""
    part = f"{label}." if label else ""
    if isinstance(bound, Value):
        way = call.emit(Sub(), x, bound, label=f"{part}way")
    else:
        way = x if not bound.any() else plus(call, x, -bound, f"{part}way")
    return call.emit(Step(), way, label=label)


def opposite(call: Builder, mask: Value, label: str = "") -> Value:
    """`1 - mask`."""
    return plus(call, minus(call, mask, f"{label}.negated" if label else "negated"), 1.0, label)


def nonzero(call: Builder, x: Value, label: str = "") -> Value:
    """1 where elements differ from 0, else 0: a step on either side."""
    above, below = call.emit(Step(), x, label="above"), call.emit(Step(), minus(call, x, "negated"), label="below")
    return call.emit(Add(), above, below, label=label)


def exclusive(call: Builder, a: Value, b: Value) -> Value:
    """1 where one of two masks is, and not both, else 0: steps of their sum."""
    both = call.emit(Add(), a, b, label="both")
    counts = (
        call.emit(Step(), plus(call, both, -least, name), label=f"{name}.holds")
        for least, name in ((0.5, "either"), (1.5, "together"))
    )
    return call.emit(Sub(), *counts)


def selected(call: Builder, mask: Value, yes: Value, no: Value) -> Value:
    """`yes` where the mask is 1, `no` where it is 0: products of spiking values, `mask yes + (1 - mask) no`."""
    rest = opposite(call, mask, "opposite")
    parts = [call.emit(Mul(), side, value, label=label) for side, value, label in ((mask, yes, "yes"), (rest, no, "no"))]
    return call.emit(Add(), *parts)
