"""Questions for infinities and NaN: the answer is no wherever nothing on the way can give one."""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import real
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Dim, Value
from snnir.ir.ops import (
    Abs,
    Add,
    AveragePool,
    BatchNorm,
    Cast,
    Clip,
    Conv,
    Cos,
    Erf,
    Expand,
    Gru,
    HardSigmoid,
    LeakyRelu,
    Linear,
    Lookup,
    Lstm,
    Masked,
    MatMul,
    MaxPool,
    Movement,
    Mul,
    ReduceMean,
    Relu,
    Rnn,
    Sigmoid,
    Sin,
    Softmax,
    SparseLinear,
    Sub,
    Tanh,
)
from snnir.ir.types import DTYPES

__all__: list[str] = []

_SUMS = (Add, Sub, Mul, MatMul, Linear, Conv, SparseLinear, AveragePool, ReduceMean, BatchNorm)
_CURVES = (Abs, Clip, Cos, Erf, HardSigmoid, LeakyRelu, Relu, Sigmoid, Sin, Tanh)
_FINITE = (*_SUMS, *_CURVES, Cast, Gru, Lookup, Lstm, MaxPool, Movement, Rnn, Softmax)
"""Ops that give finite numbers for finite ones, as long as those stay within the element type."""


def _source(x: Value) -> str:
    """Where infinities or NaN may come from; empty where nothing gives them. Inputs and constants are finite."""
    seen, rest = {x}, [x]
    while rest:
        node = rest.pop().producer
        if node is None:
            continue
        if not isinstance(node.op, _FINITE):
            return f"{node.describe()} (op {node.op.name})"
        for value in node.operands:
            hidden = value.producer
            if isinstance(node.op, Softmax) and hidden is not None and isinstance(hidden.op, Masked):
                value = hidden.operands[0]  # what is masked becomes 0
            if value not in seen:
                seen.add(value)
                rest.append(value)
    return ""


def _never(operator: str) -> None:
    @handler(operator, "expand")
    def never(call: Call) -> list[Result]:
        """False where nothing on the way from the inputs, which are finite, can give such a number; refused elsewhere."""
        x = real(call, 0)
        source = "a value from around a loop's body" if call.scope.parent is not None else _source(x)
        if source:
            raise RefusalError(f"{source} may give infinities or NaN, and values of a network are finite: guard it instead")
        if not any(isinstance(size, Dim) for size in x.type.shape):
            return [np.zeros(call.static(x.type.shape, "truth"), np.bool_)]
        result = call.emit(Expand(x.type.shape), call.array("never", np.zeros((1,) * x.type.rank, DTYPES[x.type.dtype])))
        call.scope.flags.add(result)
        return [result]


_never("IsInf")
_never("IsNaN")
