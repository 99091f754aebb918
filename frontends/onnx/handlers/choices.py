"""Choices that the host makes: rows of tables by token, one-hot vectors, the largest elements."""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import real, reshaped, transposed
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Value
from snnir.ir.dims import product
from snnir.ir.ops import Hardmax, Lookup, NonMaxSuppression, TopK

__all__ = ["looked_up"]


def looked_up(call: Call, table: np.ndarray, index: Value) -> Value:
    """Rows of a known table, by an input that holds whole numbers (`Gather` along axis 0: an embedding)."""
    if call.axis(call.integer("axis", 0), table.ndim) != 0:
        raise RefusalError("it chooses by the input along another axis than 0 of a table; transpose the table")
    return call.emit(Lookup(), call.constant(call.node.input[0], table), index)


@handler("OneHot", "lookup", "transpose")
def one_hot(call: Call) -> list[Result]:
    """A known depth and known values: rows of the unit matrix."""
    index = call.value(0)
    (depth,) = call.known_integers(1, "the depth")
    off, on = (float(number) for number in call.known(2, "the values").reshape(-1))
    table = off + (on - off) * np.eye(depth)
    axis = call.axis(call.integer("axis", -1), index.type.rank + 1)
    rank = index.type.rank
    perm = [*range(axis), rank, *range(axis, rank)]
    label = "" if perm == list(range(rank + 1)) else "rows"
    rows = call.emit(Lookup(), call.constant(f"{call.name()}.unit", table.astype(np.float32)), index, label=label)
    return [transposed(call, rows, perm)]


@handler("Hardmax", "hardmax", "reshape")
def hardmax(call: Call) -> list[Result]:
    """On the host."""
    x = real(call, 0)
    axis = call.axis(call.integer("axis", -1 if call.opset >= 13 else 1), x.type.rank)
    if call.opset >= 13 or axis == x.type.rank - 1:
        return [call.emit(Hardmax(axis), x)]
    flat = reshaped(call, x, (*x.type.shape[:axis], product(x.type.shape[axis:])), "flat")
    return [reshaped(call, call.emit(Hardmax(axis), flat, label="flat.chosen"), x.type.shape)]


@handler("TopK", "top_k")
def top_k(call: Call) -> list[Result]:
    """A known number of elements, on the host."""
    x = call.value(0)
    (count,) = call.known_integers(1, "the number of elements")
    op = TopK(call.axis(call.integer("axis", -1), x.type.rank), count, bool(call.integer("largest", 1)))
    return list(call.emit_all(op, x, names=(call.name(0), call.name(1))))


@handler("NonMaxSuppression", "non_max_suppression")
def non_max_suppression(call: Call) -> list[Result]:
    """Known bounds, on the host; how many boxes are kept depends on the data, so nothing may come after it."""
    boxes, scores = real(call, 0), real(call, 1)
    count = call.known_integers(2, "the number of boxes")[0] if call.has(2) else 0
    overlap = float(call.known(3, "the overlap").reshape(-1)[0]) if call.has(3) else 0.0
    least = float(call.known(4, "the least score").reshape(-1)[0]) if call.has(4) else float("-inf")
    return [call.emit(NonMaxSuppression(count, overlap, least, bool(call.integer("center_point_box", 0))), boxes, scores)]
