"""Bodies of functions of each element: activations, curves, what the host computes, and arithmetic of two values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from snnir.ir import Op
from snnir.ir.ops import Elu, Gated, GeluGate, IsInf, PRelu, Remainder, Shrink, Step
from snnir.ir.ops.masks import FAR
from snnir.views.onnx_functions.body import BOOL, Body, Term, writes

__all__ = ["element_function"]

_STANDARD = {
    "abs": "Abs", "add": "Add", "atan": "Atan", "asinh": "Asinh", "cos": "Cos", "div": "Div", "erf": "Erf", "exp": "Exp",
    "is_nan": "IsNaN", "log": "Log", "matmul": "MatMul", "observe": "Identity", "pow": "Pow", "product": "Mul",
    "reciprocal": "Reciprocal", "relu": "Relu", "sigmoid": "Sigmoid", "sign": "Sign", "sin": "Sin", "sinh": "Sinh",
    "softplus": "Softplus", "softsign": "Softsign", "sqrt": "Sqrt", "sub": "Sub", "tan": "Tan", "tanh": "Tanh",
}  # fmt: skip
"""Ops that are one standard operator of the same operands, without attributes."""


def _bounded(x: Term, low: float, high: float) -> Term:
    if low > -math.inf:
        x = x.do("Max", low)
    return x.do("Min", high) if high < math.inf else x


def _elu(op: Elu, x: Term) -> Term:
    below = ((x.do("Min", 0.0) / op.beta).do("Exp") - 1.0) * op.alpha
    return (x > 0.0).where(x, below) * op.gamma


def _gelu_gate(op: GeluGate, x: Term) -> Term:
    cube = x * x * x
    inner = ((x + cube * 0.044715) * math.sqrt(2 / math.pi)).do("Tanh") if op.approximate else (x / math.sqrt(2)).do("Erf")
    return (inner + 1.0) * 0.5


def _prelu(op: PRelu, x: Term) -> Term:
    slopes = x.body.constant(np.array(op.slopes, x.dtype).reshape(op.shape))
    return (x >= 0.0).where(x, x * slopes)


def _shrink(op: Shrink, x: Term) -> Term:
    zero = x * 0.0
    return (x > op.threshold).where(x - op.bias, (x < -op.threshold).where(x + op.bias, zero))


def _step(op: Step, x: Term) -> Term:
    return (x >= 0.0 if op.zero else x > 0.0).cast(x.dtype)


def _is_inf(op: IsInf, x: Term) -> Term:
    return x.do("IsInf", dtype=BOOL, detect_negative=int(op.negative), detect_positive=int(op.positive))


def _gated(op: Gated, x: Term) -> Term:
    inner = x * op.scale + op.shift
    for gate in op.gates():
        inner = element_function(gate, inner)
    return x * inner


_FORMULAS: dict[str, Callable[[Any, Term], Term]] = {
    "acosh": lambda op, x: x.do("Max", 1.0).do("Acosh"),
    "affine": lambda op, x: x * op.alpha + op.beta,
    "asin": lambda op, x: _bounded(x, -1, 1).do("Asin"),
    "atanh": lambda op, x: _bounded(x, -1, 1).do("Atanh"),
    "clip": lambda op, x: _bounded(x, op.low, op.high),
    "elu": _elu,
    "gated": _gated,
    "gelu_gate": _gelu_gate,
    "hard_sigmoid": lambda op, x: x.do("HardSigmoid", alpha=op.alpha, beta=op.beta),
    "is_inf": _is_inf,
    "leaky_relu": lambda op, x: x.do("LeakyRelu", alpha=op.alpha),
    "prelu": _prelu,
    "round": lambda op, x: x.do({"floor": "Floor", "ceil": "Ceil", "even": "Round"}[op.mode]),
    "saturate": lambda op, x: _bounded(x, op.low, op.high),
    "scaled_tanh": lambda op, x: (x * op.beta).do("Tanh") * op.alpha,
    "shrink": _shrink,
    "signed_square": lambda op, x: x * x.do("Abs"),
    "step": _step,
    "thresholded_relu": lambda op, x: x.do("ThresholdedRelu", alpha=op.alpha),
}
"""Functions of one value as expressions."""


def element_function(op: Op, x: Term) -> Term:
    """What an op computes of each element of `x`."""
    if op.name in _STANDARD:
        return x.do(_STANDARD[op.name], dtype=BOOL if op.name == "is_nan" else None)
    return _FORMULAS[op.name](op, x)


@writes(*_FORMULAS)
def _formula(body: Body, op: Op, x: Term) -> Term:
    return element_function(op, x)


@writes(*_STANDARD)
def _standard(body: Body, op: Op, first: Term, *others: Term) -> Term:
    if not others:
        return element_function(op, first)
    wide = np.result_type(first.dtype, *(other.dtype for other in others))
    return first.cast(wide).do(_STANDARD[op.name], *(other.cast(wide) for other in others))


@writes("remainder")
def _remainder(body: Body, op: Remainder, x: Term, y: Term) -> Term:
    rest = x.do("Mod", y, fmod=1)
    if op.dividend:
        return rest
    zero = body.like(0, rest.dtype)
    other_side = ~rest.equal(zero) & (rest < zero).do("Xor", y < zero)
    return other_side.where(rest + y, rest)


@writes("masked")
def _masked(body: Body, op: Op, x: Term, keep: Term) -> Term:
    kept = keep if keep.dtype == BOOL else keep.do("Abs") >= 0.5
    return kept.where(x, -math.inf)


@writes("is_far")
def _is_far(body: Body, op: Op, x: Term) -> Term:
    return x <= FAR


@writes("shown")
def _shown(body: Body, op: Op, x: Term) -> Term:
    return (x <= FAR).where(body.like(0, x.dtype), x)
