"""Data movement: reshapes, transposes and padding merge, and ops go before what only moves their operand."""

from __future__ import annotations

import dataclasses

from snnir.ir import Node, Value
from snnir.ir.ops import Conv, Linear, Pad, Reshape, Transpose
from snnir.ir.rewrite import Rewriter
from snnir.ir.worklist import pattern

__all__ = ["RULES"]


@pattern(Conv, after=(Pad,))
def pad_into_conv(rewriter: Rewriter, node: Node, op: Conv, operands: tuple[Value, ...]) -> Value | None:
    """Zeros around the positions become padding of the convolution."""
    inner = operands[0].producer
    if inner is None or not isinstance(inner.op, Pad):
        return None
    rank, amounts = operands[0].type.rank, [amount for amount in inner.op.padding if isinstance(amount, int)]
    if len(amounts) < 2 * rank or min(amounts) < 0 or any(amounts[axis] for axis in (0, 1, rank, rank + 1)):
        return None
    extra = (*amounts[2:rank], *amounts[rank + 2 :])
    padding = tuple(a + b for a, b in zip(op.padding, extra, strict=True))
    return rewriter.emit(dataclasses.replace(op, padding=padding), inner.operands[0], *operands[1:], name=node.output.name)


@pattern(Reshape, Transpose)
def merge_movement(rewriter: Rewriter, node: Node, op: Reshape | Transpose, operands: tuple[Value, ...]) -> Value | None:
    """Reshapes and transposes that follow one another merge, and vanish where they change nothing."""
    (x,) = operands
    inner = x.producer
    if isinstance(op, Reshape):
        if op.shape == x.type.shape:
            return x
        if inner is not None and isinstance(inner.op, Reshape):
            return rewriter.emit(op, inner.operands[0], name=node.output.name)
    if isinstance(op, Transpose):
        if op.perm == tuple(range(len(op.perm))):
            return x
        if inner is not None and isinstance(inner.op, Transpose):
            perm = tuple(inner.op.perm[axis] for axis in op.perm)
            return rewriter.emit(Transpose(perm), inner.operands[0], name=node.output.name)
        moved = [axis for axis in op.perm if x.type.shape[axis] != 1]
        if moved == sorted(moved):  # only axes of size 1 change places
            return rewriter.emit(Reshape(node.output.type.shape), x, name=node.output.name)
    return None


@pattern(Linear, after=(Reshape,))
def linear_first(rewriter: Rewriter, node: Node, op: Linear, operands: tuple[Value, ...]) -> Value | None:
    """`linear(reshape(x))` becomes `reshape(linear(x))` where the reshape merges the batch with axes before its own."""
    x, *rest = operands
    inner = x.producer
    if inner is None or x.type.batch_axis is not None:
        return None
    source = inner.operands[0]
    if source.type.batch_axis is None or source.type.rank < 2 or source.type.shape[-1] != x.type.shape[-1]:
        return None
    result = rewriter.emit(op, source, *rest, name=f"{node.output.name}.whole")
    return rewriter.emit(Reshape(node.output.type.shape), result, name=node.output.name)


RULES = (pad_into_conv, linear_first, merge_movement)
