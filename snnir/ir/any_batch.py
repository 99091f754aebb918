"""Whether a graph that takes any batch means what the graph means that was made for one batch size."""

from __future__ import annotations

import math

import numpy as np

from snnir.errors import SnnirError
from snnir.ir.dims import BATCH, Dim, dim
from snnir.ir.execute import drawn, execute
from snnir.ir.graph import Graph
from snnir.ir.types import TensorType

__all__ = ["same_meaning"]


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
