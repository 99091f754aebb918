"""Quantizing and dequantizing while importing: what handlers of quantized operators share."""

from __future__ import annotations

import math

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.registry import Known, RefusalError
from snnir.frontends.onnx.stored import Stored, range_of
from snnir.ir import Quantization, Value
from snnir.ir.op import Trait
from snnir.ir.ops import Add, Clip, Concat, Div, FakeQuantize, LeakyRelu, Movement, Mul, Pad

__all__ = [
    "CHANNELS",
    "bounds_of",
    "dequantize",
    "known_number",
    "quantize",
    "real_of",
    "real_values_of",
    "spread",
    "stored_again",
    "stored_of",
]

CHANNELS = "channels with different zero points, of a value that changes with the input"


def spread(array: Known, shape: tuple[object, ...], axis: int, block: int = 0) -> np.ndarray:
    """A parameter per tensor, per channel along `axis`, or per block of it, so that it spreads over `shape`."""
    if array.ndim == 0 or array.size == 1:
        return array.reshape(())
    if block:
        size = shape[axis]
        if not isinstance(size, int):
            raise RefusalError("its blocks run along an axis of unknown size")
        return np.repeat(array, block, axis).take(range(size), axis)
    if array.ndim > 1:
        return array
    return array.reshape(-1, *([1] * (len(shape) - axis - 1)))


def known_number(call: Call, index: int, what: str) -> Known:
    """A scale or zero point, which must be known: one that the network computes would change with every input."""
    array = call.known(index, what)
    if array.dtype == object:
        raise RefusalError(f"{what} depends on a size that is known only at run time")
    return array


def _scalar(array: np.ndarray) -> float:
    return float(array.reshape(-1)[0])


def from_input(call: Call, value: Value) -> bool:
    """Whether the value is an input of the model, its elements perhaps moved: then the file's host quantizes it in float32."""
    while value.producer is not None and isinstance(value.producer.op, Movement):
        value = value.producer.operands[0]
    return value.producer is None and call.scope.parent is None


def _of_one(call: Call, value: Value) -> bool:
    """Whether the value is one that the file stores as integers, moved, or a function of it: then the file computes with the
    single integer in float32, and not with a sum of several.
    """
    while value.producer is not None and (value.producer.op.has(Trait.SELECTS) or isinstance(value.producer.op, LeakyRelu)):
        if not all(_of_one(call, operand) for operand in value.producer.operands[1:]):
            return False
        value = value.producer.operands[0]
    return value.producer is not None and isinstance(value.producer.op, FakeQuantize)


def quantize(
    call: Call,
    x: Value,
    scale: np.ndarray,
    zero: np.ndarray,
    bounds: tuple[int, int],
    rounding: str = "even",
    stores: bool = True,
    output: int = 0,
    label: str = "",
) -> Value:
    """Round `x` to integers: the value that stands for those the file stores or, without `stores`, for real numbers (`label`
    tells one that is on the way to the result).

    `scale` and `zero` spread over x. Raises `RefusalError` for a scale that is not positive, for a zero point out of range,
    and where zero points differ between channels of a value that changes with the input.
    """
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise RefusalError(f"its scale is {_scalar(scale)}; scales must be positive and finite")
    if np.unique(zero).size > 1:
        raise RefusalError(CHANNELS)
    offset = int(_scalar(zero))
    lo, hi = bounds[0] - offset, bounds[1] - offset
    if not lo <= 0 <= hi:
        raise RefusalError(f"its zero point {offset} is outside of {bounds[0]}..{bounds[1]}")
    single = from_input(call, x) or (stores and _of_one(call, x))
    if np.unique(scale).size == 1:
        step = _scalar(scale)
        op = FakeQuantize(Quantization(step, lo, hi), rounding, single, offset)
        real = call.emit(op, x, output=output, label="levels" if stores else label)
    else:  # each channel in units of its own scale
        factors = call.constant(f"{call.name(output)}.scales", scale.astype(np.float64))
        units = call.emit(Div(), x, factors, label="units")
        step = math.nan
        levels = call.emit(FakeQuantize(Quantization(1.0, lo, hi), rounding, single, offset), units, label="rounded")
        real = call.emit(Mul(), levels, factors, output=output, label="levels" if stores else label)
        if stores:
            return _offset(call, levels, offset, output)
    return stored_again(call, real, Stored(real, step, offset, bounds), output) if stores else real


def stored_again(call: Call, real: Value, entry: Stored, output: int = 0) -> Value:
    """The integers that a file stores for levels `real`, with the scale, zero point and bounds of `entry`."""
    assert entry.scale is not None
    divisor = call.constant(f"{call.name(output)}.scale", np.array(entry.scale))
    result = call.emit(Div(), real, divisor, output=output, label="integers" if entry.zero else "")
    result = _offset(call, result, entry.zero, output)
    call.scope.stored[result] = Stored(real, entry.scale, entry.zero, entry.bounds)
    return result


