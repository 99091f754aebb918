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
from snnir.ir.ops import Add, Expand, Masked
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
        if isinstance(operand, Value) and operand.producer is not None and isinstance(operand.producer.op, Masked):
            x, keep = operand.producer.operands
            return masked(call, call.emit(Add(), value(other), x, label="biased"), keep, label)
    return None


def masked(call: Builder, x: Value, keep: np.ndarray | Value, label: str = "") -> Value:
    """`x` where `keep` holds, else minus infinity."""
    kept = constant(call, x, "kept", keep.astype(np.float32)) if isinstance(keep, np.ndarray) else keep
    shape = broadcast(x.type.shape, kept.type.shape)
    if x.is_constant and not kept.is_constant and x.type.shape != shape:
        x = call.emit(Expand(shape), x, label="spread")
    return call.emit(Masked(), x, kept, label=label)
