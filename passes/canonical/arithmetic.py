"""Arithmetic with constants: one form for sums, differences, products and quotients."""

from __future__ import annotations

import numpy as np

from snnir.ir import Node, Value
from snnir.ir.ops import Add, Conv, Div, Linear, MatMul, Mul, Reshape, Sub, Transpose
from snnir.ir.rewrite import Rewriter
from snnir.ir.worklist import pattern
from snnir.passes.affine import channel_vector, is_constant, used_once

__all__ = ["RULES"]


@pattern(Sub)
def difference(rewriter: Rewriter, node: Node, op: Sub, operands: tuple[Value, ...]) -> Value | None:
    """`a - b` becomes `a + -b`; a constant is negated, another value multiplied by -1."""
    a, b = operands
    name = node.output.name
    if is_constant(b):
        return rewriter.emit(Add(), a, rewriter.constant(f"{b.name}.neg", -b.array), name=name)
    minus = rewriter.constant("minus_one", np.array(-1, b.array.dtype if is_constant(b) else np.float32))
    return rewriter.emit(Add(), rewriter.emit(Mul(), b, minus, name=f"{name}.neg"), a, name=name)


@pattern(Div)
def quotient(rewriter: Rewriter, node: Node, op: Div, operands: tuple[Value, ...]) -> Value | None:
    """`a / c` becomes `a (1/c)`, where c has no zeros."""
    a, b = operands
    if not is_constant(b) or np.any(b.array == 0):
        return None
    inverse = (1 / b.array.astype(np.float64)).astype(b.array.dtype)
    return rewriter.emit(Mul(), a, rewriter.constant(f"{b.name}.inverse", inverse), name=node.output.name)


@pattern(Add, Mul)
def constant_right(rewriter: Rewriter, node: Node, op: Add | Mul, operands: tuple[Value, ...]) -> Value | None:
    """Constants stand on the right of sums and products."""
    a, b = operands
    return rewriter.emit(op, b, a, name=node.output.name) if is_constant(a) and not is_constant(b) else None


@pattern(Add, Mul, after=(Linear, Conv))
def into_weights(rewriter: Rewriter, node: Node, op: Add | Mul, operands: tuple[Value, ...]) -> Value | None:
    """`linear(x) c`, `linear(x) + c` and the same after `conv`, with c per channel, become one op."""
    a, c = operands
    inner = a.producer
    if not is_constant(c) or inner is None or not used_once(node, 0):
        return None
    if not all(is_constant(value) for value in inner.operands[1:]) or node.output.type.shape != a.type.shape:
        return None
    weight = inner.operands[1]
    vector = channel_vector(c.array, a.type.rank, weight.array.shape[0], axis=1 if isinstance(inner.op, Conv) else -1)
    if vector is None:
        return None
    zero = np.zeros(weight.array.shape[0], weight.array.dtype)
    bias = inner.operands[2].array if len(inner.operands) == 3 else zero
    if isinstance(op, Mul):
        scaled = weight.array * vector.reshape(-1, *([1] * (weight.array.ndim - 1)))
        weight, bias = rewriter.constant(f"{weight.name}.scaled", scaled), bias * vector
    else:
        bias = bias + vector
    operands = (inner.operands[0], weight)
    if bias.any() or len(inner.operands) == 3:
        operands += (rewriter.constant(f"{node.output.name}.bias", bias),)
    return rewriter.graph.add1(inner.op, *operands, name=node.output.name, origin=(*inner.origin, *node.origin))


@pattern(Add, Mul, after=(Add, Mul))
def merge_constants(rewriter: Rewriter, node: Node, op: Add | Mul, operands: tuple[Value, ...]) -> Value | None:
    """`(x c) c'` and `(x + c) + c'` become one op; `(x + c) c'` becomes `x c' + c c'`."""
    a, b = operands
    inner, name = a.producer, node.output.name
    if not is_constant(b) or inner is None or not used_once(node, 0):
        return None
    x, c = inner.operands
    if not is_constant(c):
        return None
    if type(inner.op) is type(op):
        both = c.array * b.array if isinstance(op, Mul) else c.array + b.array
        return rewriter.emit(op, x, rewriter.constant(f"{c.name}.{op.name}", both), name=name)
    if isinstance(op, Mul):
        scaled = rewriter.emit(Mul(), x, b, name=f"{name}.scaled")
        return rewriter.emit(Add(), scaled, rewriter.constant(f"{c.name}.mul", c.array * b.array), name=name)
    return None


@pattern(Add)
def constants_last(rewriter: Rewriter, node: Node, op: Add, operands: tuple[Value, ...]) -> Value | None:
    """`(x + c) + y` becomes `(x + y) + c`."""
    if any(is_constant(value) for value in operands):
        return None
    for position, value in enumerate(operands):
        inner = value.producer
        if inner is not None and isinstance(inner.op, Add) and is_constant(inner.operands[1]) and used_once(node, position):
            other = operands[1 - position]
            x, c = inner.operands
            total = rewriter.emit(Add(), x, other, name=f"{node.output.name}.sum")
            return rewriter.emit(Add(), total, c, name=node.output.name)
    return None


@pattern(MatMul)
def matmul(rewriter: Rewriter, node: Node, op: MatMul, operands: tuple[Value, ...]) -> Value | None:
    """`matmul` with a constant side becomes `linear`, between transposes where the constant is on the left."""
    a, b = operands
    name = node.output.name
    if is_constant(b) and not is_constant(a):
        matrix = _one_matrix(b.array)
        if matrix.ndim == 1:
            column = rewriter.emit(Linear(), a, rewriter.constant(b.name, matrix[None, :]), name=f"{name}.column")
            return rewriter.emit(Reshape(column.type.shape[:-1]), column, name=name)
        if matrix.ndim == 2 and a.type.rank >= max(b.array.ndim, 1):
            return rewriter.emit(Linear(), a, rewriter.constant(f"{b.name}.T", np.ascontiguousarray(matrix.T)), name=name)
    if is_constant(a) and not is_constant(b) and b.type.rank >= a.array.ndim >= 2 and (left := _one_matrix(a.array)).ndim == 2:
        swap = (*range(b.type.rank - 2), b.type.rank - 1, b.type.rank - 2)
        turned = rewriter.emit(Transpose(swap), b, name=f"{name}.in")
        weight = a if left is a.array else rewriter.constant(f"{a.name}.matrix", left)
        return rewriter.emit(Transpose(swap), rewriter.emit(Linear(), turned, weight, name=f"{name}.T"), name=name)
    return None


def _one_matrix(array: np.ndarray) -> np.ndarray:
    """A stack of one matrix as that matrix; any other array as it is."""
    alone = array.ndim > 2 and array.size == np.prod(array.shape[-2:])
    return array.reshape(array.shape[-2:]) if alone else array


RULES = (difference, quotient, constant_right, into_weights, merge_constants, constants_last, matmul)
