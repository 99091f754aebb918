"""Bodies of data movement."""

from __future__ import annotations

import numpy as np

from snnir.ir import Dim
from snnir.ir.ops import Concat, Expand, Extend, Gather, Pad, Reshape, Slice, Transpose
from snnir.views.onnx_functions.body import LAST, Body, Term, writes

__all__: list[str] = []


@writes("reshape")
def _reshape(body: Body, op: Reshape, x: Term) -> Term:
    """Sizes that stay where they are are copied (0), one that is not known follows from the others (-1)."""
    before = body.node.operands[0].type.shape
    empty = any(size == 0 for size in (*before, *op.shape))
    sizes = [0 if axis < len(before) and size == before[axis] else size for axis, size in enumerate(op.shape)]
    unknown = [axis for axis, size in enumerate(sizes) if isinstance(size, Dim)]
    if empty or len(unknown) > 1:
        return x.do("Reshape", body.shape(op.shape), allowzero=int(empty))
    return x.reshaped(*(-1 if isinstance(size, Dim) else size for size in sizes))


@writes("transpose")
def _transpose(body: Body, op: Transpose, x: Term) -> Term:
    return x.do("Transpose", perm=list(op.perm))


@writes("slice")
def _slice(body: Body, op: Slice, x: Term) -> Term:
    first, last = (0, LAST) if op.step > 0 else (LAST, -LAST)
    return x.sliced(op.axis, first if op.start is None else op.start, last if op.stop is None else op.stop, op.step)


@writes("gather")
def _gather(body: Body, op: Gather, x: Term) -> Term:
    return x.do("Gather", body.constant(np.array(op.indices, np.int64).reshape(op.shape)), axis=op.axis)


@writes("concat")
def _concat(body: Body, op: Concat, *parts: Term) -> Term:
    return parts[0].do("Concat", *parts[1:], axis=op.axis)


@writes("pad")
def _pad(body: Body, op: Pad, x: Term) -> Term:
    """`Pad` behind a `Slice` that takes away what negative amounts crop."""
    rank = len(op.padding) // 2
    for axis, (before, after) in enumerate(zip(op.padding[:rank], op.padding[rank:], strict=True)):
        start = -before if isinstance(before, int) and before < 0 else 0
        stop = after if isinstance(after, int) and after < 0 else LAST
        if (start, stop) != (0, LAST):
            x = x.sliced(axis, start, stop)
    amounts = [max(amount, 0) if isinstance(amount, int) else amount for amount in op.padding]
    return x.do("Pad", body.shape(amounts), body.like(0, x.dtype))


@writes("extend")
def _extend(body: Body, op: Extend, x: Term) -> Term:
    return x.do("Pad", body.shape(op.padding), mode=op.mode)


@writes("expand")
def _expand(body: Body, op: Expand, x: Term) -> Term:
    """Sizes that are there already need not be known: `Expand` keeps them where 1 is asked for."""
    shape = body.node.operands[0].type.shape
    before = (*(1 for _ in range(len(op.shape) - len(shape))), *shape)
    return x.do("Expand", body.shape([1 if size == given else size for size, given in zip(op.shape, before, strict=True)]))
