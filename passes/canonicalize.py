"""Canonicalize: many ways to write one function become one, and adjacent affine ops one."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from snnir.ir import FLOAT, Graph, Node, Quantization, Value
from snnir.ir.ops import (
    Add,
    Clip,
    Concat,
    Conv,
    Div,
    Elementwise,
    FakeQuantize,
    Linear,
    MatMul,
    MaxPool,
    Movement,
    Mul,
    Pad,
    Relu,
    Reshape,
    Sub,
    Transpose,
)
from snnir.ir.rewrite import Rewriter
from snnir.passes.affine import channel_vector, is_constant, used_once
from snnir.passes.infra import Context, Pass, Result, register
from snnir.passes.properties import RELU_IS_CLIP
from snnir.passes.remove_dead_code import rebuild_until_settled

__all__ = ["Canonicalize"]


@register
@dataclass(frozen=True)
class Canonicalize(Pass):
    """Bring equivalent forms to one form, until nothing changes.

    1. `sub` and `div` by constants, and differences, become `add` and `mul`; constants stand on the right.
    2. `matmul` with a constant side becomes `linear` (transposed where the constant is on the left).
    3. Chains of `mul` and `add` by constants merge; `mul` and `add` per channel go into the `linear` or `conv` before.
    4. `pad` of spatial axes goes into the `conv` after it.
    5. Reshapes and transposes that follow one another merge, and vanish where they change nothing.
    6. An activation goes before the data movement or `max_pool` it follows: both commute with increasing functions.
    7. A `linear` goes before a reshape that merges the batch with axes before its own, so that the batch stays an axis.
    8. A quantizer of the model itself goes before the `concat` it follows, vanishes where its operand has its levels
       already, and takes the clip of its levels that follows it as bounds.
    9. `relu` is `clip` to 0..inf, and clips that follow one another merge.
    """

    name = "canonicalize"
    takes = gives = FLOAT
    ensures = (RELU_IS_CLIP,)

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass."""
        hits: Counter[str] = Counter()
        new, changed = rebuild_until_settled(graph, _rule, hits)
        return Result(new, changed, rewrites=hits)


_RuleFunction = Callable[[Rewriter, Node, tuple[Value, ...]], Value | None]


def _rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
    for op, rules in _RULES:
        if isinstance(node.op, op):
            for rule in rules:
                value = rule(rewriter, node, operands)
                if value is not None:
                    rewriter.applied = rule.__name__.strip("_").replace("_", " ")
                    return (value,)
    return None


