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


_MOST = 1 << 25
"""Elements of a value up to which a graph is executed to compare it."""


def _elements(type_: TensorType) -> int:
    return math.prod(size for size in type_.shape if isinstance(size, int))


def _near(a: np.ndarray, b: np.ndarray) -> bool:
    return np.allclose(a, b, rtol=1e-3, atol=1e-4)


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
        words = value.type.dtype == "str"
        alike = joined.shape == whole[name].shape
        if not alike or not (np.array_equal if words else _near)(joined, whole[name]):
            return f"output {name} of one sample would depend on the others"
    return ""
