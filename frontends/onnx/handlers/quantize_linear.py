"""QuantizeLinear and DequantizeLinear, as quantizers write them around every op."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import real
from snnir.frontends.onnx.handlers.casts import NARROW
from snnir.frontends.onnx.quantizers import CHANNELS, bounds_of, dequantize, known_number, quantize, spread
from snnir.frontends.onnx.registry import Known, RefusalError, Result, handler
from snnir.frontends.onnx.requantize import REMEDY
from snnir.frontends.onnx.stored import range_of
from snnir.ir import Value
from snnir.ir.dims import product
from snnir.ir.ops import Cast, Div, DynamicStore, Narrow, Store
from snnir.ir.types import DTYPES

__all__: list[str] = []

_MICROSOFT = ("com.microsoft",)
DYNAMIC = (
    f"it finds the scale of a value anew for every input, so that no threshold is fixed: {REMEDY}, quantize the float model "
    "statically (what onnxruntime.quantization.quantize_static leaves real, snnir calibrates), or compile the float "
    "model itself"
)
FLOATING = "its operand is quantized to floating point; integers of 2 to 16 bits are supported"


def _parameters(call: Call, rank: int, shape: tuple[object, ...]) -> tuple[np.ndarray, np.ndarray, Known | None]:
    """Scale and zero point, spread over the operand, and the zero point as the file has it."""
    block = call.integer("block_size", 0)
    scale = known_number(call, 1, "its scale")
    axis = call.axis(call.integer("axis", 1), rank) if scale.size > 1 else 0
    zero = known_number(call, 2, "its zero point") if call.has(2) else None
    if scale.dtype.kind != "f":
        raise RefusalError(f"its scale is of type {scale.dtype}; expected real numbers")
    shift = np.zeros((), np.int64) if zero is None else zero.astype(np.int64)
    return spread(scale, shape, axis, block), spread(shift, shape, axis, block), zero


@handler("QuantizeLinear", "fake_quantize", "store", "narrow", domains=_MICROSOFT, quantizing=True)
def quantize_linear(call: Call) -> list[Result]:
    """`saturate(round(x / scale) + zero)`, to the nearest, halves to the even one; in float32 where x is known. On the host to
    floating point of 8 and 4 bits, with zero points that differ from channel to channel, and by a scale of the whole tensor
    that changes with the input.
    """
    operand = call.operands[0]
    if any(isinstance(call.operands[index], Value) for index in (1, 2) if call.has(index)):
        return [_stored_by_changing(call)]
    shape = operand.shape if isinstance(operand, np.ndarray) else call.type(0).shape
    scale, shift, zero = _parameters(call, len(shape), shape)
    declared = call.integer("output_dtype", 0)
    target = call.scope.narrow.get(call.node.input[2], declared) if call.has(2) else declared
    narrow = NARROW.get(target)
    if narrow is not None and narrow.mantissa and not isinstance(operand, np.ndarray):
        return [_narrowed(call, narrow, scale, shift)]
    if zero is None and declared:
        kind = onnx.helper.tensor_dtype_to_np_dtype(declared)
        zero = np.zeros((), kind)
    dtype = np.dtype(np.uint8) if zero is None else zero.dtype
    bounds = bounds_of(zero)
    if isinstance(operand, np.ndarray):
        ratio = operand.astype(np.float32) / scale.astype(np.float32)
        return [np.clip(np.rint(ratio).astype(np.float64) + shift, *bounds).astype(np.int64).astype(dtype)]
    if np.unique(shift).size > 1:
        return [_stored_by_channels(call, scale, shift, bounds)]
    return [quantize(call, call.value(0), scale, shift, bounds)]


def _narrowed(call: Call, narrow: Narrow, scale: np.ndarray, zero: np.ndarray) -> Value:
    """To floating point of few bits: the quotient in float32, then the nearest number of the format."""
    if zero.any():
        raise RefusalError("its zero point is a number of floating point other than 0")
    narrow = replace(narrow, saturate=bool(call.integer("saturate", 1)))
    factors = call.constant(f"{call.name()}.scale", scale.astype(np.float64))
    ratio = call.emit(Div(), real(call, 0), factors, label="quotient")
    return _of_host(call, call.emit(narrow, call.emit(Cast("f32"), ratio, label="ratio")), FLOATING)


def _stored_by_channels(call: Call, scale: np.ndarray, zero: np.ndarray, bounds: tuple[int, int]) -> Value:
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise RefusalError("a scale is not positive and finite")
    factors = call.constant(f"{call.name()}.scale", scale.astype(np.float32))
    zeros = call.constant(f"{call.name()}.zero", zero.astype(np.int64))
    return _of_host(call, call.emit(Store(_kind(bounds), *bounds), real(call, 0), factors, zeros), CHANNELS)


def _kind(bounds: tuple[int, int]) -> str:
    """The element type that the host keeps such integers in: 8 bits for those of fewer."""
    for kind in ("u8", "i8", "u16", "i16"):
        if np.iinfo(DTYPES[kind]).min <= bounds[0] and bounds[1] <= np.iinfo(DTYPES[kind]).max:
            return kind
    raise RefusalError(f"it quantizes to integers of {bounds[0]}..{bounds[1]}; those of 2 to 16 bits are supported")


def _stored_by_changing(call: Call) -> Value:
    """By a scale of the whole tensor that the model computes, and perhaps a zero point."""
    x, scale = real(call, 0), real(call, 1)
    declared = call.integer("output_dtype", 0) or onnx.TensorProto.UINT8
    known = call.operands[2] if call.has(2) else np.zeros((), onnx.helper.tensor_dtype_to_np_dtype(declared))
    if isinstance(known, np.ndarray):
        zero, bounds = call.array("zero", known.astype(np.int64)), range_of(known.dtype)
    else:
        zero = call.value(2)
        entry = call.scope.stored.get(zero)
        bounds = range_of(DTYPES[zero.type.dtype]) if entry is None else entry.bounds
        zero = call.emit(Cast("i64"), zero, label="zero") if zero.type.is_real else zero
    if bounds is None or product(scale.type.shape) != 1 or product(zero.type.shape) != 1:
        raise RefusalError("its scale changes with the input; it must be constant, or one for the whole tensor, to integers")
    return _of_host(call, call.emit(Store(_kind(bounds), *bounds), x, scale, zero), DYNAMIC)


def _of_host(call: Call, value: Value, reason: str) -> Value:
    call.scope.host_stored[value] = reason
    return value


@handler("DequantizeLinear", "mul", "add", domains=_MICROSOFT, quantizing=True)
def dequantize_linear(call: Call) -> list[Result]:
    """`(x - zero) scale`; known integers become float64, where the product is exact."""
    operand = call.operands[0]
    if isinstance(operand, np.ndarray) and range_of(operand.dtype) is None:
        raise RefusalError(f"it takes {operand.dtype.name}; integers of 2 to 32 bits are supported")
    shape = operand.shape if isinstance(operand, np.ndarray) else call.type(0).shape
    scale, shift, _ = _parameters(call, len(shape), shape)
    return [dequantize(call, 0, scale, shift)]


@handler("DynamicQuantizeLinear", "dynamic_store", quantizing=True)
def dynamic_quantize_linear(call: Call) -> list[Result]:
    """On the host, of a model without a batch: the scale is that of the whole tensor, and no sample may depend on another."""
    x = real(call, 0)
    if x.type.batch_axis is not None:
        raise RefusalError(DYNAMIC)
    results = call.emit_all(DynamicStore(), x, names=[call.name(index) for index in range(3)])
    call.scope.host_stored[results[0]] = DYNAMIC
    return list(results)


def _dynamic(operator: str) -> None:
    @handler(operator, domains=_MICROSOFT, quantizing=True)
    def refuse(call: Call) -> list[Result]:
        raise RefusalError(DYNAMIC)


for _operator in ("DynamicQuantizeLSTM", "DynamicQuantizeMatMul"):
    _dynamic(_operator)
