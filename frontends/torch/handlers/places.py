"""Elements chosen from, and written at, known places, the same for each sample (`snnir.ir.lowering.places`)."""

from __future__ import annotations

import numpy as np
import torch

from snnir.frontends.torch.call import Call
from snnir.frontends.torch.handlers.arithmetic import operand
from snnir.frontends.torch.registry import Entry, RefusalError, Spread, Steps, handler
from snnir.ir import Shape, Value
from snnir.ir.dims import concrete
from snnir.ir.lowering.choose import selected
from snnir.ir.lowering.compose import static, times, transposed
from snnir.ir.lowering.places import along, picked, rows_picked, written
from snnir.ir.lowering.taking import taken, taken_rows, written_at
from snnir.ir.ops import Expand, Gather, Slice

__all__ = ["put"]

_WRITES = ("concat", "gather", "reshape", "add", "mul", "max_pool", "expand", "lookup", "sub")


def _known_index(entry: Entry) -> np.ndarray:
    if not isinstance(entry, torch.Tensor):
        raise RefusalError("its index changes with the input; it must be constant")
    if entry.dtype.is_floating_point:
        raise RefusalError(f"it indexes with {entry.dtype}")
    return entry.cpu().numpy()


def _numbers(entries: list[Entry]) -> list[np.ndarray | None]:
    """Whole numbers for each axis; a known mask counts for as many axes as it has."""
    found: list[np.ndarray | None] = []
    for entry in entries:
        if entry is None:
            found.append(None)
            continue
        index = _known_index(entry)
        found += list(np.nonzero(index)) if index.dtype == bool else [index.astype(np.int64)]
    return found


def _changing_index(call: Call) -> Value | None:
    """`x[arange(N), index]`, or in a model of one sample `x[:, index]`, for an index that changes; None for other indices."""
    x, entries = call.value("self"), list(call.given("indices"))
    places = [axis for axis, entry in enumerate(entries) if entry is not None]
    if not places or not isinstance(entries[places[-1]], Value) or entries[places[-1]].type.dtype == "bool":
        return None
    chosen, axis = entries[places[-1]], places[-1]
    first = entries[0]
    if places == [0, 1] and isinstance(first, Steps) and (first.start, first.step, first.stop) == (0, 1, x.type.shape[0]):
        if chosen.type.shape != x.type.shape[:1]:
            raise RefusalError(f"it chooses {chosen.type} elements of each sample; only one can be, or use torch.gather")
        return taken_rows(call, x, chosen, 1, True)
    if len(places) > 1:
        raise RefusalError("several of its indices change with the input; take elements of each sample with torch.gather")
    return taken_rows(call, x, chosen, axis)


@handler("aten.index.Tensor", "take_along", "gather", "transpose", "reshape")
def index(call: Call) -> Value:
    """Constant indices and masks, along any axes; or one index that changes with the input, within each sample."""
    changing = _changing_index(call)
    if changing is not None:
        return changing
    x, given = call.value("self"), _numbers(list(call.given("indices")))
    axes = [axis for axis, entry in enumerate(given) if entry is not None]
    indices = np.broadcast_arrays(*(entry for entry in given if entry is not None))
    if len(axes) == 1:
        flat = tuple(int(item) for item in indices[0].reshape(-1))
        return call.emit(Gather(axes[0], flat, indices[0].shape), x)
    rest = [axis for axis in range(x.type.rank) if axis not in axes]
    adjacent = axes == list(range(axes[0], axes[-1] + 1))
    first = axes[0] if adjacent else len(rest)
    front = x if adjacent else transposed(call, x, [*rest, *axes], "front")
    found = rows_picked(call, front, first, np.stack(indices, -1))
    count = indices[0].ndim
    # as in NumPy, the axes of the indices come first where the indexed ones do not stand adjacent
    return found if adjacent else transposed(call, found, [*range(first, first + count), *range(first)], "turned")


def _same_for_all(call: Call, x: Value) -> tuple[int, int, np.ndarray]:
    """Where samples begin, the axis, and the index within a sample, of `gather` and `scatter`."""
    given = call.given("index")
    axis = call.axis(call.integer("dim"), x.type.rank)
    # a spread index is the same in every sample, of which there may be any number
    places = _known_index(given.array if isinstance(given, Spread) else given).astype(np.int64)
    if x.type.batch_axis is None:
        return 0, axis, places
    if x.type.batch_axis != 0:
        raise RefusalError("it needs the batch as axis 0")
    if axis == 0 or not (places == places[:1]).all():
        raise RefusalError("its index differs from sample to sample")
    return 1, axis, places[0]


@handler("aten.gather", "gather", "reshape", "take_along")
def gather(call: Call) -> Value:
    """Known places, the same for each sample; or places that change with the input."""
    x, chosen = call.value("self"), call.given("index")
    if isinstance(chosen, Value):
        return taken(call, x, chosen, call.axis(call.integer("dim"), x.type.rank))
    start, axis, places = _same_for_all(call, x)
    return picked(call, x, start, along(places, axis - start, call.static(x.type.shape[start:], "choosing elements")))


@handler("aten.diagonal", "gather", "transpose", "reshape")
def diagonal(call: Call) -> Value:
    """Of two axes of known length."""
    x, rank = call.value("self"), call.type("self").rank
    axes = [call.axis(call.integer(name, default), rank) for name, default in (("dim1", 0), ("dim2", 1))]
    rows, columns = call.static(tuple(x.type.shape[axis] for axis in axes), "a diagonal")
    offset = call.integer("offset")
    places = [(row, row + offset) for row in range(rows) if 0 <= row + offset < columns]
    if not places:
        raise RefusalError("its diagonal is empty")
    front = transposed(call, x, [*(axis for axis in range(rank) if axis not in axes), *axes], "front")
    return rows_picked(call, front, rank - 2, np.array(places))


