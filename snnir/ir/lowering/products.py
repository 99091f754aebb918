"""Products of the elements of an axis, pair by pair: each pair of changing values is one population."""

from __future__ import annotations

from collections.abc import Sequence

from snnir.ir.graph import Value
from snnir.ir.lowering.builder import Builder, RefusalError
from snnir.ir.lowering.compose import constant, reshaped, static, times
from snnir.ir.ops import Add, Concat, Mul, Slice

__all__ = ["LONGEST", "product_over", "running_product"]

LONGEST = 64
"""Products of more factors are refused."""


def _factors(call: Builder, x: Value, axis: int) -> list[Value]:
    (size,) = static((x.type.shape[axis],), "a product")
    if not 0 < size <= LONGEST:
        raise RefusalError(f"it multiplies {size} elements; supported are 1 to {LONGEST}")
    return [call.emit(Slice(axis, index, index + 1), x, label=f"axis{axis}.{index}") for index in range(size)]


def product_over(call: Builder, x: Value, axes: Sequence[int], keep: bool) -> Value:
    """The product over axes of known length."""
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.type.shape))
    kept = shape if keep else tuple(size for axis, size in enumerate(shape) if axis not in axes)
    for axis in axes:
        parts = _factors(call, x, axis)
        while len(parts) > 1:
            pairs = [
                call.emit(Mul(), *pair, label=f"axis{axis}.of{len(parts)}.{index}")
                for index, pair in enumerate(zip(parts[::2], parts[1::2], strict=False))
            ]
            parts = pairs + parts[2 * len(pairs) :]
        x = parts[0]
    return reshaped(call, x, kept)


def running_product(call: Builder, x: Value, axis: int, exclusive: bool = False, reverse: bool = False) -> Value:
    """The product of all elements up to each one along an axis of known length, factor by factor."""
    parts = _factors(call, x, axis)
    parts = parts[::-1] if reverse else parts
    running = [parts[0]]
    for index, part in enumerate(parts[1 : len(parts) - 1 if exclusive else None], 1):
        running.append(call.emit(Mul(), running[-1], part, label=f"product{index}"))
    if exclusive:
        one = times(call, parts[0], 0.0, "nothing")
        running = [call.emit(Add(), one, constant(call, x, "one", 1.0), label="one"), *running[: len(parts) - 1]]
    return call.emit(Concat(axis), *(running[::-1] if reverse else running))
