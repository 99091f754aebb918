"""The integer form of places: the largest elements and where they stand, and elements taken at places that change.

A place is a whole number, so nothing is rounded: ties are decided in integers as the op says, and what is taken is what stands
there. Elements are ranked by keys `value * size + order`, which differ for all elements of a line; the maximum of the keys names
the first one, the maximum of all keys below it the next. Rows of a constant table are entries of a flat table; of values that
change, `sum over j of (index = j) x[j]` takes the one of which the index is true.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from snnir.errors import UnsupportedError
from snnir.ir import Node, Value
from snnir.ir.dims import concrete
from snnir.ir.ops import (
    Concat,
    IntAdd,
    IntFloorDiv,
    IntLeast,
    IntMost,
    IntMul,
    IntReduce,
    IntSub,
    IntTable,
    Lookup,
    Ranking,
    Reshape,
    TakeAlong,
    TopPlaces,
    TopValues,
    Transpose,
)
from snnir.passes.functions.fixed import MOST, Arithmetic, Fixed
from snnir.passes.functions.integer_forms import integer_form

__all__: list[str] = []


def _line(size: int, rank: int, axis: int, falling: bool) -> np.ndarray:
    """0 .. size - 1 along one of `rank` axes, or from size - 1 down to 0."""
    count = np.arange(size)[:: -1 if falling else 1]
    return count.reshape([size if other == axis else 1 for other in range(rank)])


def _keys(arithmetic: Arithmetic, node: Node, x: Fixed) -> tuple[list[Value], Fixed]:
    """For each wanted element the key of it along the axis (of size 1), and what was ranked."""
    op = node.expect(Ranking)
    rank = node.operands[0].type.rank
    axis = op.axis % rank
    size = concrete(node.operands[0].type.shape[axis])
    x = arithmetic.limited(x, MOST - 1 - size.bit_length())
    value, lo, hi = x.value, x.lo, x.hi
    if not op.largest:
        value, lo, hi = arithmetic.emit(IntSub(), arithmetic.integers(0), value, part="negated"), -hi, -lo
    count, order = arithmetic.integers(size, "size"), arithmetic.integers(_line(size, rank, axis, not op.last), "order")
    if x.keep is not None:  # masked elements come last, among themselves in order
        least = arithmetic.integers(lo - 1, "least")
        apart = arithmetic.emit(IntMul(), arithmetic.emit(IntSub(), value, least, part="above"), x.keep, part="kept")
        value, lo = arithmetic.emit(IntAdd(), apart, least, part="masked"), lo - 1
    keys = arithmetic.emit(IntAdd(), arithmetic.emit(IntMul(), value, count, part="spread"), order, part="keys")
    bottom = arithmetic.integers(lo * size - 1, "bottom")
    found: list[Value] = []
    for index in range(op.count):
        if found:  # those that are less than the last one; the others go to the bottom
            ahead = arithmetic.emit(IntSub(), found[-1], keys, part=f"ahead{index}")
            held = arithmetic.emit(IntMost(), ahead, arithmetic.integers(0), part=f"held{index}")
            less = arithmetic.emit(IntLeast(), held, arithmetic.integers(1), part=f"less{index}")
            above = arithmetic.emit(IntSub(), keys, bottom, part=f"above{index}")
            keys = arithmetic.emit(
                IntAdd(), arithmetic.emit(IntMul(), above, less, part=f"left{index}"), bottom, part=f"keys{index}"
            )
        found.append(arithmetic.emit(IntReduce("max", (axis,), True), keys, part=f"first{index}"))
    return found, replace(x, value=value, lo=lo, hi=hi)


def _joined(arithmetic: Arithmetic, parts: Sequence[Value], axis: int) -> Value:
    return parts[0] if len(parts) == 1 else arithmetic.emit(Concat(axis), *parts)


@integer_form(TopPlaces, bounded=True)
def _top_places(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    op = node.expect(TopPlaces)
    axis = op.axis % node.operands[0].type.rank
    keys, _ = _keys(arithmetic, node, operands[0])
    count = concrete(node.operands[0].type.shape[axis])
    size = arithmetic.integers(count, "size")
    places = []
    for index, key in enumerate(keys):
        value = arithmetic.emit(IntFloorDiv(), key, size, part=f"value{index}")
        order = arithmetic.emit(IntSub(), key, arithmetic.emit(IntMul(), value, size, part=f"whole{index}"), part=f"order{index}")
        if not op.last:
            order = arithmetic.emit(IntSub(), arithmetic.integers(count - 1, "end"), order, part=f"place{index}")
        places.append(order)
    return Fixed(_joined(arithmetic, places, axis), 1.0, 0, count - 1)


@integer_form(TopValues, bounded=True)
def _top_values(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    if operands[0].keep is not None:
        raise UnsupportedError(f"{node.describe()}: masked values may be among the largest; only their places can be taken")
    op = node.expect(TopValues)
    axis = op.axis % node.operands[0].type.rank
    keys, ranked = _keys(arithmetic, node, operands[0])
    size = arithmetic.integers(concrete(node.operands[0].type.shape[axis]), "size")
    values = [arithmetic.emit(IntFloorDiv(), key, size, part=f"value{index}") for index, key in enumerate(keys)]
    result = replace(ranked, value=_joined(arithmetic, values, axis))
    if op.largest:
        return result
    back = arithmetic.emit(IntSub(), arithmetic.integers(0), result.value, part="values")
    return replace(result, value=back, lo=-result.hi, hi=-result.lo)


def _within(arithmetic: Arithmetic, index: Fixed, size: int) -> Value:
    """Whole numbers in 0 .. size - 1; those below 0 count from the end, and what is out of range takes the nearest place."""
    whole = arithmetic.clamped(arithmetic.rescaled(replace(index, keep=None), 1.0), -size, size - 1)
    if whole.lo >= 0:
        return whole.value
    below = arithmetic.emit(IntSub(), arithmetic.integers(0), whole.value, part="below")
    turned = arithmetic.emit(IntMost(), below, arithmetic.integers(0), part="turned")
    behind = arithmetic.emit(IntLeast(), turned, arithmetic.integers(1), part="behind")
    round_ = arithmetic.emit(IntMul(), behind, arithmetic.integers(size, "size"), part="round")
    return arithmetic.emit(IntAdd(), whole.value, round_)


@integer_form(Lookup, bounded=True)
def _lookup(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    table = node.operands[0].array
    index, row = node.operands[1].type, table.shape[1:]
    known = arithmetic.constant(table.reshape(-1))
    place = _within(arithmetic, operands[1], len(table))
    width = math.prod(row)
    if row:
        first = arithmetic.emit(Reshape((*index.shape, *([1] * len(row)))), place, part="rows")
        first = arithmetic.emit(IntMul(), first, arithmetic.integers(width, "width"), part="first")
        place = arithmetic.emit(IntAdd(), first, arithmetic.integers(np.arange(width).reshape(row), "column"), part="entry")
    return replace(known, value=arithmetic.emit(IntTable(), place, known.value))


@integer_form(TakeAlong, bounded=True)
def _take_along(arithmetic: Arithmetic, node: Node, operands: Sequence[Fixed]) -> Fixed:
    op = node.expect(TakeAlong)
    x, index = operands
    if x.keep is not None:
        raise UnsupportedError(f"{node.describe()}: masked values may be taken; mask what they become instead")
    rank, axis = node.operands[0].type.rank, op.axis
    size = concrete(node.operands[0].type.shape[axis])
    last = (*(other for other in range(rank) if other != axis), axis)
    rows, places = x.value, _within(arithmetic, index, size)
    if axis != rank - 1:
        rows = arithmetic.emit(Transpose(last), rows, part="lines")
        places = arithmetic.emit(Transpose(last), places, part="chosen")
    rows = arithmetic.emit(Reshape((*rows.type.shape[:-1], 1, size)), rows, part="each")
    places = arithmetic.emit(Reshape((*places.type.shape, 1)), places, part="one")
    apart = arithmetic.emit(IntSub(), places, arithmetic.integers(np.arange(size), "line"), part="apart")
    square = arithmetic.emit(IntMul(), apart, apart, part="square")  # 0 where the place is meant
    other = arithmetic.emit(IntLeast(), square, arithmetic.integers(1), part="other")
    meant = arithmetic.emit(IntSub(), arithmetic.integers(1), other, part="meant")
    product = arithmetic.emit(IntMul(), rows, meant, part="taken")
    found = arithmetic.emit(IntReduce("sum", (product.type.rank - 1,), False), product, part="found")
    if axis != rank - 1:
        found = arithmetic.emit(Transpose(tuple(int(place) for place in np.argsort(last))), found)
    return replace(x, value=found, lo=min(x.lo, 0), hi=max(x.hi, 0))
