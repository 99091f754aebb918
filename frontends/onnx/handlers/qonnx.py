"""QONNX: Quant, BipolarQuant and Trunc (Pappalardo et al., arXiv:2206.07527), as Brevitas and qonnx write them."""

from __future__ import annotations

import math

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.quantizers import known_number, quantize
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Value
from snnir.ir.op import Trait
from snnir.ir.ops import Add, AveragePool, FakeQuantize, Mul, Pad
from snnir.ir.rounding_modes import round_by

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
    return _only(array)


def _only(array: np.ndarray) -> float:
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
        raise RefusalError(
            f"rounding_mode {call.word('rounding_mode', 'ROUND')!r} beside a zero point that is not 0 (supported there are "
            "ROUND, FLOOR and CEIL); quantize symmetrically"
        )
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


def _unit(value: Value) -> float | None:
    """What all elements of a value are whole multiples of: levels, moved, averaged, scaled; None where nothing says so."""
    node = value.producer
    if node is None:
        return None
    op = node.op
    if isinstance(op, FakeQuantize):
        return op.quantization.scale
    (unit, *others) = {_unit(operand) for operand in node.operands if not operand.is_constant} or {None}
    if unit is None or others:
        return None
    if isinstance(op, AveragePool) and (op.count_padding or not any(op.padding)) and not op.ceil:
        return unit / math.prod(op.kernel)
    if isinstance(op, Mul) and node.operands[1].is_constant and node.operands[1].array.size == 1:
        return unit * abs(_only(node.operands[1].array))
    moved = (op.has(Trait.SELECTS) or isinstance(op, Add)) and not any(operand.is_constant for operand in node.operands)
    return unit if moved and not isinstance(op, Pad) else None


def _whole(value: Value, scale: float) -> bool:
    """Whether the value is known to be whole multiples of `scale`, which the file rounds to float32."""
    unit = _unit(value)
    ratio = 0.0 if unit is None else unit / scale
    return round(ratio) >= 1 and abs(ratio - round(ratio)) <= 1e-6 * ratio


@handler("Trunc", "fake_quantize", "mul", domains=_DOMAINS, quantizing=True)
def trunc(call: Call) -> list[Result]:
    """Levels of `scale` without their last bits: version 1 (x, scale, zero, bits, bits left) keeps their real values, version 2
    (x, scale, zero, bits, scale of the result, bits left) gives the result a scale of its own. What is no multiple of `scale`
    is rounded to one first, halves to the even one.
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
        whole = np.rint(operand.astype(np.float64) / scale)
        integers = np.clip(round_by(rounding, whole / factor), *bounds)
        return [np.asarray(integers * target)]
    none, x = np.zeros((), np.int64), call.value(0)
    if not _whole(x, scale):
        most = 1 << int(_number(call, 3, "its bit width"))
        x = quantize(call, x, np.array(scale), none, (-most, most), stores=False, label="whole")
    levels = quantize(call, x, np.array(coarse), none, bounds, rounding, stores=False)
    if target == coarse:
        return [levels]
    return [call.emit(Mul(), levels, call.constant(f"{call.name()}.rescale", np.array(target / coarse)), label="rescale")]
