"""Elements chosen from, and written at, known places: data movement, and with a reduction an op at those places.

`start` is 1 where axis 0 is the batch, whose samples are treated alike, else 0. Places are those of the C order of a sample.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from snnir.ir.dims import product
from snnir.ir.graph import Value
from snnir.ir.lowering.builder import Builder, RefusalError
from snnir.ir.lowering.compose import largest, minus, reshaped, static
from snnir.ir.ops import Add, Concat, Gather, Mul

__all__ = ["REDUCTIONS", "along", "picked", "rows_picked", "written"]

REDUCTIONS = ("none", "add", "mul", "max", "min")
"""What is made of an element and what is written over it."""


def along(indices: np.ndarray, axis: int, sizes: tuple[int, ...]) -> np.ndarray:
    """Places in a sample of `sizes` whose index along `axis` is that of `indices`, and along the others its own."""
    grid: list[np.ndarray] = list(np.indices(indices.shape))
    grid[axis] = np.where(indices < 0, indices + sizes[axis], indices)
    return np.ravel_multi_index(tuple(grid), sizes)


def picked(call: Builder, x: Value, start: int, places: np.ndarray) -> Value:
    """The elements at `places` of each sample."""
    line = reshaped(call, x, (*x.type.shape[:start], product(x.type.shape[start:])), "flat")
    return call.emit(Gather(start, tuple(int(place) for place in places.reshape(-1)), places.shape), line)


def rows_picked(call: Builder, x: Value, start: int, indices: np.ndarray, shared: int = 0) -> Value:
    """The parts of each sample that `indices` [..., depth] name by their first `depth` axes (ONNX `GatherND`).

    The first `shared` axes of `indices` are those of the sample: each of their places picks within itself.
    """
    sizes = static(x.type.shape[start : start + shared + indices.shape[-1]], "choosing elements")
    own = zip(np.moveaxis(indices, -1, 0), sizes[shared:], strict=True)
    known = (*np.indices(indices.shape[:-1])[:shared], *(np.where(index < 0, index + size, index) for index, size in own))
    flat = np.ravel_multi_index(known, sizes) if known else np.zeros(indices.shape[:-1], np.int64)
    rows = reshaped(call, x, (*x.type.shape[:start], int(np.prod(sizes)), *x.type.shape[start + len(sizes) :]), "rows")
    return call.emit(Gather(start, tuple(int(number) for number in flat.reshape(-1)), flat.shape), rows)


def written(
    call: Builder, data: Value, updates: Value, start: int, places: np.ndarray, reduction: str, fresh: bool = False
) -> Value:
    """`data` with `updates` at flat `places` of each sample; of several for one place the later come later.

    `fresh`: a reduction leaves out what was there; what is written first is all there is.

    Raises `RefusalError` for a reduction that is not one of `REDUCTIONS`.
    """
    lead, inner = data.type.shape[:start], product(data.type.shape[start:])
    (size,) = static((inner,), "writing elements")
    line = reshaped(call, data, (*lead, inner), "line")
    news = reshaped(call, updates, (*lead, len(places)), "news")
    if reduction not in REDUCTIONS:
        raise RefusalError(f"reduction {reduction!r} is not one of {', '.join(REDUCTIONS)}")
    for number, chosen in enumerate(_rounds(places)):
        label, spots = f"round{number}", places[chosen]
        part = news
        if len(chosen) != len(places):
            part = call.emit(Gather(start, tuple(int(place) for place in chosen), (len(chosen),)), news, label=f"{label}.news")
        if reduction != "none" and not (fresh and number == 0):
            old = call.emit(Gather(start, tuple(int(spot) for spot in spots), (len(spots),)), line, label=f"{label}.old")
            part = _reduced(call, reduction, old, part, label)
        order = np.arange(size)
        order[spots] = size + np.arange(len(spots))
        both = call.emit(Concat(start), line, part, label=f"{label}.both")
        line = call.emit(Gather(start, tuple(int(place) for place in order), (size,)), both, label=f"{label}.written")
    return reshaped(call, line, data.type.shape)


def _reduced(call: Builder, reduction: str, old: Value, new: Value, label: str) -> Value:
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
