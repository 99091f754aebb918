"""Whether a graph that takes any batch means what the graph means that was made for one batch size."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from snnir.errors import SnnirError
from snnir.ir.dims import BATCH, Dim, dim
from snnir.ir.execute import drawn, execute
from snnir.ir.graph import Graph
from snnir.ir.types import TensorType

__all__ = ["same_meaning", "samples_apart"]


_TOLERANCE = 1e-3
"""How far two results may be apart, relative to the largest magnitude of the output: sums in another order round otherwise."""
_MOST = 1 << 25
"""Elements of a value up to which a graph is executed to compare it."""


def _elements(type_: TensorType) -> int:
    return math.prod(size for size in type_.shape if isinstance(size, int))


def _near(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two results of one output are the same but for rounding; NaN and infinities only as themselves."""
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return False
    a, b = a[finite].astype(np.float64), b[finite].astype(np.float64)
    return float(np.abs(a - b).max(initial=0)) <= _TOLERANCE * max(float(np.abs(a).max(initial=0)), 1e-30)


def same_meaning(graph: Graph, fixed: Graph, size: int) -> str:
    """Empty if `graph` on two batches computes what `fixed` computes on each; else what differs."""
    if max((_elements(value.type.substitute({BATCH: 2 * size})) for value in graph.values.values()), default=0) > _MOST:
        return f"with values of more than {_MOST} elements it is too large to be tried with another batch"
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    others: dict[str, int] = {}
    for value in graph.inputs:
        shape = [
            2 * size if item == dim(BATCH) else others.setdefault(str(item), 5 + len(others)) if isinstance(item, Dim) else item
            for item in value.type.shape
        ]
        arrays[value.name] = drawn(value.type, shape, rng)
    try:
        whole = execute(graph, arrays)
        halves = []
        for part in range(2):
            cut = {
                value.name: arrays[value.name].take(range(part * size, (part + 1) * size), axis=value.type.batch_axis)
                if value.type.batch_axis is not None
                else arrays[value.name]
                for value in graph.inputs
            }
            halves.append(execute(fixed, cut))
    except (SnnirError, ValueError) as error:
        return f"with another batch it cannot be executed ({error})"
    for name, value in graph.outputs.items():
        axis = value.type.batch_axis
        if axis is None:
            return f"output {name} would not have a batch axis"
        joined = np.concatenate([half[name] for half in halves], axis=axis)
        if joined.shape != whole[name].shape or not _near(joined, whole[name]):
            return f"output {name} of one sample would depend on the others"
    return ""


def samples_apart(graph: Graph, axes: Mapping[str, int | None]) -> bool:
    """Whether a graph of fixed sizes computes each step along `axes` of its inputs by itself, as it does samples of a batch.

    It is executed twice, with one step drawn anew: every output must then have an axis along which only that step changes.
    """
    if max((_elements(value.type) for value in graph.values.values()), default=0) > _MOST:
        return False
    rng = np.random.default_rng(0)
    others: dict[str, int] = {}
    arrays = {
        value.name: drawn(
            value.type, [others.setdefault(str(s), 5 + len(others)) if isinstance(s, Dim) else s for s in value.type.shape], rng
        )
        for value in graph.inputs
    }
    sizes = {array.shape[axis] for name, array in arrays.items() if (axis := axes.get(name)) is not None}
    if len(sizes) != 1 or sizes & {0, 1}:
        return False
    (size,) = sizes
    step = size - 1
    changed = dict(arrays)
    for value in graph.inputs:
        axis, array = axes.get(value.name), arrays[value.name]
        if axis is not None:
            place = (slice(None),) * axis + (step,)
            changed[value.name] = array.copy()
            changed[value.name][place] = drawn(value.type, array[place].shape, rng)
    try:
        before, after = execute(graph, arrays), execute(graph, changed)
    except (SnnirError, ValueError):
        return False
    return all(_only(before[name], after[name], size, step) for name in before)


def _only(before: np.ndarray, after: np.ndarray, size: int, step: int) -> bool:
    """Whether two results differ at `step` of some axis of `size` alone."""
    if before.shape != after.shape:
        return False
    rest = [index for index in range(size) if index != step]
    axes = [axis for axis, length in enumerate(before.shape) if length == size]
    return any(_near(before.take(rest, axis), after.take(rest, axis)) for axis in axes)