def _spread(call: Call, value: Value, shape: Shape, label: str) -> Value:
    return value if value.type.shape == shape else call.emit(Expand(shape), value, label=label)


def _constant(call: Call, x: Value, number: float, shape: Shape) -> Value:
    """One number over all of `shape`."""
    return _spread(call, call.scalar("value", number), shape, "value.spread")


def _scattered(call: Call, reduction: str, fresh: bool = False, mean: bool = False) -> Value:
    x = operand(call, "self")
    if isinstance(call.given("index"), Value):
        news: Value | float = operand(call, "src") if call.has("src") else call.number("value")
        if fresh or mean:
            raise RefusalError("it writes at places that change with the input; only scatter and scatter_add can")
        return written_at(call, x, call.given("index"), call.axis(call.integer("dim"), x.type.rank), news, reduction)
    start, axis, places = _same_for_all(call, x)
    sizes = call.static(x.type.shape[start:], "writing elements")
    shape = (*x.type.shape[:start], *places.shape)
    if call.has("src"):
        news = operand(call, "src")
        for place in range(start, x.type.rank):
            if news.type.shape[place] != shape[place]:
                news = call.emit(Slice(place, 0, concrete(shape[place])), news, label=f"src.axis{place}")
        news = _spread(call, news, shape, "src.spread")
    else:
        news = _constant(call, x, call.number("value"), shape)
    flat = along(places, axis - start, sizes).reshape(-1)
    if not mean:
        return written(call, x, news, start, flat, reduction, fresh)
    counts = np.bincount(flat, minlength=int(np.prod(sizes))).reshape(sizes) + (0 if fresh else 1)
    return times(call, written(call, x, news, start, flat, reduction, fresh), 1 / np.maximum(counts, 1), "mean")


_REDUCE = {None: "none", "add": "add", "multiply": "mul", "sum": "add", "prod": "mul", "amax": "max", "amin": "min"}


@handler("aten.scatter", *_WRITES)
def scatter(call: Call) -> Value:
    """Values at known places along one axis, the same for each sample."""
    return _scattered(call, _REDUCE[call.arguments.get("reduce")])


@handler("aten.scatter_add", *_WRITES)
def scatter_add(call: Call) -> Value:
    """Values added up at known places along one axis."""
    return _scattered(call, "add")


@handler("aten.scatter_reduce", *_WRITES)
def scatter_reduce(call: Call) -> Value:
    """Sums, means, products, maxima and minima at known places, of what was there too or not."""
    reduction = call.given("reduce")
    fresh = call.arguments.get("include_self") is False
    return _scattered(call, _REDUCE.get(reduction, "add"), fresh, reduction == "mean")


def put(call: Call, x: Value, indices: list[np.ndarray | slice], values: Value, reduction: str) -> Value:
    """`x[indices] = values`, whose index reads as in NumPy; the batch, as axis 0, is taken whole."""
    if x.type.batch_axis not in (None, 0):
        raise RefusalError("it needs the batch as axis 0")
    start = 0 if x.type.batch_axis is None else 1
    if start and not (isinstance(indices[0], slice) and indices[0] == slice(None)):
        raise RefusalError("it writes to single samples of the batch")
    sizes = static(x.type.shape[start:], "writing elements")
    chosen = [place for place, entry in enumerate(indices) if isinstance(entry, np.ndarray)]
    if start and chosen and chosen != list(range(chosen[0], chosen[-1] + 1)):
        raise RefusalError("it writes at indices of axes that do not stand adjacent")
    places = np.arange(int(np.prod(sizes))).reshape(sizes)[tuple(indices[start:])]
    news = _spread(call, values, (*x.type.shape[:start], *places.shape), "values.spread")
    return written(call, x, news, start, places.reshape(-1), reduction)


@handler("aten.index_put", *_WRITES)
def index_put(call: Call) -> Value:
    """Values at constant indices; or one number where a mask is true, known or not."""
    x, entries = operand(call, "self"), list(call.given("indices"))
    values = operand(call, "values")
    if len(entries) == 1 and isinstance(entries[0], Value) and entries[0].type.shape == x.type.shape and not values.type.rank:
        if call.flag("accumulate"):
            raise RefusalError("it adds where a mask is true that changes with the input")
        return selected(call, entries[0], values, x)
    indices = [slice(None) if entry is None else entry for entry in _numbers(entries)]
    return put(call, x, indices, values, "add" if call.flag("accumulate") else "none")


def _at(call: Call, x: Value) -> list[np.ndarray | slice]:
    axis = call.axis(call.integer("dim"), x.type.rank)
    return [slice(None)] * axis + [_known_index(call.given("index")).reshape(-1)]


@handler("aten.index_add", *_WRITES)
def index_add(call: Call) -> Value:
    """Rows added at constant indices of one axis."""
    x, source, alpha = operand(call, "self"), operand(call, "source"), call.number("alpha", 1.0)
    return put(call, x, _at(call, x), source if alpha == 1 else times(call, source, alpha, "scaled"), "add")


@handler("aten.index_copy", *_WRITES)
def index_copy(call: Call) -> Value:
    """Rows written at constant indices of one axis."""
    x = operand(call, "self")
    return put(call, x, _at(call, x), operand(call, "source"), "none")


@handler("aten.index_fill", *_WRITES)
def index_fill(call: Call) -> Value:
    """One number at constant indices of one axis."""
    x = operand(call, "self")
    return put(call, x, _at(call, x), call.scalar("value", call.number("value")), "none")
