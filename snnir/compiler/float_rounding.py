"""How far float32 may be off at an output that is small beside the numbers that it is computed from.

Differences from the model itself are compared with the span of an output. Where an output is what is left of larger numbers (the
difference of two that are nearly the same, a sigmoid far below 0, which ONNX Runtime computes from numbers near 1), two right
computations may differ by the rounding of those.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnir.ir import Graph, Value
from snnir.ir.execute import execute
from snnir.ir.op import Op, Trait
from snnir.ir.ops import (
    Add,
    Clip,
    Conv,
    Erf,
    HardSigmoid,
    Linear,
    MatMul,
    ReduceMean,
    Relu,
    Sigmoid,
    Softmax,
    SparseLinear,
    Sub,
    Tanh,
)

__all__ = ["ROUNDINGS", "summed_magnitudes"]

ROUNDINGS = 4 * 2.0**-24
"""A few roundings of float32, relative to the numbers that are rounded."""
_SATURATING = (Sigmoid, Tanh, Erf, HardSigmoid, Softmax)


def summed_magnitudes(graph: Graph, inputs: Mapping[str, np.ndarray]) -> dict[str, float]:
    """For each output the largest number that the sum which it comes from adds up, or 1 where a function that saturates at 1
    gives it; 0 where it comes from neither.
    """
    largest: dict[Value, float] = {}

    def observe(value: Value, array: np.ndarray) -> None:
        if array.dtype.kind == "f":
            finite = array[np.isfinite(array)]
            largest[value] = max(largest.get(value, 0.0), float(np.abs(finite).max(initial=0)))

    execute(graph, inputs, observe)
    return {name: _summed(value, largest) for name, value in graph.outputs.items()}


def _keeps(op: Op) -> bool:
    """Whether an op only selects what it takes, or cuts it off."""
    return op.has(Trait.SELECTS) or isinstance(op, Relu | Clip)


def _summed(value: Value, largest: Mapping[Value, float]) -> float:
    while value.producer is not None and _keeps(value.producer.op):
        value = max(value.producer.operands, key=lambda operand: largest.get(operand, 0.0))
    node = value.producer
    if node is None:
        return 0.0
    if isinstance(node.op, _SATURATING):
        return 1.0
    sizes = [
        float(np.abs(operand.array).max(initial=0)) if operand.is_constant else largest.get(operand, 0.0)
        for operand in node.operands
    ]
    if isinstance(node.op, Linear | Conv | MatMul | SparseLinear):
        return sizes[0] * sizes[1]
    if isinstance(node.op, Add | Sub | ReduceMean) or (node.op.has(Trait.BROADCASTING) and node.op.has(Trait.AFFINE)):
        return max(sizes)
    return 0.0
