"""The batch as axis 0 of what synapses and neurons compute, whatever the layout of the model.

An op whose result has its batch on another axis is computed on transposed operands, and its result transposed back. The rules on
movement then merge the transposes: between such ops none are left.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from snnir.ir import BATCH, Node, Value
from snnir.ir.batch import holds_batch
from snnir.ir.dims import concrete, dim, product
from snnir.ir.op import Op, Trait
from snnir.ir.ops import (
    Concat,
    Conv,
    Elementwise,
    Expand,
    Extend,
    Gather,
    Hardmax,
    Linear,
    LogSoftmax,
    MatMul,
    Pad,
    Pool,
    Reshape,
    Slice,
    Softmax,
    Transpose,
)
from snnir.ir.rewrite import Rewriter
from snnir.ir.worklist import pattern

__all__ = ["RULES"]

_AlongAxis = Concat | Slice | Gather | Softmax | LogSoftmax | Hardmax


@pattern(Op)
def broadcast(rewriter: Rewriter, node: Node, op: Op, operands: tuple[Value, ...]) -> Value | None:
    """An affine op that spreads its operands to one shape."""
    if not (op.has(Trait.BROADCASTING) and op.has(Trait.AFFINE)):
        return None
    batch, rank, name = node.output.type.batch_axis, node.output.type.rank, node.output.name
    if batch is None:
        return None
    if batch == 0:
        return _for_each(rewriter, node, operands)
    moved = tuple(_front(rewriter, _ranked(rewriter, value, rank), batch) for value in operands)
    return _back(rewriter, rewriter.emit(op, *moved, name=f"{name}.batch_first"), batch, name)


@pattern(Linear)
def linear(rewriter: Rewriter, node: Node, op: Linear, operands: tuple[Value, ...]) -> Value | None:
    """A linear map: its parameters have no batch."""
    batch, name = node.output.type.batch_axis, node.output.name
    if not batch:
        return None
    moved = _front(rewriter, operands[0], batch)
    return _back(rewriter, rewriter.emit(op, moved, *operands[1:], name=f"{name}.batch_first"), batch, name)


@pattern(MatMul)
def matrices(rewriter: Rewriter, node: Node, op: MatMul, operands: tuple[Value, ...]) -> Value | None:
    """A product with constant matrices, such as one for each head, whose batch is an axis of rows, columns or matrices."""
    a, b = operands
    x, known = (b, a) if a.is_constant else (a, b)
    batch, rank, name = x.type.batch_axis, x.type.rank, node.output.name
    if not batch or not known.is_constant or not 2 <= known.type.rank <= rank or node.output.type.batch_axis != batch:
        return None
    front = _front(rewriter, x, batch)
    if batch < rank - 2:  # of matrices
        matrix = _front(rewriter, _ranked(rewriter, known, rank), batch)
        lines = front
    else:  # each sample has one row, or one column
        matrix, sizes = known, front.type.shape
        lined = (*sizes, 1) if known is a else (*sizes[:-1], 1, sizes[-1])
        lines = rewriter.emit(Reshape(lined), front, name=f"{name}.lines")
    result = rewriter.emit(op, *((matrix, lines) if known is a else (lines, matrix)), name=f"{name}.batch_first")
    if lines is not front:
        shape = result.type.shape
        flat = shape[:-1] if known is a else (*shape[:-2], shape[-1])
        result = rewriter.emit(Reshape(flat), result, name=f"{name}.flat")
    return _back(rewriter, result, batch, name)


@pattern(Elementwise)
def elementwise(rewriter: Rewriter, node: Node, op: Elementwise, operands: tuple[Value, ...]) -> Value | None:
    """An activation."""
    return _moved(rewriter, node, op, operands)


@pattern(Concat, Slice)
def parts(rewriter: Rewriter, node: Node, op: Concat | Slice, operands: tuple[Value, ...]) -> Value | None:
    """Values side by side along an axis, and a part of one."""
    return _along_axis(rewriter, node, op, operands)


@pattern(Gather)
def gather(rewriter: Rewriter, node: Node, op: Gather, operands: tuple[Value, ...]) -> Value | None:
    """Elements of an axis; it may take the axes before the batch away."""
    return _along_axis(rewriter, node, op, operands)


@pattern(Pad, Extend)
def padded(rewriter: Rewriter, node: Node, op: Pad | Extend, operands: tuple[Value, ...]) -> Value | None:
    """Elements around those of other axes than the batch."""
    (x,) = operands
    source, rank = x.type.batch_axis, x.type.rank
    if not source or op.padding[source] != 0 or op.padding[source + rank] != 0:
        return None
    order = (source, *(axis for axis in range(rank) if axis != source))
    amounts = tuple(op.padding[side + axis] for side in (0, rank) for axis in order)
    return _moved(rewriter, node, dataclasses.replace(op, padding=amounts), operands)


@pattern(Expand)
def expanded(rewriter: Rewriter, node: Node, op: Expand, operands: tuple[Value, ...]) -> Value | None:
    """Axes of size 1 repeated, beside a batch that is there already."""
    batch = node.output.type.batch_axis
    if not batch or operands[0].type.batch_axis is None:
        return None
    ranked = _ranked(rewriter, operands[0], node.output.type.rank)
    inner = Expand((op.shape[batch], *op.shape[:batch], *op.shape[batch + 1 :]))
    return _moved(rewriter, node, inner, (ranked,))


@pattern(Softmax, LogSoftmax)
def normalised(rewriter: Rewriter, node: Node, op: Softmax | LogSoftmax, operands: tuple[Value, ...]) -> Value | None:
    """A softmax over another axis than the batch."""
    return _along_axis(rewriter, node, dataclasses.replace(op, axis=op.axis % operands[0].type.rank), operands)


@pattern(Hardmax)
def hardmax(rewriter: Rewriter, node: Node, op: Hardmax, operands: tuple[Value, ...]) -> Value | None:
    """A hardmax over another axis than the batch."""
    return _along_axis(rewriter, node, dataclasses.replace(op, axis=op.axis % operands[0].type.rank), operands)


def _along_axis(rewriter: Rewriter, node: Node, op: _AlongAxis, operands: tuple[Value, ...]) -> Value | None:
    source = operands[0].type.batch_axis
    if source is None or op.axis == source:
        return None
    inner = dataclasses.replace(op, axis=op.axis + 1 if op.axis < source else op.axis)
    return _moved(rewriter, node, inner, operands)


def _moved(rewriter: Rewriter, node: Node, op: Op, operands: tuple[Value, ...]) -> Value | None:
    """`op` on operands with their batch in front, where all have it on one and the same axis that is not 0."""
    batch, name = node.output.type.batch_axis, node.output.name
    axes = {value.type.batch_axis for value in operands}
    source = operands[0].type.batch_axis
    if batch is None or not source or axes != {source}:
        return None
    fronts = tuple(_front(rewriter, value, source) for value in operands)
    return _back(rewriter, rewriter.emit(op, *fronts, name=f"{name}.batch_first"), batch, name)


def _for_each(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> Value | None:
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
    return rewriter.emit(node.op, *spread, name=node.output.name)


@pattern(Pool)
def pool(rewriter: Rewriter, node: Node, op: Pool, operands: tuple[Value, ...]) -> Value | None:
    """A pool whose batch is the channel axis, or a position at which each window sees one element."""
    (x,) = operands
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
    return rewriter.emit(Transpose(tuple(order)), pooled, name=name)


@pattern(Conv)
def pointwise_conv(rewriter: Rewriter, node: Node, op: Conv, operands: tuple[Value, ...]) -> Value | None:
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
    return rewriter.emit(Transpose(tuple(order.index(axis) for axis in range(len(order)))), mapped, name=name)


@pattern(Reshape)
def reshape(rewriter: Rewriter, node: Node, op: Reshape, operands: tuple[Value, ...]) -> Value | None:
    """What stands before and what stands after the batch are reshaped apart, so that the batch may stand anywhere.

    Where only axes of size 1 stand before it, the batch is in front already as far as the order of elements goes.
    """
    (x,) = operands
    before, result = x.type.batch_axis, node.output.type
    after = result.batch_axis
    if (not before and not after) or before is None or after is None:
        return None
    if product(x.type.shape[:before]) != product(result.shape[:after]) or product(result.shape[:after]) == 1:
        return None
    shape = (result.shape[after], *result.shape[:after], *result.shape[after + 1 :])
    name = node.output.name
    front = rewriter.emit(Reshape(shape), _front(rewriter, x, before), name=f"{name}.batch_first")
    return _back(rewriter, front, after, name)


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


RULES = (
    reshape,
    pointwise_conv,
    pool,
    linear,
    matrices,
    elementwise,
    parts,
    gather,
    padded,
    expanded,
    normalised,
    hardmax,
    broadcast,
)
