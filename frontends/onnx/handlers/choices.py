"""Choices that the host makes: rows of tables by token, one-hot vectors, the largest elements."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import real, reshaped, transposed
from snnir.frontends.onnx.registry import RefusalError, Result, handler, integer_handler
from snnir.ir import Value
from snnir.ir.dims import product
from snnir.ir.ops import Hardmax, IntLeast, IntMost, Lookup, NonMaxSuppression, TopK
from snnir.ir.types import DTYPES

__all__ = ["looked_up"]


def looked_up(call: Call, table: np.ndarray, index: Value) -> Value:
    """Rows of a known table, by an input that holds whole numbers (`Gather` along axis 0: an embedding)."""
    if call.axis(call.integer("axis", 0), table.ndim) != 0:
        raise RefusalError("it chooses by the input along another axis than 0 of a table; transpose the table")
    return call.emit(Lookup(), call.constant(call.node.input[0], table), index)


@handler("OneHot", "lookup", "transpose")
def one_hot(call: Call) -> list[Result]:
    """A known depth and known values: rows of the unit matrix."""
    return [_hot(call, call.value(0), lambda unit: unit)]


@integer_handler("OneHot", "int_most", "int_least")
def one_hot_of_integers(call: Call) -> list[Result]:
    """The same; what is beyond the depth is off everywhere."""
    index = call.value(0)
    kind, (depth,) = DTYPES[index.type.dtype], call.known_integers(1, "the depth")
    if kind.kind == "b":
        raise RefusalError("it chooses by truth; cast it to integers")
    for bound, op, label in ((-depth - 1, IntMost(), "from"), (depth, IntLeast(), "to")):
        if np.iinfo(kind).min < bound < np.iinfo(kind).max:
            index = call.emit(op, index, call.array(label, np.array(bound, kind)), label=f"within.{label}")
    # row `depth` is off, and from the end the rows are those of negative indices
    return [_hot(call, index, lambda unit: np.concatenate([unit, np.zeros((1, depth), bool), unit]))]


def _hot(call: Call, index: Value, rows: Callable[[np.ndarray], np.ndarray]) -> Value:
    (depth,) = call.known_integers(1, "the depth")
    off, on = call.known(2, "the values").reshape(-1)
    table = np.where(rows(np.eye(depth, dtype=bool)), on, off)
    rank = index.type.rank
    axis = call.axis(call.integer("axis", -1), rank + 1)
    perm = [*range(axis), rank, *range(axis, rank)]
    label = "" if perm == list(range(rank + 1)) else "rows"
    found = call.emit(Lookup(), call.constant(f"{call.name()}.unit", table), index, label=label)
    return transposed(call, found, perm)


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
