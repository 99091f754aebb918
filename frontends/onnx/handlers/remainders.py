"""Products over axes, remainders, tangents, and what is known from a shape or a type alone."""

from __future__ import annotations

import numpy as np
import onnx

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import real, reduced
from snnir.frontends.onnx.model import usual
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Value
from snnir.ir.lowering.functions import remainder as lowered
from snnir.ir.lowering.products import product_over, running_product
from snnir.ir.ops import Remainder, Tan
from snnir.ir.types import DTYPES

__all__: list[str] = []


@handler("ReduceProd", "mul", "slice", "reshape")
def product(call: Call) -> list[Result]:
    """Over axes of known length, pair by pair."""
    x, axes = real(call, 0), reduced(call)
    if axes is None:
        return [x]
    if 0 in x.type.shape:  # a product of nothing is 1
        sizes = [1 if axis in axes else size for axis, size in enumerate(x.type.shape)]
        rest = tuple(size for axis, size in enumerate(sizes) if call.integer("keepdims", 1) or axis not in axes)
        return [np.ones(call.static(rest, "a product"), DTYPES[x.type.dtype])]
    return [product_over(call, x, axes, bool(call.integer("keepdims", 1)))]


@handler("CumProd", "mul", "slice", "concat")
def cumprod(call: Call) -> list[Result]:
    """Along a known axis of known length, factor by factor."""
    x = real(call, 0)
    axis = call.axis(call.known_integers(1, "the axis")[0], x.type.rank)
    exclusive, backward = bool(call.integer("exclusive", 0)), bool(call.integer("reverse", 0))
    return [running_product(call, x, axis, exclusive, backward)]


@handler("Mod", "mul", "round", "sub", "relu", "remainder")
def remainder(call: Call) -> list[Result]:
    """By a known divisor: `x - c * trunc(x / c)` with the sign of the dividend (fmod), else `x - c * floor(x / c)`. By one that
    changes with the input: on the host.
    """
    x = real(call, 0)
    fmod = bool(call.integer("fmod", 0))
    if not fmod and call.scope.holds_whole(x):
        raise RefusalError("it divides whole numbers that are read as real ones; cast them to an integer type")
    if isinstance(call.operands[1], Value):
        return [call.emit(Remainder(fmod), x, real(call, 1))]
    divisor = call.known(1, "the divisor").astype(np.float64)
    if not np.isfinite(divisor).all() or not divisor.all():
        raise RefusalError("its divisor holds NaN or infinite values, or 0; the remainder is no number there")
    return [lowered(call, x, divisor, floor=not fmod)]


@handler("Tan", "tan")
def tangent(call: Call) -> list[Result]:
    """On the host: it jumps at its poles."""
    return [call.emit(Tan(), real(call, 0))]


@handler("EyeLike")
def unit_matrix(call: Call) -> list[Result]:
    """Ones on a diagonal, known from the shape."""
    rows, columns = call.static(call.type(0).shape, "a unit matrix")
    kind = call.given_integer("dtype")
    dtype = DTYPES[call.type(0).dtype] if kind is None else onnx.helper.tensor_dtype_to_np_dtype(kind)
    return [usual(np.eye(rows, columns, call.integer("k", 0)).astype(dtype))]
