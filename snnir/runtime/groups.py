"""Samples of models whose batch is fixed and whose samples belong together: any number of them, one group after the other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnir.ir import Graph

__all__ = ["apart", "grouped"]


def _given_apart(graph: Graph, arrays: Mapping[str, np.ndarray]) -> int | None:
    """How many samples `arrays` hold, where they stand one by one and not in groups."""
    for value in graph.inputs:
        axis, size = graph.groups.get(value.name, (0, 0))
        array = arrays.get(value.name)
        if size and array is not None and array.ndim == value.type.rank - 1:
            return int(array.shape[axis])
    return None


def grouped(graph: Graph, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Samples [..., M, ...] as groups [groups, ..., size, ...], the last filled up with the last sample; groups as they are."""
    total = _given_apart(graph, arrays)
    if total is None:
        return arrays
    found = {name: np.asarray(array) for name, array in arrays.items()}
    size = max(size for _, size in graph.groups.values())
    count = -(-total // size)
    for value in graph.inputs:
        axis, members = graph.groups.get(value.name, (0, 0))
        array = found.get(value.name)
        if array is None or array.ndim != value.type.rank - 1:
            continue
        if not members:
            found[value.name] = np.broadcast_to(array, (count, *array.shape))
        elif array.shape[axis] == total and total:
            filled = array.take(np.minimum(np.arange(count * members), total - 1), axis)
            split = filled.reshape(*array.shape[:axis], count, members, *array.shape[axis + 1 :])
            found[value.name] = np.moveaxis(split, axis, 0)
    return found


def apart(graph: Graph, outputs: Mapping[str, np.ndarray], data: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs of groups as those of the samples in `data`, where these stand one by one; an output without samples stays one for
    each group.
    """
    found = dict(outputs)
    given = data if isinstance(data, Mapping) or not graph.groups else {graph.inputs[0].name: np.asarray(data)}
    total = _given_apart(graph, given) if isinstance(given, Mapping) else None
    if total is None:
        return found
    for name, array in outputs.items():
        axis, members = graph.groups.get(name, (0, 0))
        if members:
            moved = np.moveaxis(array, 0, axis)
            joined = moved.reshape(*moved.shape[:axis], -1, *moved.shape[axis + 2 :])
            found[name] = joined.take(range(total), axis)
    return found