def _difference(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> Value | None:
    a, b = operands
    name = node.output.name
    if is_constant(b):
        return rewriter.emit(Add(), a, rewriter.constant(f"{b.name}.neg", -b.array), name=name)
    minus = rewriter.constant("minus_one", np.array(-1, b.array.dtype if is_constant(b) else np.float32))
    return rewriter.emit(Add(), rewriter.emit(Mul(), b, minus, name=f"{name}.neg"), a, name=name)


def _quotient(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> Value | None:
    a, b = operands
    if not is_constant(b) or np.any(b.array == 0):
        return None
    inverse = (1 / b.array.astype(np.float64)).astype(b.array.dtype)
    return rewriter.emit(Mul(), a, rewriter.constant(f"{b.name}.inverse", inverse), name=node.output.name)


def _constant_right(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> Value | None:
    a, b = operands
    return rewriter.emit(node.op, b, a, name=node.output.name) if is_constant(a) and not is_constant(b) else None


def _matmul(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> Value | None:
    a, b = operands
    name = node.output.name
    if is_constant(b) and not is_constant(a):
        matrix = (
            b.array.reshape(b.array.shape[-2:]) if b.array.ndim > 2 and b.array.size == np.prod(b.array.shape[-2:]) else b.array
        )
        if matrix.ndim == 1:
            column = rewriter.emit(Linear(), a, rewriter.constant(b.name, matrix[None, :]), name=f"{name}.column")
            return rewriter.emit(Reshape(column.type.shape[:-1]), column, name=name)
        if matrix.ndim == 2 and a.type.rank >= max(b.array.ndim, 1):
            return rewriter.emit(Linear(), a, rewriter.constant(f"{b.name}.T", np.ascontiguousarray(matrix.T)), name=name)
    if is_constant(a) and not is_constant(b) and a.array.ndim == 2 and b.type.rank >= 2:
        swap = (*range(b.type.rank - 2), b.type.rank - 1, b.type.rank - 2)
        turned = rewriter.emit(Transpose(swap), b, name=f"{name}.in")
        return rewriter.emit(Transpose(swap), rewriter.emit(Linear(), turned, a, name=f"{name}.T"), name=name)
    return None


def _merge_constants(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> Value | None:
    """`(x c) c'` and `(x + c) + c'` become one op; `(x + c) c'` becomes `x c' + c c'`; `(x + c) + y` becomes `(x + y) + c`."""
    a, b = operands
    inner, name = a.producer, node.output.name
    if isinstance(node.op, Add) and not is_constant(a) and not is_constant(b):
        return _constants_last(rewriter, node, operands)
    if not is_constant(b) or inner is None or not used_once(node, 0) or not isinstance(inner.op, Add | Mul):
        return None
    x, c = inner.operands
    if not is_constant(c):
        return None
    if type(inner.op) is type(node.op):
        both = c.array * b.array if isinstance(node.op, Mul) else c.array + b.array
        return rewriter.emit(node.op, x, rewriter.constant(f"{c.name}.{node.op.name}", both), name=name)
    if isinstance(node.op, Mul):
        scaled = rewriter.emit(Mul(), x, b, name=f"{name}.scaled")
        return rewriter.emit(Add(), scaled, rewriter.constant(f"{c.name}.mul", c.array * b.array), name=name)
    return None


def _constants_last(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> Value | None:
    for position, value in enumerate(operands):
        inner = value.producer
        if inner is not None and isinstance(inner.op, Add) and is_constant(inner.operands[1]) and used_once(node, position):
            other = operands[1 - position]
            x, c = inner.operands
            total = rewriter.emit(Add(), x, other, name=f"{node.output.name}.sum")
            return rewriter.emit(Add(), total, c, name=node.output.name)
    return None


def _into_weights(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> Value | None:
    """`linear(x) c`, `linear(x) + c` and the same after `conv`, with c per channel, become one op."""
    a, c = operands
    inner = a.producer
    if not is_constant(c) or inner is None or not isinstance(inner.op, Linear | Conv) or not used_once(node, 0):
        return None
    if not all(is_constant(value) for value in inner.operands[1:]) or node.output.type.shape != a.type.shape:
        return None
    weight = inner.operands[1]
    vector = channel_vector(c.array, a.type.rank, weight.array.shape[0], axis=1 if isinstance(inner.op, Conv) else -1)
    if vector is None:
        return None
    zero = np.zeros(weight.array.shape[0], weight.array.dtype)
    bias = inner.operands[2].array if len(inner.operands) == 3 else zero
    if isinstance(node.op, Mul):
        scaled = weight.array * vector.reshape(-1, *([1] * (weight.array.ndim - 1)))
        weight, bias = rewriter.constant(f"{weight.name}.scaled", scaled), bias * vector
    else:
        bias = bias + vector
    operands = (inner.operands[0], weight)
    if bias.any() or len(inner.operands) == 3:
        operands += (rewriter.constant(f"{node.output.name}.bias", bias),)
    return rewriter.graph.add1(inner.op, *operands, name=node.output.name, origin=(*inner.origin, *node.origin))


def _pad_into_conv(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner, op = operands[0].producer, node.op
    if inner is None or not isinstance(inner.op, Pad) or not isinstance(op, Conv):
        return None
    rank, amounts = operands[0].type.rank, [amount for amount in inner.op.padding if isinstance(amount, int)]
    if len(amounts) < 2 * rank or min(amounts) < 0 or any(amounts[axis] for axis in (0, 1, rank, rank + 1)):
        return None
    extra = (*amounts[2:rank], *amounts[rank + 2 :])
    padding = tuple(a + b for a, b in zip(op.padding, extra, strict=True))
    return rewriter.emit(dataclasses.replace(op, padding=padding), inner.operands[0], *operands[1:], name=node.output.name)


def _merge_movement(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> Value | None:
    (x,) = operands
    op, inner = node.op, x.producer
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


def _linear_first(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> Value | None:
    x, *rest = operands
    inner = x.producer
    if inner is None or not isinstance(inner.op, Reshape) or x.type.batch_axis is not None:
        return None
    source = inner.operands[0]
    if source.type.batch_axis is None or source.type.rank < 2 or source.type.shape[-1] != x.type.shape[-1]:
        return None
    result = rewriter.emit(node.op, source, *rest, name=f"{node.output.name}.whole")
    return rewriter.emit(Reshape(node.output.type.shape), result, name=node.output.name)


def _activation_first(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> Value | None:
    """`f(move(x))` becomes `move(f(x))`, so that the activation meets the sum it belongs to."""
    inner = operands[0].producer
    if inner is None or not used_once(node, 0):
        return None
    movable = isinstance(inner.op, Movement) and not isinstance(inner.op, Concat | Pad)
    if not (movable or isinstance(inner.op, MaxPool)) or inner.operands[0].producer is None:
        return None
    first = rewriter.emit(node.op, inner.operands[0], name=f"{node.output.name}.f")
    return rewriter.emit(inner.op, first, name=node.output.name, origin=inner.origin)


def _relu(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> Value | None:
    return rewriter.emit(Clip(low=0.0), operands[0], name=node.output.name)


def _merge_clips(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner, op = operands[0].producer, node.op
    if inner is None or not isinstance(inner.op, Clip) or not isinstance(op, Clip) or not used_once(node, 0):
        return None
    low, high = (min(max(end, op.low), op.high) for end in (inner.op.low, inner.op.high))
    return rewriter.emit(Clip(low, high), inner.operands[0], name=node.output.name)


def _same_levels(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> Value | None:
    """Rounding levels to levels of the same worth changes nothing within the bounds."""
    inner, op = operands[0].producer, node.op
    if inner is None or not isinstance(inner.op, FakeQuantize) or not isinstance(op, FakeQuantize) or op.rounding == "bipolar":
        return None
    if inner.op.quantization.scale != op.quantization.scale:
        return None
    return _bounded(rewriter, node, operands[0], inner.op, op.quantization.lo, op.quantization.hi)


def _clip_of_levels(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner, op = operands[0].producer, node.op
    if inner is None or not isinstance(inner.op, FakeQuantize) or not isinstance(op, Clip) or not op.low <= 0 <= op.high:
        return None
    levels = inner.op.quantization
    lo, hi = max(op.low / levels.scale, levels.lo), min(op.high / levels.scale, levels.hi)
    if lo != round(lo) or hi != round(hi):  # the clip's end is worth no level
        return None
    return _bounded(rewriter, node, operands[0], inner.op, int(lo), int(hi))


def _bounded(rewriter: Rewriter, node: Node, value: Value, op: FakeQuantize, lo: int, hi: int) -> Value | None:
    """The quantizer `op`, whose result is `value`, with its levels in lo..hi besides."""
    levels = op.quantization
    if lo <= levels.lo and levels.hi <= hi:
        return value
    if not used_once(node, 0) or op.rounding == "bipolar":
        return None
    narrow = dataclasses.replace(op, quantization=Quantization(levels.scale, max(lo, levels.lo), min(hi, levels.hi)))
    assert value.producer is not None
    return rewriter.emit(narrow, value.producer.operands[0], name=node.output.name)


def _quantizer_first(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = operands[0].producer
    if inner is None or not isinstance(inner.op, Concat) or not used_once(node, 0):
        return None
    parts = [rewriter.emit(node.op, part, name=f"{node.output.name}.part") for part in inner.operands]
    return rewriter.emit(inner.op, *parts, name=node.output.name, origin=inner.origin)


_RULES: tuple[tuple[type, tuple[_RuleFunction, ...]], ...] = (
    (Sub, (_difference,)),
    (Div, (_quotient,)),
    (Add, (_constant_right, _into_weights, _merge_constants)),
    (Mul, (_constant_right, _into_weights, _merge_constants)),
    (MatMul, (_matmul,)),
    (Conv, (_pad_into_conv,)),
    (Linear, (_linear_first,)),
    (Reshape, (_merge_movement,)),
    (Transpose, (_merge_movement,)),
    (Relu, (_relu,)),
    (Clip, (_merge_clips, _clip_of_levels)),
    (FakeQuantize, (_same_levels, _quantizer_first)),
    (Elementwise, (_activation_first,)),
)
