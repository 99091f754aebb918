"""Operators that vanish: constants, identities, casts between real types, and the shapes of values."""

from __future__ import annotations

import numpy as np
import onnx

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.fold import shape_array
from snnir.frontends.onnx.handlers.comparisons import nonzero
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir.dims import product
from snnir.ir.ops import Reshape

__all__: list[str] = []

_WHOLE = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)


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
        raise RefusalError(f"it is in training mode with a ratio of {ratio:g}; export the model in evaluation mode")
    if not call.wants(1):
        return [x]
    return [x, np.ones(call.static(x.type.shape, "the mask, which is true everywhere,"), np.bool_)]


@handler("Cast")
def cast(call: Call) -> list[Result]:
    """Between real types: nothing, since real numbers keep the type they are computed in. So of whole numbers and of truth."""
    target = call.integer("to", onnx.TensorProto.FLOAT)
    real = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    x, scope = call.value(0), call.scope
    if target in _WHOLE and (scope.holds_whole(x) or x.type.dtype == "i64"):
        return [x]
    if target in _WHOLE and scope.holds_truth(x):
        whole = call.emit(Reshape(x.type.shape), x)
        scope.whole.add(whole)
        return [whole]
    if target == onnx.TensorProto.BOOL and x.type.is_real:
        return [x if scope.holds_truth(x) else nonzero(call, x)]
    if target == onnx.TensorProto.STRING and x.type.dtype == "i64":
        raise RefusalError("it writes numbers as strings; leave the labels as numbers")
    if target not in real or not call.type(0).is_real:
        kind = onnx.TensorProto.DataType.Name(target)
        raise RefusalError(f"it casts {call.type(0).dtype} to {kind}; only casts between real types are supported")
    return [call.value(0)]


@handler("Shape")
def shape(call: Call) -> list[Result]:
    """Known up to named sizes."""
    sizes = call.type(0).shape
    start, end = call.integer("start", 0), call.attribute("end")
    return [shape_array(sizes[start : None if end is None else int(str(end))])]


@handler("Size")
def size(call: Call) -> list[Result]:
    """Known up to named sizes."""
    return [shape_array((product(call.type(0).shape),)).reshape(())]
