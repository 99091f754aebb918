"""Padding with any number: zeros around a value, and a border added to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snnir.ir.dims import Dim, Dimension, concrete
from snnir.ir.graph import Value
from snnir.ir.lowering.builder import Builder, RefusalError
from snnir.ir.lowering.compose import constant, plus, times
from snnir.ir.lowering.masks import masked
from snnir.ir.ops import Add, Expand, Pad

__all__ = ["padded"]


def padded(call: Builder, x: Value, amounts: Sequence[Dimension], filling: float) -> Value:
    """`x` with `filling` around it (`amounts`: begins of all axes, then ends); minus infinity is a mask.

    Raises `RefusalError` for numbers around the batch, and for infinities that no mask takes.
    """
    rank, op = x.type.rank, Pad(tuple(amounts))
    if filling == 0:
        return call.emit(op, x)
    if not np.isfinite(filling) and filling != -np.inf:
        raise RefusalError(f"it pads with {filling}")
    wide = [axis for axis in range(rank) if amounts[axis] != 0 or amounts[axis + rank] != 0]
    if x.type.batch_axis in wide:
        raise RefusalError("it pads the batch")
    shape = tuple(size if axis in wide else 1 for axis, size in enumerate(x.type.shape))
    zeros = call.emit(op, x, label="zeros")
    if not any(isinstance(size, Dim) for size in (*shape, *amounts)):
        inside = op.fill(np.ones([concrete(size) for size in shape], np.float32), 0)
        if filling == -np.inf:
            return masked(call, zeros, inside == 1)
        return call.emit(Add(), zeros, constant(call, x, "border", (1 - inside) * filling))
    ones = call.emit(Expand(shape), constant(call, x, "one", np.ones((1,) * rank)), label="ones")
    kept = call.emit(op, ones, label="inside")
    if filling == -np.inf:
        return masked(call, zeros, kept)
    return call.emit(Add(), zeros, plus(call, times(call, kept, -filling, "outside"), filling, "border"))
