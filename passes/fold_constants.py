"""Fold constants: nodes whose operands are all known are computed once, while compiling."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import reduce

import numpy as np

from snnir.ir import BATCH, FLOAT, Dim, Graph, Node, Value
from snnir.ir.dims import dim
from snnir.ir.execute import apply
from snnir.ir.op import Trait
from snnir.ir.ops import Expand, Movement, Scan
from snnir.ir.ops.rules import broadcast
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.passes.infra import Context, Pass, Result, register

__all__ = ["FoldConstants"]


@register
@dataclass(frozen=True)
class FoldConstants(Pass):
    """Compute nodes whose operands are all constants.

    1. A node without a body whose operands are constants becomes the constant it computes, where that is finite.
    2. Data movement of a constant that is expanded over the batch becomes an expansion of the moved constant.
    3. An op that spreads its operands to one shape takes a constant as it was before an expansion over open lengths, where its
       result keeps its shape: what a model fills for them (a mask that hides nothing) is a constant then.
    4. A constant that is expanded over the batch and starts a state of `scan` is taken as it is: `scan` spreads it.
    """

    name = "fold-constants"
    takes = gives = FLOAT

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass."""
        hits: Counter[str] = Counter()
        new, changed = rebuild(graph, _fold, hits=hits)
        return Result(new, changed > 0, rewrites=hits)


def _fold(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
    if isinstance(node.op, Scan):
        states = [_spread(rewriter, value) for value in operands[: node.op.states]]
        if all(new is old for new, old in zip(states, operands, strict=False)):
            return None
        return rewriter.copy(node, (*states, *operands[node.op.states :]))
    if isinstance(node.op, Movement) and len(operands) == 1 and _expanded(operands[0]) is not None:
        return _move_expanded(rewriter, node, operands[0])
    if node.op.has(Trait.BROADCASTING):
        plain = _unspread(node, operands)
        if plain != operands:
            return rewriter.copy(node, plain)
    if not operands or not all(value.is_constant for value in operands) or node.body is not None:
        return None
    if any(isinstance(size, Dim) for value in node.outputs for size in value.type.shape):
        return None
    copies = [value.array for value in operands]
    with np.errstate(all="ignore"):  # what is not finite is left to the host
        results = apply(node, copies, {})
    if not all(np.isfinite(array).all() for array in results if array.dtype.kind == "f"):
        return None  # constants are finite
    return tuple(
        rewriter.constant(value.name, np.ascontiguousarray(array)) for value, array in zip(node.outputs, results, strict=True)
    )


def _unspread(node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...]:
    """The operands, constants as they were before expansions that the result does not need."""
    found = list(operands)
    for place, value in enumerate(operands):
        constant = _expanded(value)
        if constant is None or not any(isinstance(size, Dim) and size != dim(BATCH) for size in value.type.shape):
            continue  # an expansion over the batch alone may start a recurrence that is unrolled
        others = [other.type.shape for index, other in enumerate(found) if index != place]
        if reduce(broadcast, others, constant.type.shape) == node.output.type.shape:
            found[place] = constant
    return tuple(found)


def _spread(rewriter: Rewriter, value: Value) -> Value:
    """The constant behind an expansion over axes that a state spreads it over anyway."""
    return _expanded(value) or value


def _expanded(value: Value) -> Value | None:
    """The constant that `value` expands over named sizes; None where it is anything else."""
    producer = value.producer
    if producer is not None and isinstance(producer.op, Expand) and producer.operands[0].is_constant:
        return producer.operands[0]
    return None


def _move_expanded(rewriter: Rewriter, node: Node, value: Value) -> tuple[Value, ...] | None:
    constant, result = _expanded(value), node.output.type
    assert constant is not None
    op = node.expect(Movement)
    if any(isinstance(size, Dim) and size != dim(BATCH) for size in (*value.type.shape, *result.shape)):
        return None
    one = [1 if isinstance(size, Dim) else size for size in value.type.shape]
    (moved,) = op.bind({BATCH: 1}).evaluate(np.broadcast_to(constant.array, one))
    spread = rewriter.constant(f"{node.output.name}.sample", np.ascontiguousarray(moved))
    return (rewriter.emit(Expand(result.shape), spread, name=node.output.name),)
