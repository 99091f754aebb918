"""Casts: nothing between real types, exact on the host to integers and from them, and to floating point of few bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx

from snnir.frontends.onnx.batch import REAL
from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.element_types import FLOAT4E2M1, FLOAT8E8M0
from snnir.frontends.onnx.handlers.comparisons import nonzero
from snnir.frontends.onnx.model import FEW_BITS
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Op, Value
from snnir.ir.ops import BitCast, Cast, Narrow, Reshape
from snnir.ir.types import DTYPES, dtype_of

__all__ = ["NARROW", "integer_cast"]

_TYPE = onnx.TensorProto
_WHOLE = (_TYPE.INT64, _TYPE.INT32)
NARROW: dict[int, Narrow] = {
    _TYPE.FLOAT8E4M3FN: Narrow(3, 7, 448.0),
    _TYPE.FLOAT8E4M3FNUZ: Narrow(3, 8, 240.0),
    _TYPE.FLOAT8E5M2: Narrow(2, 15, 57344.0, infinite=True),
    _TYPE.FLOAT8E5M2FNUZ: Narrow(2, 16, 57344.0),
    FLOAT8E8M0: Narrow(0, 127, 2.0**127, rounding="up"),
    FLOAT4E2M1: Narrow(1, 1, 6.0, nan=False),
}
"""Floating-point formats of few bits (ONNX, `Float stored in 8 bits` and `4 bit types`)."""


def integer_cast(target: int) -> Cast | None:
    """The cast to an integer type or to truth; None for all other types."""
    if target in REAL or target in NARROW or target == _TYPE.STRING:
        return None
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(target)
    except KeyError:
        return None
    if dtype.name in FEW_BITS:
        return Cast("u8" if dtype.name[0] == "u" else "i8", int(dtype.name.lstrip("uint")))
    return Cast(dtype_of(np.empty(0, dtype))) if dtype.kind in "iub" else None


@handler("Cast", "cast", "narrow", "reshape")
def cast(call: Call) -> list[Result]:
    """Nothing between float16, bfloat16, float32 and float64, since real numbers keep the type they are computed in. To
    integers and from them, and to floating point of 8 and 4 bits, on the host.
    """
    return [_cast(call, call.value(0), call.integer("to", _TYPE.FLOAT))]


def _cast(call: Call, x: Value, target: int) -> Value:
    scope, name = call.scope, _TYPE.DataType.Name(target)
    op = integer_cast(target)
    if target == _TYPE.STRING:
        raise RefusalError("it writes numbers as strings; leave the labels as numbers")
    if x.type.is_real and op is not None:
        if target in _WHOLE and scope.holds_whole(x):
            return x
        if target in _WHOLE and scope.holds_truth(x):
            whole = call.emit(Reshape(x.type.shape), x)
            scope.whole.add(whole)
            return whole
        if op.to == "bool":
            return x if scope.holds_truth(x) else nonzero(call, x)
    if op is not None:
        return x if op == Cast(x.type.dtype) else call.emit(op, x)
    if target not in REAL:
        raise RefusalError(f"it casts {x.type.dtype} to {name}, which is no type of numbers")
    narrow = _narrow(call, target)
    if x.type.is_exact:
        flags = x.type.dtype == "bool"
        x = call.emit(Cast("f64" if target == _TYPE.DOUBLE else "f32"), x, label="" if narrow is None else "real")
        if flags:
            scope.flags.add(x)
    return x if narrow is None else call.emit(narrow, x)


def _narrow(call: Call, target: int) -> Op | None:
    if target not in NARROW:
        return None
    op = NARROW[target]
    if op.mantissa == 0:
        op = replace(op, rounding=call.word("round_mode", "up"))
    return replace(op, saturate=bool(call.integer("saturate", 1)))


@handler("CastLike", "cast", "narrow", "reshape")
def cast_like(call: Call) -> list[Result]:
    """As Cast; known real numbers stay known."""
    like = call.operands[1]
    target = call.scope.narrow.get(call.node.input[1])
    if target is None and isinstance(like, np.ndarray):
        target = onnx.helper.np_dtype_to_tensor_dtype(like.dtype)
    if target is None:
        target = onnx.helper.np_dtype_to_tensor_dtype(DTYPES[call.type(1).dtype])
    x = call.operands[0]
    if isinstance(x, np.ndarray) and x.dtype.kind == "f" and target in REAL:
        return [x]  # known numbers stay known, minus infinity of a mask among them
    return [_cast(call, call.value(0), int(target))]


@handler("BitCast", "bit_cast")
def bit_cast(call: Call) -> list[Result]:
    """Between types of 8 to 64 bits but float16 and bfloat16, which are computed in more; on the host."""
    target = call.integer("to", _TYPE.FLOAT)
    kept: dict[int, str] = {_TYPE.FLOAT: "f32", _TYPE.DOUBLE: "f64"}
    op = integer_cast(target)
    to = kept.get(target) if op is None or op.bits else op.to
    source, x = call.scope.narrow.get(call.node.input[0]), call.value(0)
    truth = x.type.dtype == "bool" or call.scope.holds_truth(x)
    if truth and to in ("i8", "u8", "bool"):
        return [_cast(call, x, target)]
    if to == "bool" and x.type.dtype in ("i8", "u8"):
        return [_cast(call, x, target)]
    if to is None or to == "bool" or truth or call.scope.exact or source in (_TYPE.FLOAT16, _TYPE.BFLOAT16, *NARROW):
        raise RefusalError(
            f"it reads the bits of {call.type(0).dtype} as {_TYPE.DataType.Name(target)}; not both are stored as such"
        )
    return [call.emit(BitCast(to), x)]
