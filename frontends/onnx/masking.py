"""Masks of attention: minus infinity is added to what a softmax must not see.

A graph holds finite constants only. A sum with a constant that holds minus infinity becomes a sum with the finite part of
it, and `masked`, which the host computes: a softmax turns minus infinity into 0. Anything else that takes infinities is
refused by name.
"""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.masks import hides
from snnir.ir import Value
from snnir.ir.lowering.compose import constant
from snnir.ir.ops import Add, Expand, Masked
from snnir.ir.ops.rules import broadcast

__all__ = ["masked", "masked_sum"]


def masked_sum(call: Call) -> Value | None:
    """`x + mask` where one operand is a known mask; None for any other sum."""
    for known, other in ((0, 1), (1, 0)):
        mask = call.operands[known]
        if isinstance(mask, np.ndarray) and hides(mask):
            x = call.value(other)
            finite = np.where(mask == -np.inf, mask.dtype.type(0), mask)
            if finite.any() or broadcast(x.type.shape, mask.shape) != x.type.shape:
                x = call.emit(Add(), x, constant(call, x, "bias", finite), label="biased")
            return masked(call, x, mask != -np.inf)
    for place, other in ((0, 1), (1, 0)):
        value = call.operands[place]
        if isinstance(value, Value) and value.producer is not None and isinstance(value.producer.op, Masked):
            x, keep = value.producer.operands
            return masked(call, call.emit(Add(), call.value(other), x, label="biased"), keep)
    return None


def masked(call: Call, x: Value, keep: np.ndarray | Value) -> Value:
    """`x` where `keep` holds, else minus infinity."""
    kept = constant(call, x, "kept", keep.astype(np.float32)) if isinstance(keep, np.ndarray) else keep
    shape = broadcast(x.type.shape, kept.type.shape)
    if x.is_constant and not kept.is_constant and x.type.shape != shape:
        x = call.emit(Expand(shape), x, label="spread")
    return call.emit(Masked(), x, kept)
