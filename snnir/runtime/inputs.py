"""Data as users give it, turned into arrays by input name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnir.errors import CalibrationError, InputError, UsageError
from snnir.ir import BATCH, Dim, Graph
from snnir.ir.execute import bind_sizes, check_inputs
from snnir.runtime.groups import grouped

__all__ = ["as_inputs", "by_name", "calibration_data", "first_samples", "sample_count", "samples", "size_names", "sizes_given"]


def as_inputs(graph: Graph, data: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`data` by input name, checked; a single array is the only input. Raises `InputError`."""
    return check_inputs(graph, by_name(graph, data))


def by_name(graph: Graph, data: np.ndarray | Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """`data` by input name, unchecked. Raises `InputError` for a single array where there are several inputs.

    Samples may be stacked as the model takes one: `[64, 1, 6]` for an input `[N, 6]` that was exported as `[1, 6]`.
    """
    if isinstance(data, Mapping):
        return grouped(graph, _unstacked(graph, data))
    if len(graph.inputs) != 1:
        names = ", ".join(value.name for value in graph.inputs)
        raise InputError(f"model {graph.name} takes {len(graph.inputs)} inputs ({names}): give a dict of arrays by name")
    return grouped(graph, _unstacked(graph, {graph.inputs[0].name: data}))


def _unstacked(graph: Graph, data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Samples that are stacked with a batch of 1 each, joined along the batch; all else as it is."""
    arrays = {name: np.asarray(array) for name, array in data.items()}
    for value in graph.inputs:
        axis, array = value.type.batch_axis, arrays.get(value.name)
        if array is not None and axis is not None and array.ndim == value.type.rank + 1 and array.shape[axis + 1] == 1:
            arrays[value.name] = np.moveaxis(array.squeeze(axis + 1), 0, axis)
    return arrays


def calibration_data(graph: Graph, data: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Calibration data by input name. Raises `CalibrationError` for empty, non-finite or ill-shaped data."""
    try:
        arrays = as_inputs(graph, data)
    except InputError as error:
        raise CalibrationError(f"calibration data: {error}") from error
    for name, array in arrays.items():
        if array.size == 0:
            raise CalibrationError(f"calibration data for {name} is empty (shape {list(array.shape)}); give at least one sample")
        largest = float(np.abs(array).max()) if array.dtype.kind == "f" else 0.0
        if 0 < largest < np.finfo(np.float32).tiny:
            raise CalibrationError(
                f"calibration data for {name} reach {largest:.3g} at most, where float32 has hardly any digits; are they scaled "
                "as the model expects?"
            )
    return arrays


def size_names(graph: Graph) -> set[str]:
    """The names of the open sizes of a graph's inputs, but the batch."""
    return {str(size) for value in graph.inputs for size in value.type.shape if isinstance(size, Dim)} - {BATCH}


def sizes_given(graph: Graph, sizes: Mapping[str, int] | None, data: Mapping[str, np.ndarray] | None) -> dict[str, int]:
    """Open sizes but the batch: those that `data` have, and those that were given by name.

    Raises `UsageError` for a name that no input has, and for another number than that of the data.
    """
    known, names = dict(sizes or {}), size_names(graph)
    unknown = sorted(set(known) - names - {BATCH})
    if unknown:
        raise UsageError(f"size {unknown[0]}: the open sizes of the program's inputs are {', '.join(sorted(names)) or 'none'}")
    found = {} if data is None else {name: size for name, size in bind_sizes(graph, data).items() if name != BATCH}
    wrong = [name for name, size in known.items() if found.get(name, size) != size]
    if wrong:
        raise UsageError(f"sizes gives {wrong[0]}={known[wrong[0]]}, the samples have {found[wrong[0]]}")
    return known | found


def sample_count(graph: Graph, inputs: Mapping[str, np.ndarray]) -> int:
    """The batch size of `inputs`; 1 where the model fixes its batch."""
    for value in graph.inputs:
        if value.type.batch_axis is not None:
            return int(inputs[value.name].shape[value.type.batch_axis])
    return 1


def samples(graph: Graph, inputs: Mapping[str, np.ndarray], start: int, stop: int) -> dict[str, np.ndarray]:
    """Samples `start` up to `stop`; inputs without a batch axis, and models that fix their batch, stay whole."""
    cut = {}
    for value in graph.inputs:
        axis, array = value.type.batch_axis, inputs[value.name]
        cut[value.name] = array if axis is None else array.take(range(start, min(stop, array.shape[axis])), axis=axis)
    return cut


def first_samples(graph: Graph, inputs: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """The first `count` samples."""
    return samples(graph, inputs, 0, count)
