"""Bodies of what the host looks up, sorts and counts, and of softmax and its kin."""

from __future__ import annotations

import math

import numpy as np

from snnir.ir.ops import (
    ArgMax,
    Find,
    Hardmax,
    LogSoftmax,
    Lookup,
    NonMaxSuppression,
    Range,
    ReverseParts,
    SequenceMask,
    Softmax,
    TopK,
)
from snnir.ir.ops.places import Ranking, TakeAlong, TopValues
from snnir.views.onnx_functions.body import F32, I64, LAST, Body, Term, writes

__all__: list[str] = []


@writes("softmax")
def _softmax(body: Body, op: Softmax, x: Term) -> Term:
    """`Softmax`, and 0 where all of a line is minus infinity."""
    masked = x.reduced("ReduceMax", [op.axis]).equal(-math.inf)
    return masked.where(body.like(0, x.dtype), x.do("Softmax", axis=op.axis))


@writes("log_softmax")
def _log_softmax(body: Body, op: LogSoftmax, x: Term) -> Term:
    return x.do("LogSoftmax", axis=op.axis)


@writes("hardmax")
def _hardmax(body: Body, op: Hardmax, x: Term) -> Term:
    return x.do("Hardmax", axis=op.axis)


@writes("argmax")
def _argmax(body: Body, op: ArgMax, x: Term) -> Term:
    return x.do("ArgMax", dtype=I64, axis=op.axis, keepdims=int(op.keep), select_last_index=int(op.last))


@writes("top_k")
def _top_k(body: Body, op: TopK, x: Term) -> tuple[Term, ...]:
    count = body.integers([op.count])
    return body.applied("TopK", 2, x, count, dtypes=[x.dtype, I64], axis=op.axis, largest=int(op.largest), sorted=1)


@writes("top_values", "top_places")
def _top(body: Body, op: Ranking, x: Term) -> Term:
    """`TopK`, of which equal ones the first come first; turned around for the last ones."""
    line = x.sliced(op.axis, LAST, -LAST, -1) if op.last else x
    count = body.integers([op.count])
    found = body.applied("TopK", 2, line, count, dtypes=[x.dtype, I64], axis=op.axis, largest=int(op.largest), sorted=1)
    if isinstance(op, TopValues):
        return found[0]
    rank = body.node.operands[0].type.rank
    return x.size(op.axis % rank) - 1 - found[1] if op.last else found[1]


@writes("take_along")
def _take_along(body: Body, op: TakeAlong, x: Term, index: Term) -> Term:
    """`GatherElements` of both sides spread over one another's other axes."""
    places = (index.do("Round") if index.dtype.kind == "f" else index).cast(I64)
    wide, chosen = (_beside(other, op.axis) for other in (places, x))
    return x.do("Expand", wide).do("GatherElements", places.do("Expand", chosen), axis=op.axis)


def _beside(x: Term, axis: int) -> Term:
    """The sizes of the axes but one, which has the size 1."""
    before = x.do("Shape", dtype=I64, start=0, end=axis)
    return before.do("Concat", x.body.integers([1]), x.do("Shape", dtype=I64, start=axis + 1), axis=0)


@writes("lookup")
def _lookup(body: Body, op: Lookup, table: Term, index: Term) -> Term:
    rows = index.do("Round") if index.dtype.kind == "f" else index
    return table.do("Gather", rows.cast(I64), axis=0)


@writes("find")
def _find(body: Body, op: Find, x: Term, keys: Term) -> Term:
    """The last key that is the same, else the number of keys."""
    zero = body.like(0, I64)
    count = keys.size(0).do("Squeeze")
    places = body.apply("Range", zero, count, body.like(1, I64))
    found = x.unsqueezed(-1).equal(keys).where(places, -1)
    last = found.do("Concat", _nowhere(body, x), axis=-1).reduced("ReduceMax", [-1], keep=False)
    return (last < 0).where(count, last)


def _nowhere(body: Body, x: Term) -> Term:
    """-1 for each element of `x` along a new last axis, so that there is a greatest one where there are no keys."""
    shape = x.do("Shape", dtype=I64).do("Concat", body.integers([1]), axis=0)
    return body.like(-1, I64).do("Expand", shape)


@writes("reverse_parts")
def _reverse_parts(body: Body, op: ReverseParts, x: Term, lengths: Term) -> Term:
    rank = body.node.operands[0].type.rank
    size = x.size(op.axis).do("Squeeze")
    places = body.apply("Range", body.like(0, I64), size, body.like(1, I64))
    places = places.reshaped(*(-1 if axis == op.axis else 1 for axis in range(rank)))
    ends = lengths.cast(I64).reshaped(*(-1 if axis == op.batch else 1 for axis in range(rank)))
    indices = (places < ends).where(ends - 1 - places, places)
    return x.do("GatherElements", indices.do("Expand", x.do("Shape", dtype=I64)), axis=op.axis)


@writes("sequence_mask")
def _sequence_mask(body: Body, op: SequenceMask, lengths: Term) -> Term:
    length = body.size(op.length).do("Squeeze").cast(lengths.dtype)
    places = body.apply("Range", body.like(0, lengths.dtype), length, body.like(1, lengths.dtype))
    exists = places < lengths.unsqueezed(1)
    return (~exists if op.padding else exists).cast(F32).unsqueezed(2)


@writes("range")
def _range(body: Body, op: Range, start: Term, limit: Term, delta: Term) -> Term:
    return start.do("Range", limit, delta)


@writes("non_max_suppression")
def _non_max_suppression(body: Body, op: NonMaxSuppression, boxes: Term, scores: Term) -> Term:
    limits = [body.integers([op.count]), body.constant(np.array([op.overlap], np.float32))]
    if op.least > -math.inf:
        limits.append(body.constant(np.array([op.least], np.float32)))
    operands = [boxes.cast(F32), scores.cast(F32), *limits]
    return body.apply("NonMaxSuppression", *operands, dtype=I64, center_point_box=int(op.center))
