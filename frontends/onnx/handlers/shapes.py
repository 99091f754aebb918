"""Operators that vanish: constants, identities, and the shapes of values."""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.fold import shape_array
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir.dims import product

__all__: list[str] = []


@handler("Constant")
def constant(call: Call) -> list[Result]:
    """Every kind of attribute but sparse tensors and strings."""
    for name, dtype in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        value = call.attribute(name)
        if value is not None:
            return [np.array(value, dtype)]
    value = call.attribute("value")
    if not isinstance(value, np.ndarray):
        raise RefusalError("only tensors and numbers are supported")
    return [value]


@handler("Identity")
def identity(call: Call) -> list[Result]:
    """The operand itself."""
    return [call.value(0)]


@handler("Dropout")
def dropout(call: Call) -> list[Result]:
    """Nothing, in inference, or where its ratio is 0; the mask is then true everywhere."""
    x = call.value(0)
    ratio = float(call.known(1, "the ratio").reshape(-1)[0]) if call.has(1) else call.number("ratio", 0.5)
    if call.has(2) and bool(call.known(2, "training_mode").reshape(-1)[0]) and ratio != 0:
        raise RefusalError(
            f"it is in training mode with a ratio of {ratio:g}: it drops at random, by a generator that ONNX leaves open; "
            "export the model in evaluation mode"
        )
    if not call.wants(1):
        return [x]
    return [x, np.ones(call.static(x.type.shape, "the mask, which is true everywhere,"), np.bool_)]


@handler("Shape")
def shape(call: Call) -> list[Result]:
    """Known up to named sizes."""
    return [shape_array(call.type(0).shape[call.integer("start", 0) : call.given_integer("end")])]


@handler("Size")
def size(call: Call) -> list[Result]:
    """Known up to named sizes."""
    return [shape_array((product(call.type(0).shape),)).reshape(())]
