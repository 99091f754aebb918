"""Compute with the batch as axis 0, whatever the model's own layout."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass

import numpy as np

from snnir.ir import BATCH, FLOAT, Graph, Node, Value
from snnir.ir.batch import holds_batch
from snnir.ir.dims import concrete, dim, product
from snnir.ir.op import Trait
from snnir.ir.ops import (
    AveragePool,
    Concat,
    Conv,
    Elementwise,
    Expand,
    Gather,
    Linear,
    MaxPool,
    Reshape,
    Slice,
    Transpose,
)
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.passes.infra import Context, Pass, Result, register

__all__ = ["BatchFirst"]


@register
@dataclass(frozen=True)
class BatchFirst(Pass):
    """Move the batch to axis 0 of values that synapses and neurons compute.

    1. Element-wise ops, `linear`, `concat`, `slice`, `gather` and `reshape` whose result has its batch on another axis
       are computed on transposed operands, and their result is transposed back. So is a `gather` that takes the axes
       before the batch away.
    2. So is a `conv` that looks at one position only, as `linear`: then the batch may stand at its positions.
    3. So is a pool whose windows do not reach over the batch, with axis 0 and the batch in each other's place.
    4. An operand of a broadcast that is one for all samples, and changes from call to call, is repeated for each of them.
    5. `canonicalize`, which runs next, merges the transposes: between such ops none are left.
    """

    name = "batch-first"
    takes = gives = FLOAT

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass."""
        hits: Counter[str] = Counter()
        new, changed = rebuild(graph, _rule, hits=hits)
        return Result(new, changed > 0, rewrites=hits)


def _rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
    op = node.op
    if isinstance(op, Reshape):
        return _reshape(rewriter, node, operands[0])
    if isinstance(op, Conv):
        return _pointwise(rewriter, node, op, operands)
    if isinstance(op, MaxPool | AveragePool):
        return _pool(rewriter, node, op, operands[0])
    broadcasting = op.has(Trait.BROADCASTING) and op.has(Trait.AFFINE)
    if not broadcasting and not isinstance(op, Elementwise | Linear | Concat | Slice | Gather):
        return None
    batch = node.output.type.batch_axis
    rank = node.output.type.rank
    if batch == 0 and broadcasting:
        return _for_each(rewriter, node, operands)
    if batch is None or (batch == 0 and not (isinstance(op, Gather) and operands[0].type.batch_axis)):
        return None
    if broadcasting:
        moved = tuple(_front(rewriter, _ranked(rewriter, value, rank), batch) for value in operands)
    elif isinstance(op, Linear):
        moved = (_front(rewriter, operands[0], batch), *operands[1:])
    else:
        axes = {value.type.batch_axis for value in operands}
        if len(axes) != 1 or None in axes:
            return None
        source = operands[0].type.batch_axis
        assert source is not None
        moved = tuple(_front(rewriter, value, source) for value in operands)
        if isinstance(op, Concat | Slice | Gather):
            if op.axis == source:
                return None
            op = dataclasses.replace(op, axis=op.axis + 1 if op.axis < source else op.axis)
    name = node.output.name
    return (_back(rewriter, rewriter.emit(op, *moved, name=f"{name}.batch_first"), batch, name),)


def _for_each(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
    """An operand that is one for all samples, and no constant, repeated for each of them."""
    shared = [not value.is_constant and not any(map(holds_batch, value.type.shape)) for value in operands]
    if not any(shared) or not node.output.type.is_real:
        return None
    rank = node.output.type.rank
    spread = []
    for value, one in zip(operands, shared, strict=True):
        ranked = _ranked(rewriter, value, rank) if one else value
        shape = (dim(BATCH), *ranked.type.shape[1:])
        spread.append(rewriter.emit(Expand(shape), ranked, name=f"{value.name}.for_each") if one else value)
    return rewriter.emit_all(node.op, *spread, names=(node.output.name,))


def _pool(rewriter: Rewriter, node: Node, op: MaxPool | AveragePool, x: Value) -> tuple[Value, ...] | None:
    """A pool whose batch is the channel axis, or a position at which each window sees one element."""
    batch, count = node.output.type.batch_axis, len(op.kernel)
    if not batch or (batch >= 2 and (op.kernel[batch - 2], op.stride[batch - 2]) != (1, 1)):
        return None
    if batch >= 2 and (op.padding[batch - 2] or op.padding[batch - 2 + count]):
        return None
    order = list(range(x.type.rank))
    order[0], order[batch] = batch, 0
    name = node.output.name
    turned = rewriter.emit(Transpose(tuple(order)), x, name=f"{name}.turned")
    pooled = rewriter.emit(op, turned, name=f"{name}.batch_first")
    return (rewriter.emit(Transpose(tuple(order)), pooled, name=name),)


def _pointwise(rewriter: Rewriter, node: Node, op: Conv, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
    """A convolution of kernel 1 whose batch is one of its positions, as a linear map over the channels."""
    x, weight = operands[:2]
    batch, kernel = node.output.type.batch_axis, weight.type.shape[2:]
    moved = any(op.padding) or set(op.stride) != {1} or op.groups != 1
    if batch is None or batch < 2 or moved or not weight.is_constant or any(size != 1 for size in kernel):
        return None
    order = (batch, *(axis for axis in range(x.type.rank) if axis not in (1, batch)), 1)
    name = node.output.name
    front = rewriter.emit(Transpose(order), x, name=f"{name}.batch_first")
    matrix = rewriter.constant(f"{weight.name}.matrix", weight.array.reshape(weight.array.shape[:2]))
    mapped = rewriter.emit(Linear(), front, matrix, *operands[2:], name=f"{name}.mapped")
    return (rewriter.emit(Transpose(tuple(order.index(axis) for axis in range(len(order)))), mapped, name=name),)


def _reshape(rewriter: Rewriter, node: Node, x: Value) -> tuple[Value, ...] | None:
    """What stands before and what stands after the batch are reshaped apart, so that the batch may stand anywhere."""
    before, result = x.type.batch_axis, node.output.type
    after = result.batch_axis
    if (not before and not after) or before is None or after is None:
        return None
    if product(x.type.shape[:before]) != product(result.shape[:after]):
        return None
    shape = (result.shape[after], *result.shape[:after], *result.shape[after + 1 :])
    name = node.output.name
    front = rewriter.emit(Reshape(shape), _front(rewriter, x, before), name=f"{name}.batch_first")
    return (_back(rewriter, front, after, name),)


def _back(rewriter: Rewriter, value: Value, batch: int, name: str) -> Value:
    """`value` with axis 0 moved to `batch`."""
    return rewriter.emit(Transpose((*range(1, batch + 1), 0, *range(batch + 1, value.type.rank))), value, name=name)


def _ranked(rewriter: Rewriter, value: Value, rank: int) -> Value:
    """`value` with as many axes as the result of a broadcast has."""
    shape = (*([1] * (rank - value.type.rank)), *value.type.shape)
    if shape == value.type.shape:
        return value
    if value.is_constant:
        return rewriter.constant(f"{value.name}.ranked", value.array.reshape([concrete(size) for size in shape]))
    return rewriter.emit(Reshape(shape), value, name=f"{value.name}.ranked")


def _front(rewriter: Rewriter, value: Value, axis: int) -> Value:
    """`value` with `axis` moved to the front."""
    perm = (axis, *(other for other in range(value.type.rank) if other != axis))
    if value.is_constant:
        return rewriter.constant(f"{value.name}.front", np.ascontiguousarray(value.array.transpose(perm)))
    return rewriter.emit(Transpose(perm), value, name=f"{value.name}.front")
