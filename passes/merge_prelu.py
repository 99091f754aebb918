"""Merge PReLU: a ReLU with a slope for each channel becomes one increasing function, and so one population."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnir.ir import FLOAT, Graph, Node, Value
from snnir.ir.ops import Add, Clip, Mul, PRelu, Relu
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.passes.falling_slopes import larger_of_two
from snnir.passes.infra import Context, Pass, Result, register

__all__ = ["MergePRelu"]

_NEAR = 1e-6
"""How far the slope above 0 may be from 1: float32 rounding of `slope + (1 - slope)`."""


@register
@dataclass(frozen=True)
class MergePRelu(Pass):
    """Merge `slope x + (1 - slope) max(x, 0)` into one activation.

    1. The two constants must add up to 1. Where no slope is negative, the function increases.
    2. Where some are, these channels become the larger of two increasing functions (`falling_slopes.py`).
    3. The constants must be the same for all samples, and spread over the last axes of a sample.

    In parts it would take three populations, for the sum, its positive part and their sum, each with its own rounding.
    """

    name = "merge-prelu"
    takes = gives = FLOAT

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass."""
        new, changed = rebuild(graph, _rule)
        return Result(new, changed > 0)


def _rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
    if not isinstance(node.op, Add):
        return None
    for first, second in ((0, 1), (1, 0)):
        scaled, rest = _scaled(operands[first]), _scaled(operands[second])
        if scaled is None or rest is None:
            continue
        (x, slope), (positive, remainder) = scaled, rest
        if _positive_part(positive) is not x:
            continue
        both = slope.astype(np.float64) + remainder
        if not (np.abs(both - 1) <= _NEAR).all() or slope.ndim > x.type.rank:
            continue
        if slope.ndim == x.type.rank:
            if slope.shape[0] != 1:
                continue
            slope = slope[0]
        if (slope < 0).any():
            larger = larger_of_two(rewriter, x, slope, node.output.name)
            return None if larger is None else (larger,)
        op = PRelu(tuple(float(number) for number in slope.reshape(-1)), tuple(slope.shape))
        return (rewriter.emit(op, x, name=node.output.name),)
    return None


def _scaled(value: Value) -> tuple[Value, np.ndarray] | None:
    """`(x, c)` of a product `x c` with a constant."""
    node = value.producer
    if node is None or not isinstance(node.op, Mul) or node.operands[1].data is None or node.operands[0].is_constant:
        return None
    return node.operands[0], node.operands[1].array


def _positive_part(value: Value) -> Value | None:
    """x of `max(x, 0)`."""
    node = value.producer
    if node is None:
        return None
    clips = isinstance(node.op, Clip) and (node.op.low, node.op.high) == (0.0, float("inf"))
    return node.operands[0] if clips or isinstance(node.op, Relu) else None
