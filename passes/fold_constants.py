"""Fold constants: nodes whose operands are all known are computed once, while compiling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnir.ir import FLOAT, Graph, Node, Value
from snnir.ir.dims import Dim
from snnir.ir.execute import apply
from snnir.ir.ops import Expand, Scan
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.passes.infra import Context, Pass, Result, register

__all__ = ["FoldConstants"]


@register
@dataclass(frozen=True)
class FoldConstants(Pass):
    """Compute nodes whose operands are all constants.

    1. A node without a body whose operands are constants becomes the constant it computes.
    2. A constant that is expanded over the batch stays as it is where it starts a state of `scan`, which spreads it.
    """

    name = "fold-constants"
    takes = gives = FLOAT

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass."""
        new, changed = rebuild(graph, _fold)
        return Result(new, changed > 0)


def _fold(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
    if isinstance(node.op, Scan):
        states = [_spread(rewriter, value) for value in operands[: node.op.states]]
        if all(new is old for new, old in zip(states, operands, strict=False)):
            return None
        return rewriter.copy(node, (*states, *operands[node.op.states :]))
    if not operands or not all(value.is_constant for value in operands) or node.body is not None:
        return None
    if any(isinstance(size, Dim) for value in node.outputs for size in value.type.shape):
        return None
    copies = [value.array for value in operands]
    results = apply(node, copies, {})
    return tuple(
        rewriter.constant(value.name, np.ascontiguousarray(array)) for value, array in zip(node.outputs, results, strict=True)
    )


def _spread(rewriter: Rewriter, value: Value) -> Value:
    """The constant behind an expansion over axes that a state spreads it over anyway."""
    producer = value.producer
    if producer is not None and isinstance(producer.op, Expand) and producer.operands[0].is_constant:
        return producer.operands[0]
    return value
