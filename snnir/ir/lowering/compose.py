"""Compositions of ops that lowerings share: maxima of stacked values, sums over axes, linear maps along an axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snnir.ir.dims import Dim, Dimension, Shape, at_most, concrete, product
from snnir.ir.graph import Value
from snnir.ir.lowering.builder import Builder, RefusalError
from snnir.ir.ops import Add, Concat, Expand, Extend, Linear, MaxPool, Mul, Pad, Reshape, Transpose
from snnir.ir.ops.rules import broadcast
from snnir.ir.types import DTYPES, TensorType

__all__ = [
    "along_axis",
    "changes",
    "constant",
    "largest",
    "largest_over",
    "minus",
    "plus",
    "reshaped",
    "static",
    "sum_over",
    "times",
    "transposed",
]


def static(shape: Shape, what: str) -> tuple[int, ...]:
    """`shape` as plain integers. Raises `RefusalError` naming `what`."""
    if any(isinstance(size, Dim) for size in shape):
        raise RefusalError(f"{what} needs a fixed size, found {tuple(map(str, shape))}")
    return tuple(concrete(size) for size in shape)


def changes(value: Value) -> bool:
    """Whether a value depends on an input; else constants alone give it."""
    seen, rest = {value}, [value]
    while rest:
        made = rest.pop()
        if made.producer is None and not made.is_constant:
            return True
        further = set(made.producer.operands) - seen if made.producer is not None else set()
        seen |= further
        rest += further
    return False


def constant(call: Builder, like: Value, label: str, array: np.ndarray | float) -> Value:
    """A constant in the element type of `like`."""
    return call.array(label, np.asarray(array, DTYPES[like.type.dtype]))


def times(call: Builder, x: Value, factor: np.ndarray | float, label: str = "") -> Value:
    """`x * factor`."""
    return call.emit(Mul(), x, constant(call, x, f"{label or 'result'}.factor", factor), label=label)


def plus(call: Builder, x: Value, summand: np.ndarray | float, label: str = "") -> Value:
    """`x + summand`."""
    return call.emit(Add(), x, constant(call, x, f"{label or 'result'}.summand", summand), label=label)


def minus(call: Builder, x: Value, label: str = "") -> Value:
    """`-x`."""
    return times(call, x, -1.0, label)


def reshaped(call: Builder, x: Value, shape: Shape, label: str = "") -> Value:
    """`x` under another shape; `x` itself where it has that shape."""
    return x if x.type.shape == shape else call.emit(Reshape(shape), x, label=label)


def transposed(call: Builder, x: Value, perm: Sequence[int], label: str = "") -> Value:
    """`x` with its axes in the order `perm`; `x` itself where that changes nothing."""
    return x if list(perm) == list(range(x.type.rank)) else call.emit(Transpose(tuple(perm)), x, label=label)


def along_axis(call: Builder, x: Value, axis: int, matrix: np.ndarray, label: str = "") -> Value:
    """`matrix[out, in]` applied to every line of `x` along `axis`."""
    perm = [*(place for place in range(x.type.rank) if place != axis), axis]
    last = transposed(call, x, perm, f"{label or 'result'}.last")
    weight = constant(call, x, f"{label or 'result'}.matrix", matrix)
    back = [perm.index(place) for place in range(x.type.rank)]
    still = back == list(range(x.type.rank))
    mapped = call.emit(Linear(), last, weight, label=label if still else f"{label or 'result'}.mapped")
    return transposed(call, mapped, back, label)


def largest(call: Builder, values: Sequence[Value], label: str = "") -> Value:
    """The largest of several values, element by element and with broadcasting: a max pool over a stacked axis."""
    if len(values) == 1:
        return values[0]
    shape = broadcast(*(value.type.shape for value in values))
    rank, batch = len(shape), TensorType(shape, "f32").batch_axis or 0
    perm = [batch, *(axis for axis in range(rank) if axis != batch)] if rank else []
    lead, rest = (shape[batch], product(tuple(shape[axis] for axis in perm[1:]))) if rank else (1, 1)
    rows = []
    for index, value in enumerate(values):
        name = f"{label or 'result'}.{index}"
        row = reshaped(call, value, (*([1] * (rank - value.type.rank)), *value.type.shape), f"{name}.ranked")
        row = row if row.type.shape == shape else call.emit(Expand(shape), row, label=f"{name}.expanded")
        rows.append(reshaped(call, transposed(call, row, perm, f"{name}.front"), (lead, 1, 1, rest), f"{name}.row"))
    stack = call.emit(Concat(2), *rows, label=f"{label or 'result'}.stack")
    best = call.emit(MaxPool((len(rows), 1), (1, 1), (0, 0, 0, 0), (1, 1)), stack, label=f"{label or 'result'}.largest")
    in_order = perm == sorted(perm) and not label
    front = reshaped(call, best, tuple(shape[axis] for axis in perm), "" if in_order else f"{label or 'result'}.flat")
    return transposed(call, front, [perm.index(axis) for axis in range(rank)], label)


def sum_over(call: Builder, x: Value, axes: Sequence[int], keep: bool, label: str = "") -> Value:
    """The sum over `axes`, as a linear map whose weights are 1. Raises `RefusalError` for axes of unknown length."""
    lines, kept = _lines(call, _filled(call, x, axes, label, None), axes, "a sum", label)
    ones = constant(call, x, f"{label or 'result'}.ones", np.ones((1, concrete(lines.type.shape[-1]))))
    total = call.emit(Linear(), lines, ones, label=f"{label or 'result'}.sum")
    return _restored(call, x, total, axes, kept, keep, label)


def largest_over(call: Builder, x: Value, axes: Sequence[int], keep: bool, label: str = "") -> Value:
    """The largest element over `axes`, as a max pool. Raises `RefusalError` for axes of unknown length."""
    lines, kept = _lines(call, _filled(call, x, axes, label, "edge"), axes, "a maximum", label)
    lead = lines.type.shape[0] if len(kept) else 1
    count = concrete(lines.type.shape[-1])
    if not count:
        raise RefusalError("it takes the extreme of no elements")
    rows = reshaped(call, lines, (lead, 1, product(lines.type.shape[1:-1]), count), f"{label or 'result'}.rows")
    best = call.emit(MaxPool((1, count), (1, 1), (0, 0, 0, 0), (1, 1)), rows, label=f"{label or 'result'}.largest")
    return _restored(call, x, best, axes, kept, keep, label)


def _filled(call: Builder, x: Value, axes: Sequence[int], label: str, mode: str | None) -> Value:
    """`x` with open ones among `axes` filled up to their upper ends: with zeros, or (`mode` edge) with their last elements."""
    rank = x.type.rank
    amounts: list[Dimension] = [0] * (2 * rank)
    for axis in axes:
        size = x.type.shape[axis]
        most = at_most(size, call.limits)
        if isinstance(size, Dim) and most is not None:
            amounts[axis + rank] = most - size
    if not any(isinstance(amount, Dim) for amount in amounts):
        return x
    return call.emit(
        Pad(tuple(amounts)) if mode is None else Extend(tuple(amounts), mode), x, label=f"{label or 'result'}.filled"
    )


def _lines(call: Builder, x: Value, axes: Sequence[int], what: str, label: str) -> tuple[Value, list[int]]:
    """`x` as [*kept, K] with all of `axes` merged into the last one and the batch first; and which axes were kept."""
    batch = x.type.batch_axis
    kept = [axis for axis in range(x.type.rank) if axis not in axes]
    kept = sorted(kept, key=lambda axis: (axis != batch, axis))
    sizes = static(tuple(x.type.shape[axis] for axis in axes), what)
    front = transposed(call, x, [*kept, *axes], f"{label or 'result'}.kept")
    shape = (*(x.type.shape[axis] for axis in kept), int(np.prod(sizes)))
    return reshaped(call, front, shape, f"{label or 'result'}.lines"), kept


def _restored(call: Builder, x: Value, found: Value, axes: Sequence[int], kept: list[int], keep: bool, label: str) -> Value:
    """One number for each line, back in the order of the axes of `x`."""
    flat = reshaped(call, found, tuple(x.type.shape[axis] for axis in kept), f"{label or 'result'}.flat")
    ordered = transposed(call, flat, [kept.index(axis) for axis in sorted(kept)], f"{label or 'result'}.ordered")
    sizes = (1 if axis in axes else size for axis, size in enumerate(x.type.shape) if keep or axis not in axes)
    return reshaped(call, ordered, tuple(sizes), label)
