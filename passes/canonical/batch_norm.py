"""Batch norm, and any affine map per channel, folds into neighbouring weights, or sinks towards some."""

from __future__ import annotations

import numpy as np

from snnir.ir import BATCH, Dim, Graph, Node, Value
from snnir.ir.dims import concrete
from snnir.ir.ops import Add, BatchNorm, Concat, Conv, Linear, MaxPool, Movement, Mul, Pad, Scan, Transpose
from snnir.ir.rewrite import Rewriter, extend
from snnir.ir.types import DTYPES
from snnir.ir.worklist import pattern
from snnir.passes.affine import channel_vector, is_constant, used_once

__all__ = ["RULES"]


@pattern(BatchNorm)
def batch_norm(rewriter: Rewriter, node: Node, op: BatchNorm, operands: tuple[Value, ...]) -> Value | None:
    """Batch norm goes into the `conv` or `linear` that only it takes, and becomes `mul` and `add` elsewhere."""
    x, name = operands[0], node.output.name
    if not all(is_constant(value) for value in operands[1:]):
        return None
    factor, shift = op.factors(*(value.array for value in operands[1:]))
    inner = x.producer
    weighted = inner is not None and (isinstance(inner.op, Conv) or (isinstance(inner.op, Linear) and x.type.rank == 2))
    if inner is not None and weighted and used_once(node, 0) and all(is_constant(value) for value in inner.operands[1:]):
        weight = inner.operands[1].array
        bias = inner.operands[2].array if len(inner.operands) == 3 else np.zeros(len(weight))
        scaled = (weight * factor.reshape(-1, *([1] * (weight.ndim - 1)))).astype(weight.dtype)
        folded = (
            inner.operands[0],
            rewriter.constant(f"{inner.operands[1].name}.bn", scaled),
            rewriter.constant(f"{name}.bias", (bias * factor + shift).astype(weight.dtype)),
        )
        return rewriter.graph.add1(inner.op, *folded, name=name, origin=(*inner.origin, *node.origin))
    shape, dtype = (-1, *([1] * max(x.type.rank - 2, 0))), operands[1].array.dtype
    scale = rewriter.constant(f"{name}.factor", factor.reshape(shape).astype(dtype))
    scaled_value = rewriter.emit(Mul(), x, scale, name=f"{name}.scaled")
    return rewriter.emit(Add(), scaled_value, rewriter.constant(f"{name}.shift", shift.reshape(shape).astype(dtype)), name=name)


def _affine_before(value: Value) -> tuple[Value, np.ndarray, np.ndarray] | None:
    """`(x, c, d)` where `value` is `x c + d`, `x c` or `x + d` with constants that keep x's shape."""
    node, x = value.producer, value
    factor, shift = np.ones((), np.float64), np.zeros((), np.float64)
    if node is not None and isinstance(node.op, Add) and is_constant(node.operands[1]):
        x, shift = node.operands[0], node.operands[1].array.astype(np.float64)
        node = x.producer
    if node is not None and isinstance(node.op, Mul) and is_constant(node.operands[1]):
        x, factor = node.operands[0], node.operands[1].array.astype(np.float64)
    if x is value or x.type != value.type or max(factor.ndim, shift.ndim) > x.type.rank:
        return None
    return x, factor, shift


