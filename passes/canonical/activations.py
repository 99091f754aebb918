"""Activations and the model's own quantizers: before data movement, merged, and with the bounds of clips."""

from __future__ import annotations

import dataclasses

from snnir.ir import Node, Quantization, Value
from snnir.ir.op import Trait
from snnir.ir.ops import Clip, Concat, Elementwise, FakeQuantize, Pad, Relu
from snnir.ir.rewrite import Rewriter
from snnir.ir.worklist import pattern
from snnir.passes.affine import used_once

__all__ = ["RULES"]


@pattern(Relu)
def relu(rewriter: Rewriter, node: Node, op: Relu, operands: tuple[Value, ...]) -> Value | None:
    """`relu(x)` becomes `clip(x)` to 0..inf."""
    return rewriter.emit(Clip(low=0.0), operands[0], name=node.output.name)


@pattern(Clip, after=(Clip,))
def merge_clips(rewriter: Rewriter, node: Node, op: Clip, operands: tuple[Value, ...]) -> Value | None:
    """Two clips become the one that gives what both give."""
    inner = operands[0].producer
    if inner is None or not isinstance(inner.op, Clip) or not used_once(node, 0):
        return None
    low, high = (min(max(end, op.low), op.high) for end in (inner.op.low, inner.op.high))
    return rewriter.emit(Clip(low, high), inner.operands[0], name=node.output.name)


@pattern(Clip, after=(FakeQuantize,))
def clip_of_levels(rewriter: Rewriter, node: Node, op: Clip, operands: tuple[Value, ...]) -> Value | None:
    """A clip to two levels of the quantizer before it becomes the bounds of that quantizer."""
    inner = operands[0].producer
    if inner is None or not isinstance(inner.op, FakeQuantize) or not op.low <= 0 <= op.high:
        return None
    levels = inner.op.quantization
    lo, hi = max(op.low / levels.scale, levels.lo), min(op.high / levels.scale, levels.hi)
    if lo != round(lo) or hi != round(hi):  # the end of the clip is no level
        return None
    return _bounded(rewriter, node, inner.operands[0], inner.op, int(lo), int(hi))


@pattern(FakeQuantize, after=(FakeQuantize,))
def same_levels(rewriter: Rewriter, node: Node, op: FakeQuantize, operands: tuple[Value, ...]) -> Value | None:
    """Rounding levels to levels of the same scale changes nothing within the bounds."""
    inner = operands[0].producer
    if inner is None or not isinstance(inner.op, FakeQuantize) or op.rounding == "bipolar":
        return None
    if inner.op.quantization.scale != op.quantization.scale:
        return None
    return _bounded(rewriter, node, inner.operands[0], inner.op, op.quantization.lo, op.quantization.hi)


@pattern(FakeQuantize, after=(Concat,))
def quantizer_first(rewriter: Rewriter, node: Node, op: FakeQuantize, operands: tuple[Value, ...]) -> Value | None:
    """`quantize(concat(a, b))` becomes `concat(quantize(a), quantize(b))`."""
    inner = operands[0].producer
    if inner is None or not used_once(node, 0):
        return None
    parts = [rewriter.emit(op, part, name=f"{node.output.name}.part") for part in inner.operands]
    return rewriter.emit(inner.op, *parts, name=node.output.name, origin=inner.origin)


@pattern(Elementwise)
def activation_first(rewriter: Rewriter, node: Node, op: Elementwise, operands: tuple[Value, ...]) -> Value | None:
    """`f(move(x))` becomes `move(f(x))`, so that the activation meets the sum it belongs to.

    It stays behind a movement that brings the batch to the front: neurons have it there.
    """
    inner = operands[0].producer
    if inner is None or not used_once(node, 0):
        return None
    movable = inner.op.has(Trait.SELECTS) and not isinstance(inner.op, Concat | Pad)
    if not movable or inner.operands[0].producer is None:
        return None
    if operands[0].type.batch_axis == 0 and inner.operands[0].type.batch_axis != 0:
        return None
    first = rewriter.emit(op, inner.operands[0], name=f"{node.output.name}.f")
    return rewriter.emit(inner.op, first, name=node.output.name, origin=inner.origin)


def _bounded(rewriter: Rewriter, node: Node, source: Value, op: FakeQuantize, lo: int, hi: int) -> Value | None:
    """What `node`, which takes the result of the quantizer `op` of `source`, becomes: that quantizer with levels in lo..hi."""
    levels = op.quantization
    if lo <= levels.lo and levels.hi <= hi:
        return node.operands[0]
    if not used_once(node, 0) or op.rounding == "bipolar":
        return None
    narrow = dataclasses.replace(op, quantization=Quantization(levels.scale, max(lo, levels.lo), min(hi, levels.hi)))
    return rewriter.emit(narrow, source, name=node.output.name)


RULES = (relu, merge_clips, clip_of_levels, same_levels, quantizer_first, activation_first)
