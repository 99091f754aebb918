"""Operators that stay on the host: signal processing before a network, and what closes a model."""

from __future__ import annotations

import re

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Op
from snnir.ir.dims import dim, product
from snnir.ir.ops import Abs, ArgMax, Cos, Log, LogSoftmax, Mul, Pow, Range, Reciprocal, Reshape, Sin, Softmax, Sqrt
from snnir.ir.types import DTYPES

__all__: list[str] = []


def _normalised(operator: str, op: type[Softmax] | type[LogSoftmax]) -> None:
    @handler(operator, op.name)
    def softmax(call: Call) -> list[Result]:
        x = call.value(0)
        rank = x.type.rank
        axis = call.axis(call.integer("axis", -1 if call.opset >= 13 else 1), rank)
        if call.opset >= 13 or axis == rank - 1:
            return [call.emit(op(axis), x)]
        # before opset 13 all axes from `axis` on are normalised together
        flat = call.emit(Reshape((*x.type.shape[:axis], product(x.type.shape[axis:]))), x, label="flat")
        return [call.emit(Reshape(x.type.shape), call.emit(op(axis), flat, label="flat.normalised"))]


_normalised("Softmax", Softmax)
_normalised("LogSoftmax", LogSoftmax)


def _function(operator: str, op: type[Op]) -> None:
    @handler(operator, op.name)
    def function(call: Call) -> list[Result]:
        return [call.emit(op(), call.value(0))]


_function("Sqrt", Sqrt)
_function("Log", Log)
_function("Abs", Abs)
_function("Reciprocal", Reciprocal)
_function("Sin", Sin)
_function("Cos", Cos)


@handler("Pow", "pow", "mul")
def power(call: Call) -> list[Result]:
    """The square is a product, which spikes compute; other powers are the host's."""
    x, exponent = call.value(0), call.operands[1]
    if isinstance(exponent, np.ndarray) and (exponent.astype(np.float64) == 2).all() and exponent.size == 1:
        return [call.emit(Mul(), x, x)]
    real = exponent.astype(DTYPES[x.type.dtype]) if isinstance(exponent, np.ndarray) else None
    operand = call.value(1) if real is None else call.constant(f"{call.name()}.exponent", real)
    return [call.emit(Pow(), x, operand)]


@handler("Range", "range")
def counted(call: Call) -> list[Result]:
    """Bounds that change with the input: on the host, and without neurons, because the data says how many numbers there are."""
    values = [call.value(index) for index in range(3)]
    return [call.emit(Range(dim(re.sub(r"\W", "_", f"range_{call.name()}"))), *values)]


@handler("ArgMax", "argmax")
def argmax(call: Call) -> list[Result]:
    """The index of the largest element."""
    x = call.value(0)
    axis = call.axis(call.integer("axis", 0), x.type.rank)
    if not x.type.is_real:
        raise RefusalError(f"argmax of {x.type.dtype}; only real numbers are supported")
    op: Op = ArgMax(axis, bool(call.integer("keepdims", 1)), bool(call.integer("select_last_index", 0)))
    return [call.emit(op, x)]