def stored_of(call: Call, value: Value) -> Stored | None:
    """What integers of a quantized model stand for, also behind data movement; None for any other value."""
    source = value
    while source not in call.scope.stored and source.producer is not None and source.producer.op.has(Trait.SELECTS):
        source = source.producer.operands[0]
    entry = call.scope.stored.get(source)
    if entry is None or entry.scale is None or entry.bounds == (0, 0):
        return None
    found = real_of(call, value, entry.scale, entry.zero)
    return None if found is None else Stored(found, entry.scale, entry.zero, entry.bounds)


def _offset(call: Call, value: Value, offset: int, output: int) -> Value:
    if not offset:
        return value
    return call.emit(Add(), value, call.constant(f"{call.name(output)}.zero", np.array(float(offset))), output=output)


def real_values_of(x: Known, scale: np.ndarray, zero: np.ndarray) -> Known:
    """`(x - zero) scale` of known integers, in float64, where the product is exact."""
    return np.asarray((x.astype(np.float64) - zero.astype(np.float64)) * scale.astype(np.float64))


def dequantize(call: Call, index: int, scale: np.ndarray, zero: np.ndarray, label: str = "") -> Value | Known:
    """The real numbers that an operand of integers stands for; `scale` and `zero` spread over it."""
    operand = call.operands[index]
    if isinstance(operand, np.ndarray):
        return real_values_of(operand, scale, zero)
    x = call.value(index)
    if scale.ndim == 0 and np.unique(zero).size == 1:
        step, offset = _scalar(scale), int(_scalar(zero))
        real = real_of(call, x, step, offset, label)
        if real is not None:
            return real
        entry = call.scope.stored.get(x)
        if entry is not None and entry.real is None:  # an input that the file gives as integers
            real = _affine(call, x, scale, zero, f"{label}.real".strip("."))
            lo, hi = entry.bounds[0] - offset, entry.bounds[1] - offset
            if lo <= 0 <= hi:
                levels = call.emit(FakeQuantize(Quantization(step, lo, hi), "even", False, offset), real, label=label)
                return levels
    return _affine(call, x, scale, zero, label)


def _affine(call: Call, x: Value, scale: np.ndarray, zero: np.ndarray, label: str) -> Value:
    base = call.name(0, label)
    if zero.any():
        x = call.emit(Add(), x, call.constant(f"{base}.zero", -zero.astype(np.float64)), label=f"{label}.shifted".strip("."))
    return call.emit(Mul(), x, call.constant(f"{base}.scale", scale.astype(np.float64)), label=label)


def real_of(call: Call, value: Value, scale: float, zero: int, label: str = "") -> Value | None:
    """What stored integers stand for, read with this scale and zero point; None where they were not made with them.

    Data movement and max pooling are done again on the real numbers, and a clip of integers becomes bounds of the levels.
    """
    stored = call.scope.stored
    entry = stored.get(value)
    if entry is not None and entry.real is not None:
        return entry.real if (entry.scale, entry.zero) == (scale, zero) and call.scope.owns(entry.real) else None
    node = value.producer
    if node is None or not call.scope.owns(value):
        return None
    if isinstance(node.op, Clip):
        return _narrowed(call, value, node.operands[0], node.op, scale, zero, label)
    if not node.op.has(Trait.SELECTS) or isinstance(node.op, Pad):
        return None
    moved = isinstance(node.op, Concat)
    operands = [
        real_of(call, operand, scale, zero, f"{label}.{n}" if moved else label) for n, operand in enumerate(node.operands)
    ]
    if any(operand is None for operand in operands):
        return None
    given = [operand for operand in operands if operand is not None]
    names = [f"{output.name}.real" for output in node.outputs]
    results = call.graph.add(node.op, *given, names=names, origin=node.origin)
    for output, real in zip(node.outputs, results, strict=True):
        stored[output] = Stored(real, scale, zero, (0, 0))
    return results[node.outputs.index(value)]


def _narrowed(call: Call, value: Value, source: Value, clip: Clip, scale: float, zero: int, label: str) -> Value | None:
    real = real_of(call, source, scale, zero, label)
    made = None if real is None else real.producer
    if made is None or not isinstance(made.op, FakeQuantize):
        return None
    levels = made.op.quantization
    lo = max(levels.lo, -math.inf if math.isinf(clip.low) else math.ceil(clip.low) - zero)
    hi = min(levels.hi, math.inf if math.isinf(clip.high) else math.floor(clip.high) - zero)
    if not lo <= 0 <= hi:
        return None
    op = FakeQuantize(Quantization(levels.scale, int(lo), int(hi)), made.op.rounding, made.op.single, zero)
    result = call.graph.add1(op, made.operands[0], name=f"{value.name}.levels", origin=(*made.origin, *call.origin))
    call.scope.stored[value] = Stored(result, scale, zero, (int(lo) + zero, int(hi) + zero))
    return result


def bounds_of(array: Known | None, default: tuple[int, int] = (0, 255)) -> tuple[int, int]:
    """The integers of a zero point's element type; uint8 where there is none."""
    if array is None:
        return default
    bounds = range_of(array.dtype)
    if bounds is None:
        raise RefusalError(f"it quantizes to {array.dtype.name}; integers of 2 to 16 bits are supported")
    return bounds
