"""Quantizers of the model itself: torch.ao's fake quantization, and what `snnir.frontends.torch.quantized` writes."""

from __future__ import annotations

from snnir.frontends.torch.call import Call
from snnir.frontends.torch.registry import RefusalError, handler
from snnir.ir import Quantization, Value
from snnir.ir.ops import FakeQuantize

__all__: list[str] = []


@handler("aten.fake_quantize_per_tensor_affine", "fake_quantize")
@handler("snnir.fake_quantize", "fake_quantize")
def fake_quantize(call: Call) -> Value:
    """`scale (clip(round(x / scale) + zero) - zero)`, halves to the even level, by a constant scale and zero point."""
    x, scale, zero = call.value("self"), call.number("scale"), call.integer("zero_point")
    low, high = call.integer("quant_min") - zero, call.integer("quant_max") - zero
    if not scale > 0:
        raise RefusalError(f"its scale is {scale}; scales must be positive")
    if not low <= 0 <= high:
        raise RefusalError(f"its zero point {zero} is outside of {low + zero}..{high + zero}")
    return call.emit(FakeQuantize(Quantization(scale, low, high), "even", x.producer is None, zero), x)
