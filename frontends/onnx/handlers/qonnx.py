"""QONNX: Quant, BipolarQuant and Trunc (Pappalardo et al., arXiv:2206.07527), as Brevitas and qonnx write them."""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.quantizers import known_number, quantize
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir.ops import Mul
from snnir.ir.ties import round_by

__all__: list[str] = []

_DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
_ROUNDINGS = {
    "ROUND": "even",
    "HALF_EVEN": "even",
    "CEIL": "ceil",
    "FLOOR": "floor",
    "UP": "away",
    "DOWN": "to-zero",
    "ROUND_TO_ZERO": "to-zero",
    "HALF_UP": "half-away",
    "HALF_DOWN": "half-to-zero",
}


def _rounding(call: Call, default: str) -> str:
    mode = call.word("rounding_mode", default).upper()
    if mode not in _ROUNDINGS:
        raise RefusalError(f"rounding_mode {mode!r} is unknown; supported are {', '.join(_ROUNDINGS)}")
    return _ROUNDINGS[mode]


def _number(call: Call, index: int, what: str) -> float:
    array = known_number(call, index, what)
    if array.size != 1:
        raise RefusalError(f"{what} differs between channels; one number is supported")
    return float(array.reshape(-1)[0])


def _bounds(call: Call, bits: float) -> tuple[int, int]:
    signed, narrow = bool(call.integer("signed", 1)), bool(call.integer("narrow", 0))
    if bits != int(bits) or not 1 <= bits <= 32:
        raise RefusalError(f"a bit width of {bits:g}; whole numbers from 1 to 32 are supported")
    half = 1 << (int(bits) - 1)
    return (-half + narrow, half - 1) if signed else (0, 2 * half - 1 - narrow)


@handler("Quant", "fake_quantize", domains=_DOMAINS, quantizing=True)
def quant(call: Call) -> list[Result]:
    """`(clip(round(x/scale + zero)) - zero) scale`, between real numbers."""
    rounding = _rounding(call, "ROUND")
    scale = known_number(call, 1, "its scale")
    zero = known_number(call, 2, "its zero point")
    bits = _number(call, 3, "its bit width")
    if bits == 1 and call.integer("signed", 1):  # as the qonnx package reads it
        return list(bipolar_quant(call))
    bounds = _bounds(call, bits)
    if (zero != np.rint(zero)).any():
        raise RefusalError("its zero point is not a whole number")
    operand = call.operands[0]
    if isinstance(operand, np.ndarray):
        x = operand.astype(np.float32) if operand.dtype != np.float64 else operand
        integers = np.clip(round_by(rounding, x / scale.astype(x.dtype) + zero.astype(x.dtype)), *bounds)
        return [np.asarray((integers.astype(np.float64) - zero) * scale.astype(np.float64))]
    if rounding not in ("even", "floor", "ceil") and zero.any():
        raise RefusalError(f"rounding {rounding} beside a zero point that is not 0")
    if rounding == "even" and (zero % 2).all():  # the zero point is added before rounding
        rounding = "odd"
    return [quantize(call, call.value(0), _squeezed(scale), _squeezed(zero), bounds, rounding, stores=False)]


@handler("IntQuant", "fake_quantize", domains=_DOMAINS, quantizing=True)
def int_quant(call: Call) -> list[Result]:
    """The newer name of Quant."""
    return list(quant(call))


def _squeezed(array: np.ndarray) -> np.ndarray:
    return array.reshape(()) if array.size == 1 else array


@handler("BipolarQuant", "fake_quantize", domains=_DOMAINS, quantizing=True)
def bipolar_quant(call: Call) -> list[Result]:
    """`scale` where x >= 0, else `-scale`."""
    scale = known_number(call, 1, "its scale")
    operand = call.operands[0]
    if isinstance(operand, np.ndarray):
        return [np.where(operand >= 0, 1.0, -1.0) * scale.astype(np.float64)]
    zero = np.zeros((), np.int64)
    return [quantize(call, call.value(0), _squeezed(scale), zero, (-1, 1), "bipolar", stores=False)]


@handler("Trunc", "fake_quantize", "mul", domains=_DOMAINS, quantizing=True)
def trunc(call: Call) -> list[Result]:
    """Levels of `scale` without their last bits: version 1 (x, scale, zero, bits, bits left) keeps their worth, version 2
    (x, scale, zero, bits, scale of the result, bits left) gives the result a scale of its own.
    """
    scale, zero = _number(call, 1, "its scale"), _number(call, 2, "its zero point")
    if zero:
        raise RefusalError(f"its zero point is {zero:g}; only 0 is supported")
    rounding = _rounding(call, "FLOOR")
    newer = len(call.operands) > 5
    left = _number(call, 5 if newer else 4, "its bit width")
    if newer:
        target = _number(call, 4, "the scale of its result")
        factor, bounds = 2.0 ** np.round(np.log2(target / scale)), _bounds(call, left)
    else:
        factor = 2.0 ** (_number(call, 3, "its bit width") - left)
        target, bounds = scale, (-(1 << int(left)), 1 << int(left))
    coarse = scale * factor
    operand = call.operands[0]
    if isinstance(operand, np.ndarray):
        integers = np.clip(round_by(rounding, operand.astype(np.float64) / coarse), *bounds)
        return [np.asarray(integers * target)]
    levels = quantize(call, call.value(0), np.array(coarse), np.zeros((), np.int64), bounds, rounding, stores=False)
    if target == coarse:
        return [levels]
    return [call.emit(Mul(), levels, call.constant(f"{call.name()}.worth", np.array(target / coarse)), label="worth")]