@pattern(Linear, Conv, after=(Add, Mul), reach=2)
def into_the_next(rewriter: Rewriter, node: Node, op: Linear | Conv, operands: tuple[Value, ...]) -> Value | None:
    """An affine map of the operand goes into the weights; under zero padding its shift becomes a map of biases."""
    before = _affine_before(operands[0])
    if before is None or not all(is_constant(value) for value in operands[1:]):
        return None
    x, factor, shift = before
    axis = 1 if isinstance(op, Conv) else -1
    channels = operands[0].type.shape[axis]
    if isinstance(channels, Dim):
        return None
    c, d = (channel_vector(array, x.type.rank, channels, axis) for array in (factor, shift))
    if c is None or d is None:
        return None
    weight = operands[1].array
    bias = operands[2].array if len(operands) == 3 else np.zeros(len(weight), weight.dtype)
    name = node.output.name
    if isinstance(op, Linear):
        scaled, total, border = weight * c, bias + weight.astype(np.float64) @ d, None
    else:
        per_map = np.repeat(c.reshape(op.groups, -1), len(weight) // op.groups, axis=0)
        scaled, total, border = weight * per_map.reshape(weight.shape[:2] + (1,) * (weight.ndim - 2)), bias, None
        if d.any():
            border = _bias_map(op, x, weight, d)
            if border is None:
                return None
    weight_value = rewriter.constant(f"{operands[1].name}.scaled", scaled.astype(weight.dtype))
    if border is not None and all(np.ptp(border[0, index]) == 0 for index in range(border.shape[1])):
        total, border = total + border[0].reshape(border.shape[1], -1)[:, 0], None
    folded = (x, weight_value, rewriter.constant(f"{name}.bias", total.astype(weight.dtype)))
    if border is None:
        return rewriter.emit(op, *folded, name=name)
    inner = rewriter.emit(op, *folded, name=f"{name}.conv")
    return rewriter.emit(Add(), inner, rewriter.constant(f"{name}.border", border[0].astype(weight.dtype)), name=name)


def _bias_map(op: Conv, x: Value, weight: np.ndarray, d: np.ndarray) -> np.ndarray | None:
    """What the conv makes of the constant d per channel, [1, M, ...]; one position where padding cannot matter."""
    sizes = x.type.shape[2:]
    if not any(op.padding):
        sizes = tuple(step * (size - 1) + 1 for step, size in zip(op.dilation, weight.shape[2:], strict=True))
    if any(isinstance(size, Dim) for size in sizes):
        return None
    shape = (1, len(d), *(concrete(size) for size in sizes))
    constant = np.broadcast_to(d.reshape(1, -1, *([1] * len(sizes))), shape)
    return op.evaluate(constant, weight.astype(np.float64))[0]


@pattern(Movement, MaxPool, after=(Add, Mul), reach=2)
def sink(rewriter: Rewriter, node: Node, op: Movement | MaxPool, operands: tuple[Value, ...]) -> Value | None:
    """`move(x c + d)` becomes `move(x) move(c) + move(d)`, unless the batch leaves axis 0."""
    if isinstance(op, Concat | Pad):
        return None
    (value,) = operands
    before = _affine_before(value)
    if before is None or not used_once(node, 0):
        return None
    x, factor, shift = before
    if x.type.batch_axis == 0 and node.output.type.batch_axis != 0:
        return None
    firsts = [value.type.shape[:1] for value in (x, node.output)]
    if firsts[0] != firsts[1] and not any(isinstance(size, Dim) for first in firsts for size in first):
        return None  # the movement leaves the one sample of a model without a batch: neurons and weights stay before it
    moved_factor, moved_shift = (_moved(op, x, node.output, array) for array in (factor, shift))
    if moved_factor is None or moved_shift is None or (not isinstance(op, Movement) and not (factor > 0).all()):
        return None
    name, dtype = node.output.name, np.float64 if x.type.dtype == "f64" else np.float32
    moved = rewriter.emit(op, x, name=f"{name}.moved")
    if np.any(moved_factor != 1):
        moved = rewriter.emit(
            Mul(), moved, rewriter.constant(f"{name}.factor", moved_factor.astype(dtype)), name=f"{name}.scaled"
        )
    return rewriter.emit(Add(), moved, rewriter.constant(f"{name}.shift", moved_shift.astype(dtype)), name=name)


def _moved(op: Movement | MaxPool, x: Value, moved: Value, array: np.ndarray) -> np.ndarray | None:
    """The constant `array`, which spreads over x, as it spreads over `moved`, the result; None where that is unknown."""
    sample, result = x.type.shape[1:], moved.type
    if array.ndim == 0:
        return array
    if x.type.batch_axis != 0 or result.batch_axis != 0 or (array.ndim == x.type.rank and array.shape[0] != 1):
        return None
    spread = array.reshape((1,) * (x.type.rank - array.ndim) + array.shape)
    if not isinstance(op, Movement):
        return None if any(size != 1 for size in spread.shape[2:]) else spread[0]
    if isinstance(op, Transpose):
        return np.asarray(spread.transpose(op.perm)[0])
    if any(isinstance(size, Dim) for size in (*sample, *result.shape[1:])):
        return None
    shape = x.type.with_shape(sample).static_shape(x.name)
    return np.asarray(op.bind({BATCH: 1}).evaluate(np.broadcast_to(spread, (1, *shape)))[0][0])


@pattern(Scan, reach=2)
def into_scan(rewriter: Rewriter, node: Node, op: Scan, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
    """A sequence `x c + d` whose constants do not vary along it is scanned as x; the body computes the affine map."""
    if node.body is None:
        return None
    body = Graph(node.body.name)
    values = {value: body.input(value.name, value.type) for value in node.body.inputs}
    given = list(operands)
    for index in range(op.states, op.states + op.elements):
        before = _affine_before(operands[index])
        if before is None or any(array.ndim and _varies(array, operands[index].type.rank, op.axis) for array in before[1:]):
            continue
        given[index], inner = before[0], body.inputs[index]
        for combine, array, what in ((Mul(), before[1], "factor"), (Add(), before[2], "shift")):
            spread = array.reshape((1,) * (operands[index].type.rank - array.ndim) + array.shape).take(0, axis=op.axis)
            constant = body.constant(f"{inner.name}.{what}", spread[0].astype(DTYPES[inner.type.real().dtype]))
            values[node.body.inputs[index]] = body.add1(
                combine, values[node.body.inputs[index]], constant, name=f"{inner.name}.{what}ed", origin=node.origin
            )
    if given == list(operands):
        return None
    extend(body, node.body, values)
    return rewriter.emit_all(op, *given, names=[value.name for value in node.outputs], body=body)


def _varies(array: np.ndarray, rank: int, axis: int) -> bool:
    spread = array.reshape((1,) * (rank - array.ndim) + array.shape)
    return spread.shape[0] != 1 or spread.shape[axis] != 1


RULES = (into_scan, batch_norm, into_the_next, sink)
