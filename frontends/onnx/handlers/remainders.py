"""Products over axes, remainders, tangents, and what is known from a shape or a type alone."""

from __future__ import annotations

import numpy as np
import onnx

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import real, reduced
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir.lowering.functions import remainder as lowered
from snnir.ir.lowering.products import product_over, running_product
from snnir.ir.ops import Tan
from snnir.ir.types import DTYPES

__all__: list[str] = []


@handler("ReduceProd", "mul", "slice", "reshape")
def product(call: Call) -> list[Result]:
    """Over axes of known length, pair by pair."""
    x, axes = real(call, 0), reduced(call)
    if axes is None:
        return [x]
    return [product_over(call, x, axes, bool(call.integer("keepdims", 1)))]


@handler("CumProd", "mul", "slice", "concat")
def cumprod(call: Call) -> list[Result]:
    """Along a known axis of known length, factor by factor."""
    x = real(call, 0)
    axis = call.axis(call.known_integers(1, "the axis")[0], x.type.rank)
    exclusive, backward = bool(call.integer("exclusive", 0)), bool(call.integer("reverse", 0))
    return [running_product(call, x, axis, exclusive, backward)]


@handler("Mod", "mul", "round", "sub", "relu")
def remainder(call: Call) -> list[Result]:
    """By a known divisor: `x - c * trunc(x / c)`, with the sign of the dividend (fmod); integers are refused."""
    x = real(call, 0)
    divisor = call.known(1, "the divisor").astype(np.float64)
    if not call.integer("fmod", 0):
        raise RefusalError("it divides whole numbers (fmod=0); only real numbers are imported")
    return [lowered(call, x, divisor)]


@handler("Tan", "tan")
def tangent(call: Call) -> list[Result]:
    """On the host: it jumps at its poles."""
    return [call.emit(Tan(), real(call, 0))]


@handler("EyeLike")
def unit_matrix(call: Call) -> list[Result]:
    """Ones on a diagonal, known from the shape."""
    rows, columns = call.static(call.type(0).shape, "a unit matrix")
    kind = call.attribute("dtype")
    dtype = np.float32 if kind is None else onnx.helper.tensor_dtype_to_np_dtype(int(str(kind)))
    return [np.eye(rows, columns, call.integer("k", 0)).astype(np.float32 if dtype == np.float16 else dtype)]


@handler("CastLike")
def cast_like(call: Call) -> list[Result]:
    """To the type of a real value: nothing."""
    x, like = call.operands[:2]
    if (
        not _is_real(call, 0)
        or not _is_real(call, 1)
        or (isinstance(like, np.ndarray) and call.node.input[1] in call.scope.narrow)
    ):
        raise RefusalError("only casts between real types are supported; integers and floats of 8 bits and fewer are none")
    return [x.astype(DTYPES[call.type(1).dtype]) if isinstance(x, np.ndarray) else call.value(0)]


def _is_real(call: Call, index: int) -> bool:
    operand = call.operands[index]
    return operand.dtype.kind == "f" if isinstance(operand, np.ndarray) else call.type(index).is_real
