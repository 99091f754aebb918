"""Operators that ONNX Runtime writes where it saves an optimised model: several nodes in one, of its domain com.microsoft."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.registry import HANDLERS, INTEGERS, Known, RefusalError, Result, handler
from snnir.ir import Value
from snnir.ir.ops import Add, Mul, Transpose

__all__ = ["via"]

_MICROSOFT = ("com.microsoft",)
_GEMM_PARAMETERS = ("alpha", "beta", "gamma")
_PARAMETERS = {
    "Relu": (),
    "Sigmoid": (),
    "Tanh": (),
    "LeakyRelu": ("alpha",),
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "Softplus": (),
    "HardSwish": (),
}
"""Activations that are fused, and the names of their parameters in order."""


def via(call: Call, operator: str, *operands: Value | Known, label: str = "", **attributes: object) -> Value:
    """What another operator of ONNX gives, as a part of this node, or (without a `label`) as its result."""
    part_name = f"{call.name()}.{label or operator}"
    names = [operand.name if isinstance(operand, Value) else f"{part_name}.{place}" for place, operand in enumerate(operands)]
    result = f"{call.name()}.{label}" if label else call.node.output[0]
    node = onnx.helper.make_node(operator, names, [result], call.node.name or None)
    node.attribute.extend(onnx.helper.make_attribute(name, value) for name, value in attributes.items())
    part = call.scope.call(node, operands)
    part.opset, part.origin = max(call.opset, 13), call.origin
    exact = any(isinstance(operand, Value) and operand.type.is_exact for operand in operands)
    return _value((INTEGERS if exact and operator in INTEGERS else HANDLERS)[operator](part))


def _value(results: Sequence[Result]) -> Value:
    """The first of a handler's results, which changes with the input. Raises `RefusalError`."""
    if not isinstance(results[0], Value):
        raise RefusalError("a part of it is known while compiling; save the model with its constants folded")
    return results[0]


def _activated(call: Call, x: Value, parameters: list[float]) -> Value:
    activation = call.word("activation", "")
    if not activation:
        return x
    if activation == "Clip":
        return via(call, "Clip", x, *(np.array(number, np.float32) for number in parameters[:2]))
    if activation not in _PARAMETERS:
        raise RefusalError(f"its activation is {activation}; supported are Clip, {', '.join(_PARAMETERS)}")
    named: dict[str, Any] = dict(zip(_PARAMETERS[activation], parameters, strict=False))
    return via(call, activation, x, **named)


@handler("FusedConv", "conv", "add", "relu", domains=_MICROSOFT)
def fused_conv(call: Call) -> list[Result]:
    """A convolution, perhaps the sum with a fourth operand, and an activation."""
    found = _value(HANDLERS["Conv"](call))
    if call.has(3):
        found = call.emit(Add(), found, call.value(3), label="sum")
    return [_activated(call, found, [float(number) for number in call.numbers("activation_params")])]


@handler("FusedGemm", "linear", "matmul", "relu", domains=_MICROSOFT)
def fused_gemm(call: Call) -> list[Result]:
    """A Gemm and an activation."""
    found = _value(HANDLERS["Gemm"](call))
    names = [f"activation_{name}" for name in _GEMM_PARAMETERS]
    given = [call.number(name, 0.0) for name in names if call.attribute(name) is not None]
    return [_activated(call, found, given)]


@handler("FusedMatMul", "matmul", "transpose", "mul", domains=_MICROSOFT)
def fused_matmul(call: Call) -> list[Result]:
    """`alpha A B`, either of them perhaps transposed."""
    if call.integer("transBatchA", 0) or call.integer("transBatchB", 0):
        raise RefusalError("it moves axes of the batch (transBatchA, transBatchB); save the model with less optimisation")
    sides: list[Value | Known] = []
    for index, name in enumerate(("A", "B")):
        side = call.either(index)
        rank = side.type.rank if isinstance(side, Value) else side.ndim
        if call.integer(f"trans{name}", 0) and rank > 1:
            order = (*range(rank - 2), rank - 1, rank - 2)
            side = call.emit(Transpose(order), side, label=f"{name}.T") if isinstance(side, Value) else side.transpose(order)
        sides.append(side)
    alpha = call.number("alpha", 1.0)
    if alpha == 1:
        return [via(call, "MatMul", *sides)]
    factor = call.constant(f"{call.name()}.alpha", np.array(alpha, np.float32))
    return [call.emit(Mul(), via(call, "MatMul", *sides, label="product"), factor)]


@handler("FastGelu", "add", "mul", "gelu_gate", domains=_MICROSOFT)
def fast_gelu(call: Call) -> list[Result]:
    """Gelu by its approximation with tanh, of what it takes and perhaps a bias."""
    x = call.value(0)
    if call.has(1):
        x = call.emit(Add(), x, call.value(1), label="biased")
    return [via(call, "Gelu", x, approximate="tanh")]


@handler("BiasGelu", "add", "mul", "gelu_gate", domains=_MICROSOFT)
def bias_gelu(call: Call) -> list[Result]:
    """Gelu of a sum."""
    return [via(call, "Gelu", call.emit(Add(), call.value(0), call.value(1), label="biased"))]


@handler("QuickGelu", "mul", "sigmoid", domains=_MICROSOFT)
def quick_gelu(call: Call) -> list[Result]:
    """`x sigmoid(alpha x)`."""
    return [via(call, "Swish", call.value(0), alpha=call.number("alpha", 1.702))]


def _skipped(call: Call, bias: int) -> Value:
    total = call.emit(Add(), call.value(0), call.value(1), label="skipped")
    return call.emit(Add(), total, call.value(bias), label="biased") if call.has(bias) else total


@handler("SkipLayerNormalization", "add", "reduce_mean", "sub", "mul", "sqrt", "div", domains=_MICROSOFT)
def skip_layer_normalization(call: Call) -> list[Result]:
    """The sum of two operands, and perhaps a bias, normalised over the last axis; the sum is its fourth result."""
    total = _skipped(call, 4)
    known = [operand for operand in call.operands[2:4] if isinstance(operand, Value | np.ndarray)]
    found = via(call, "LayerNormalization", total, *known, epsilon=call.number("epsilon", 1e-12))
    return [found, found, found, total]


@handler("SkipSimplifiedLayerNormalization", "add", "reduce_mean", "mul", "sqrt", "div", domains=_MICROSOFT)
def skip_simplified_layer_normalization(call: Call) -> list[Result]:
    """The same without a mean."""
    total = _skipped(call, 3)
    scale = call.either(2)
    found = via(call, "RMSNormalization", total, scale, epsilon=call.number("epsilon", 1e-12))
    return [found, found, found, total]


@handler("SimplifiedLayerNormalization", "reduce_mean", "mul", "sqrt", "div", domains=_MICROSOFT)
def simplified_layer_normalization(call: Call) -> list[Result]:
    """Over the axes from `axis` on, without a mean."""
    scale = call.either(1)
    return [
        via(call, "RMSNormalization", call.value(0), scale, axis=call.integer("axis", -1), epsilon=call.number("epsilon", 1e-5))
    ]
