"""QuantizeLinear and DequantizeLinear, as quantizers write them around every op."""

from __future__ import annotations

import numpy as np
import onnx

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.quantizers import bounds_of, dequantize, known_number, quantize, spread
from snnir.frontends.onnx.registry import Known, RefusalError, Result, handler
from snnir.frontends.onnx.stored import range_of

__all__: list[str] = []

_MICROSOFT = ("com.microsoft",)


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


@handler("QuantizeLinear", "fake_quantize", domains=_MICROSOFT, quantizing=True)
def quantize_linear(call: Call) -> list[Result]:
    """`saturate(round(x / scale) + zero)`, to the nearest, halves to the even one; in float32 where x is known."""
    operand = call.operands[0]
    shape = operand.shape if isinstance(operand, np.ndarray) else call.type(0).shape
    scale, shift, zero = _parameters(call, len(shape), shape)
    declared = call.integer("output_dtype", 0)
    if zero is None and declared:
        kind = onnx.helper.tensor_dtype_to_np_dtype(declared)
        zero = np.zeros((), kind)
    dtype = np.dtype(np.uint8) if zero is None else zero.dtype
    bounds = bounds_of(zero)
    if isinstance(operand, np.ndarray):
        ratio = operand.astype(np.float32) / scale.astype(np.float32)
        return [np.clip(np.rint(ratio).astype(np.float64) + shift, *bounds).astype(np.int64).astype(dtype)]
    return [quantize(call, call.value(0), scale, shift, bounds)]


@handler("DequantizeLinear", "mul", "add", domains=_MICROSOFT, quantizing=True)
def dequantize_linear(call: Call) -> list[Result]:
    """`(x - zero) scale`; known integers become float64, where the product is exact."""
    operand = call.operands[0]
    if isinstance(operand, np.ndarray) and range_of(operand.dtype) is None:
        raise RefusalError(f"it takes {operand.dtype.name}; integers of 2 to 32 bits are supported")
    shape = operand.shape if isinstance(operand, np.ndarray) else call.type(0).shape
    scale, shift, _ = _parameters(call, len(shape), shape)
    return [dequantize(call, 0, scale, shift)]


def _dynamic(operator: str, domains: tuple[str, ...] = ()) -> None:
    @handler(operator, domains=domains, quantizing=True)
    def refuse(call: Call) -> list[Result]:
        raise RefusalError(
            "it finds the scale of a value anew for every input, so that no threshold is fixed; quantize the float model "
            "statically (what onnxruntime.quantization.quantize_static leaves real, snnir calibrates), or compile the float "
            "model itself"
        )


_dynamic("DynamicQuantizeLinear")
for _operator in ("DynamicQuantizeLSTM", "DynamicQuantizeMatMul"):
    _dynamic(_operator, _MICROSOFT)
