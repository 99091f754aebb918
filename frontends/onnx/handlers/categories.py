"""Operators of ai.onnx.ml that prepare features: categories as vectors, and values that stand for missing ones."""

from __future__ import annotations

import math

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import constant, plus, real, reshaped
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Value
from snnir.ir.lowering.choose import selected
from snnir.ir.ops import Expand, Step, Sub

__all__: list[str] = []


def _equal(call: Call, x: Value, number: np.ndarray, label: str = "") -> Value:
    """1 where `x` is the number, else 0: `step(x - c >= 0) - step(x - c > 0)`."""
    away = plus(call, x, -number, "away")
    parts = (call.emit(Step(zero), away, label="not_less" if zero else "greater") for zero in (True, False))
    return call.emit(Sub(), *parts, label=label)


@handler("OneHotEncoder", "step", "add", "sub", "reshape", "expand")
def one_hot_encoder(call: Call) -> list[Result]:
    """Categories that are numbers; of others the vector is zero, so `zeros` must not be 0."""
    categories = call.integers("cats_int64s", ())
    if not categories:
        raise RefusalError("its categories are words; only numbers are imported. Encode them before the model")
    if not call.integer("zeros", 1):
        raise RefusalError("it fails for unknown categories (zeros=0); export it with zeros=1, which gives a vector of zeros")
    x = real(call, 0)
    column = reshaped(call, x, (*x.type.shape, 1), "column")
    copies = call.emit(Expand((*x.type.shape, len(categories))), column, label="copies")
    result = _equal(call, copies, np.array(categories, np.float64))
    call.scope.flags.add(result)
    return [result]


@handler("Imputer", "step", "add", "sub", "mul")
def imputer(call: Call) -> list[Result]:
    """A finite value that stands for missing ones is replaced. NaN, which is no input of a network: nothing."""
    x = real(call, 0)
    missing = call.number("replaced_value_float", 0.0)
    if math.isnan(missing):
        return [x]
    values = np.array(call.numbers("imputed_value_floats"))
    if not values.size:
        raise RefusalError("it imputes integers (imputed_value_int64s); only real numbers are imported")
    found = _equal(call, x, np.array(missing), "missing")
    return [selected(call, found, constant(call, x, "imputed", np.broadcast_to(values, (1, values.size))), x)]
