"""Elements written at known places: data movement, and with a reduction an element-wise op at those places."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import largest, minus, real, reshaped
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import BATCH, Dimension, Value
from snnir.ir.dims import dim, product
from snnir.ir.ops import Add, Concat, Expand, Gather, Mul

__all__: list[str] = []


@handler("ScatterND", "concat", "gather", "reshape", "add", "mul", "max_pool")
def scatter_nd(call: Call) -> list[Result]:
    """Known places, the same for each sample."""
    places = call.known(1, "the index").astype(np.int64)
    data, updates, batched = _operands(call)
    depth = places.shape[-1]
    sizes = call.static(data.type.shape[1:] if batched else data.type.shape, "writing elements")
    if batched:
        count = places.shape[0]
        samples = places.reshape(count, -1, depth)
        whole = count == call.fixed_batch and places.ndim > 1 and depth > 0
        if not whole or (samples[..., 0] != np.arange(count)[:, None]).any() or (samples[..., 1:] != samples[:1, :, 1:]).any():
            raise RefusalError("its index differs from sample to sample")
        places, depth = samples[0, :, 1:], depth - 1
    rows = places.reshape(-1, depth)
    rows = np.where(rows < 0, rows + np.array(sizes[:depth], np.int64), rows)
    first = np.zeros(len(rows), np.int64)
    for axis in range(depth):
        first = first * sizes[axis] + rows[:, axis]
    size = int(np.prod(sizes[depth:]))
    return [_scattered(call, data, updates, batched, (first[:, None] * size + np.arange(size)).reshape(-1))]


def _scatter_elements(call: Call) -> list[Result]:
    """Known places along one axis, the same for each sample."""
    places = call.known(1, "the index").astype(np.int64)
    data, updates, batched = _operands(call)
    axis = call.axis(call.integer("axis", 0), data.type.rank)
    start = int(batched)
    sizes = call.static(data.type.shape[start:], "writing elements")
    if batched:
        if axis == 0 or places.shape[0] != call.fixed_batch or (places != places[:1]).any():
            raise RefusalError("its index differs from sample to sample")
        places = places[0]
    grid: list[np.ndarray] = list(np.indices(places.shape))
    grid[axis - start] = np.where(places < 0, places + sizes[axis - start], places)
    return [_scattered(call, data, updates, batched, np.ravel_multi_index(grid, sizes).reshape(-1))]


for _operator in ("ScatterElements", "Scatter"):
    handler(_operator, "concat", "gather", "reshape", "add", "mul", "max_pool")(_scatter_elements)


def _operands(call: Call) -> tuple[Value, Value, bool]:
    """Data and updates, both with the batch as axis 0 where one of them has it."""
    values = [real(call, 0), real(call, 2)]
    axes = {value.type.batch_axis for value in values if value.type.batch_axis is not None}
    if axes - {0}:
        raise RefusalError("it needs the batch as axis 0")
    if axes:
        values = [_spread(call, value, label) for value, label in zip(values, ("data", "updates"), strict=True)]
    return values[0], values[1], bool(axes)


def _spread(call: Call, value: Value, label: str) -> Value:
    """A known operand that is the same for all samples, over any batch."""
    if value.type.batch_axis is not None:
        return value
    if not value.is_constant or value.type.rank == 0 or value.type.shape[0] != call.fixed_batch:
        raise RefusalError(f"its {label} {value.type} have no batch, and the other operand has one")
    one = value.array[:1]
    if not (value.array == one).all():
        raise RefusalError(f"its {label} differ from sample to sample")
    shape: tuple[Dimension, ...] = (dim(BATCH), *value.type.shape[1:])
    return call.emit(Expand(shape), call.constant(f"{value.name}.sample", one), label=f"{label}.batch")


def _scattered(call: Call, data: Value, updates: Value, batched: bool, places: np.ndarray) -> Value:
    """`data` with `updates` at `places` of each sample, in C order; of several for one place the later come later."""
    start = int(batched)
    lead = data.type.shape[:start]
    inner = product(data.type.shape[start:])
    size = int(str(inner))
    line = reshaped(call, data, (*lead, inner), "line")
    news = reshaped(call, updates, (*lead, len(places)), "news")
    reduction = call.word("reduction", "none")
    if reduction not in ("none", "add", "mul", "max", "min"):
        raise RefusalError(f"reduction {reduction!r} is not one of none, add, mul, max, min")
    for number, chosen in enumerate(_rounds(places)):
        label, spots = f"round{number}", places[chosen]
        part = news
        if len(chosen) != len(places):
            part = call.emit(Gather(start, tuple(int(place) for place in chosen), (len(chosen),)), news, label=f"{label}.news")
        if reduction != "none":
            old = call.emit(Gather(start, tuple(int(spot) for spot in spots), (len(spots),)), line, label=f"{label}.old")
            part = _reduced(call, reduction, old, part, label)
        order = np.arange(size)
        order[spots] = size + np.arange(len(spots))
        both = call.emit(Concat(start), line, part, label=f"{label}.both")
        line = call.emit(Gather(start, tuple(int(place) for place in order), (size,)), both, label=f"{label}.written")
    return reshaped(call, line, data.type.shape)


def _reduced(call: Call, reduction: str, old: Value, new: Value, label: str) -> Value:
    if reduction in ("add", "mul"):
        return call.emit(Add() if reduction == "add" else Mul(), old, new, label=f"{label}.{reduction}")
    if reduction == "max":
        return largest(call, [old, new], f"{label}.max")
    turned = [minus(call, value, f"{label}.{name}.negated") for value, name in ((old, "old"), (new, "new"))]
    return minus(call, largest(call, turned, f"{label}.max"), f"{label}.min")


def _rounds(places: np.ndarray) -> Iterator[np.ndarray]:
    """Positions in `places`, in groups that name no place twice; the n-th mention of a place is in group n."""
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    first = np.searchsorted(ordered, ordered)
    mention = np.empty(len(places), np.int64)
    mention[order] = np.arange(len(places)) - first
    for number in range(int(mention.max(initial=-1)) + 1):
        yield np.flatnonzero(mention == number)
