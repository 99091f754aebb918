"""Elements taken from, and written at, places that change with the input, each sample by itself."""

from __future__ import annotations

import numpy as np

from snnir.ir.dims import Dim, concrete, product
from snnir.ir.graph import Value
from snnir.ir.lowering.builder import Builder, RefusalError
from snnir.ir.lowering.compose import constant, largest_over, reshaped, static, sum_over, transposed
from snnir.ir.ops import Add, Lookup, Mul, Slice, Sub, TakeAlong

__all__ = ["taken", "taken_rows", "written_at"]


def taken(call: Builder, x: Value, index: Value, axis: int, label: str = "") -> Value:
    """`x` at the places `index` along `axis` (torch.gather, ONNX GatherElements): along other axes each element at its own.

    Raises `RefusalError` where the axis is the batch, or its length is not known.
    """
    if index.type.rank != x.type.rank:
        raise RefusalError(f"its index has {index.type.rank} axes, and the data {x.type.rank}")
    _within_samples(x, axis)
    for other, (size, wanted) in enumerate(zip(x.type.shape, index.type.shape, strict=True)):
        if other != axis and size != wanted and isinstance(wanted, int):  # an index may be asked for fewer elements
            x = call.emit(Slice(other, 0, wanted), x, label=f"{label or 'result'}.axis{other}")
    return call.emit(TakeAlong(axis), x, index, label=label)


def taken_rows(call: Builder, x: Value, index: Value, axis: int, shared: bool = False, label: str = "") -> Value:
    """Whole parts of `x` at the places `index` along `axis`, as ONNX's Gather; with `shared`, the axes of the index before that
    are those of `x`, as in ONNX's GatherND. Raises `RefusalError` where samples would be taken from one another.
    """
    _within_samples(x, axis)
    batches = {x.type.batch_axis, index.type.batch_axis}
    if len(batches) > 1 or (batches != {None} and not (shared and (x.type.batch_axis or 0) < axis)):
        raise RefusalError(
            f"it takes parts of {x.type} at places {index.type} that change with the input, and would mix samples; "
            "take elements of each sample (torch.gather or take_along_dim, ONNX GatherElements)"
        )
    lead, rest = x.type.shape[:axis], x.type.shape[axis + 1 :]
    own = index.type.shape[axis if shared else 0 :]
    before = lead if shared else (1,) * axis
    places = reshaped(call, index, (*before, product(own), *([1] * len(rest))), f"{label or 'result'}.places")
    rows = call.emit(TakeAlong(axis), x, places, label=f"{label or 'result'}.rows")
    return reshaped(call, rows, (*lead, *own, *rest), label)


def written_at(call: Builder, x: Value, index: Value, axis: int, news: Value | float, reduction: str) -> Value:
    """`x` with `news` at the places `index` along `axis` (torch.scatter, ONNX ScatterElements); `reduction` is none or add.

    `x (1 - hit) + sum over k of hot[k] news[k]`, where hot[k] is 1 at place k of the index. Raises `RefusalError`.
    """
    if reduction not in ("none", "add"):
        raise RefusalError(
            f"it writes at places that change with the input, with reduction {reduction!r}; only none and add can be"
        )
    if index.type.rank != x.type.rank:
        raise RefusalError(f"its index has {index.type.rank} axes, and the data {x.type.rank}")
    _within_samples(x, axis)
    for other, (size, wanted) in enumerate(zip(x.type.shape, index.type.shape, strict=True)):
        if other != axis and size != wanted:
            raise RefusalError(f"it writes to some places of axis {other} only: {index.type} into {x.type}")
    rank, (size,) = x.type.rank, static((x.type.shape[axis],), "writing elements")
    last = [*(other for other in range(rank) if other != axis), axis]
    data, places = transposed(call, x, last, "lines"), transposed(call, index, last, "places")
    hot = call.emit(Lookup(), call.array("unit", np.eye(size, dtype=np.float32)), places, label="hot")
    once = concrete(places.type.shape[-1]) == 1
    hit = reshaped(call, hot, data.type.shape, "hit") if once else largest_over(call, hot, (rank - 1,), False, "hit")
    if isinstance(news, Value):
        column = transposed(call, news, last, "news")
        column = reshaped(call, column, (*column.type.shape, 1), "column")
        written = sum_over(call, call.emit(Mul(), hot, column, label="each"), (rank - 1,), False, "written")
    else:
        written = call.emit(Mul(), hit, constant(call, x, "value", news), label="written")
    if reduction == "none":
        left = call.emit(Sub(), constant(call, x, "one", 1.0), hit, label="left")
        data = call.emit(Mul(), data, left, label="kept")
    found = call.emit(Add(), data, written, label="found" if axis != rank - 1 else "")
    return found if axis == rank - 1 else transposed(call, found, [int(place) for place in np.argsort(last)])


def _within_samples(x: Value, axis: int) -> None:
    if axis == x.type.batch_axis:
        raise RefusalError(
            "its index, which changes with the input, chooses among samples; only elements of a sample can be taken"
        )
    if isinstance(x.type.shape[axis], Dim):
        raise RefusalError(f"it takes elements of an axis of {x.type.shape[axis]}, whose length changes with the input; give it")
