"""Masks of attention: minus infinity is added to what a softmax must not see.

A graph holds finite constants only. A sum with a constant that holds minus infinity becomes a sum with the finite part of
it, and `masked`, which the host computes: a softmax turns minus infinity into 0. Anything else that takes infinities is
refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from snnir.ir.graph import Value
from snnir.ir.lowering.builder import Builder
from snnir.ir.lowering.compose import constant
from snnir.ir.op import Op
from snnir.ir.ops import Add, Cast, Expand, Masked, Movement, Pad
from snnir.ir.ops.rules import broadcast

__all__ = ["hides", "masked", "masked_sum"]


def hides(array: object) -> bool:
    """Whether a known tensor holds minus infinity, and else finite numbers."""
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        return False
    hidden = array == -np.inf
    return bool(hidden.any() and np.isfinite(array[~hidden]).all())


def masked_sum(call: Builder, operands: Sequence[object], value: Callable[[int], Value], label: str = "") -> Value | None:
    """`x + mask` where one of two operands is a known mask, or the result of another; None for any other sum.

    `operands` hold arrays where they are known, and `value` gives one of them as a value.
    """
    for known, other in ((0, 1), (1, 0)):
        mask = operands[known]
        if isinstance(mask, np.ndarray) and hides(mask):
            x = value(other)
            finite = np.where(mask == -np.inf, mask.dtype.type(0), mask)
            if finite.any() or broadcast(x.type.shape, mask.shape) != x.type.shape:
                x = call.emit(Add(), x, constant(call, x, "bias", finite), label="biased")
            return masked(call, x, mask != -np.inf, label)
    for place, other in ((0, 1), (1, 0)):
        operand = operands[place]
        parts = _parts(call, operand) if isinstance(operand, Value) else None
        if parts is not None:
            x, keep = parts
            scores = value(other)
            nothing = _is_zero(x) and broadcast(scores.type.shape, keep.type.shape) == scores.type.shape
            return masked(call, scores if nothing else call.emit(Add(), scores, x, label="biased"), keep, label)
    return None


def _parts(call: Builder, mask: Value) -> tuple[Value, Value] | None:
    """What a masked value masks, and where it is kept, both moved as the masked value was; None for any other value."""
    moves: list[Op] = []
    node = mask.producer
    while node is not None and isinstance(node.op, Movement) and len(node.operands) == 1:
        moves.append(node.op)
        node = node.operands[0].producer
    if node is None or not isinstance(node.op, Masked):
        return None
    x, keep = node.operands
    shape = node.output.type.shape
    for number, op in enumerate(reversed(moves)):
        whole = []
        for part, label in ((x, f"moved{number}"), (keep, f"kept{number}")):
            spread = part if part.type.shape == shape else call.emit(Expand(shape), part, label=f"{label}.spread")
            whole.append(call.emit(op, spread, label=label))
        x, keep = whole
        shape = x.type.shape
    return x, keep


def _is_zero(x: Value) -> bool:
    """Whether a value is a constant 0, moved or spread or not."""
    while x.producer is not None and isinstance(x.producer.op, Movement) and len(x.producer.operands) == 1:
        if isinstance(x.producer.op, Pad):
            return False
        x = x.producer.operands[0]
    return x.is_constant and not x.array.any()


def masked(call: Builder, x: Value, keep: np.ndarray | Value, label: str = "") -> Value:
    """`x` where `keep` holds, else minus infinity."""
    kept = constant(call, x, "kept", keep.astype(np.float32)) if isinstance(keep, np.ndarray) else keep
    if kept.type.is_exact:  # truth that comes with the data: neurons stand for the real numbers 0 and 1
        kept = call.emit(Cast(x.type.dtype), kept, label="kept")
    shape = broadcast(x.type.shape, kept.type.shape)
    if x.is_constant and not kept.is_constant and x.type.shape != shape:
        x = call.emit(Expand(shape), x, label="spread")
    return call.emit(Masked(), x, kept, label=label)
