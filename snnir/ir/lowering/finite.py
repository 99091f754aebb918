"""Where infinities and NaN may come from: nowhere, as long as nothing on the way can give one."""

from __future__ import annotations

from snnir.ir.graph import Value
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

__all__ = ["source_of_infinity"]

_SUMS = (Add, Sub, Mul, MatMul, Linear, Conv, SparseLinear, AveragePool, ReduceMean, BatchNorm)
_CURVES = (Abs, Clip, Cos, Erf, HardSigmoid, LeakyRelu, Relu, Sigmoid, Sin, Tanh)
_FINITE = (*_SUMS, *_CURVES, Cast, Gru, Lookup, Lstm, MaxPool, Movement, Rnn, Softmax)
"""Ops that give finite numbers for finite ones, as long as those stay within the element type."""


def source_of_infinity(x: Value) -> str:
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
