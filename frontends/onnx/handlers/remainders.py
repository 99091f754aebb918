"""Products over axes, remainders, tangents, and what is known from a shape or a type alone."""

from __future__ import annotations

import numpy as np
import onnx

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import constant, minus, real, reduced, reshaped, times
from snnir.frontends.onnx.model import usual
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Value
from snnir.ir.ops import Add, Concat, Mul, Relu, Round, Slice, Sub, Tan
from snnir.ir.types import DTYPES

__all__: list[str] = []

LONGEST = 64
"""Products of more factors are refused: each pair of them is one population."""


def _factors(call: Call, x: Value, axis: int) -> list[Value]:
    (size,) = call.static((x.type.shape[axis],), "a product")
    if not 0 < size <= LONGEST:
        raise RefusalError(f"it multiplies {size} elements; supported are 1 to {LONGEST}")
    return [call.emit(Slice(axis, index, index + 1), x, label=f"axis{axis}.{index}") for index in range(size)]


@handler("ReduceProd", "mul", "slice", "reshape")
def product_over(call: Call) -> list[Result]:
    """Over axes of known length, pair by pair."""
    x, axes = real(call, 0), reduced(call)
    if axes is None:
        return [x]
    if 0 in x.type.shape:  # a product of nothing is 1
        sizes = [1 if axis in axes else size for axis, size in enumerate(x.type.shape)]
        rest = tuple(size for axis, size in enumerate(sizes) if call.integer("keepdims", 1) or axis not in axes)
        return [np.ones(call.static(rest, "a product"), DTYPES[x.type.dtype])]
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.type.shape))
    kept = shape if call.integer("keepdims", 1) else tuple(size for axis, size in enumerate(shape) if axis not in axes)
    for axis in axes:
        parts = _factors(call, x, axis)
        while len(parts) > 1:
            pairs = [
                call.emit(Mul(), *pair, label=f"axis{axis}.of{len(parts)}.{index}")
                for index, pair in enumerate(zip(parts[::2], parts[1::2], strict=False))
            ]
            parts = pairs + parts[2 * len(pairs) :]
        x = parts[0]
    return [reshaped(call, x, kept)]


@handler("CumProd", "mul", "slice", "concat")
def running_product(call: Call) -> list[Result]:
    """Along a known axis of known length, factor by factor."""
    x = real(call, 0)
    axis = call.axis(call.known_integers(1, "the axis")[0], x.type.rank)
    parts = _factors(call, x, axis)
    backward, exclusive = bool(call.integer("reverse", 0)), bool(call.integer("exclusive", 0))
    parts = parts[::-1] if backward else parts
    running = [parts[0]]
    for index, part in enumerate(parts[1 : len(parts) - 1 if exclusive else None], 1):
        running.append(call.emit(Mul(), running[-1], part, label=f"product{index}"))
    if exclusive:
        one = [times(call, parts[0], 0.0, "nothing")]
        one = [call.emit(Add(), one[0], constant(call, x, "one", 1.0), label="one")]
        running = one + running[: len(parts) - 1]
    return [call.emit(Concat(axis), *(running[::-1] if backward else running))]


@handler("Mod", "mul", "round", "sub", "relu")
def remainder(call: Call) -> list[Result]:
    """By a known divisor: `x - c * trunc(x / c)` with the sign of the dividend (fmod), else `x - c * floor(x / c)`."""
    x = real(call, 0)
    divisor = call.known(1, "the divisor").astype(np.float64)
    if not np.isfinite(divisor).all() or not divisor.all():
        raise RefusalError("its divisor holds NaN or infinite values, or 0; the remainder is no number there")
    quotient = times(call, x, 1 / divisor, "quotient")
    if not call.integer("fmod", 0):
        if call.scope.holds_whole(x):
            raise RefusalError("it divides whole numbers that are read as real ones; cast them to an integer type")
        multiple = times(call, call.emit(Round("floor"), quotient, label="floored"), divisor, "multiple")
        return [call.emit(Sub(), x, multiple)]
    down = call.emit(Round("floor"), call.emit(Relu(), quotient, label="positive"), label="positive.whole")
    negated = call.emit(Relu(), minus(call, quotient, "negated"), label="negative")
    up = call.emit(Round("floor"), negated, label="negative.whole")
    whole = times(call, call.emit(Sub(), down, up, label="whole"), divisor, "multiple")
    return [call.emit(Sub(), x, whole)]


@handler("Tan", "tan")
def tangent(call: Call) -> list[Result]:
    """On the host: it jumps at its poles."""
    return [call.emit(Tan(), real(call, 0))]


@handler("EyeLike")
def unit_matrix(call: Call) -> list[Result]:
    """Ones on a diagonal, known from the shape."""
    rows, columns = call.static(call.type(0).shape, "a unit matrix")
    kind = call.attribute("dtype")
    dtype = DTYPES[call.type(0).dtype] if kind is None else onnx.helper.tensor_dtype_to_np_dtype(int(str(kind)))
    return [usual(np.eye(rows, columns, call.integer("k", 0)).astype(dtype))]
