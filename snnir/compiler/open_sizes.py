"""Numbers for sizes that a model leaves open: those the user gives, and those of the calibration data where the model needs one.

A size stays open where nothing needs to know it. Where a node is refused that takes or gives open sizes, these get the numbers
that the calibration data have, and the model is imported again; a note says so, and the program takes no other sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from snnir.errors import Refusal, UnsupportedError
from snnir.ir import BATCH, Dim, Dimension, Graph, Value
from snnir.ir.execute import fixed_size_note

__all__ = ["OpenSizes", "advice", "open_places", "with_numbers"]

_Result = TypeVar("_Result")
_SEQUENCE = 3
"""Axes up to which an input is taken for a sequence, whose length may be anything up to an end."""


def open_places(graph: Graph) -> dict[str, list[tuple[str, int]]]:
    """For each open size of the inputs but the batch: the inputs, and their axes in the model, that it is the size of."""
    found: dict[str, list[tuple[str, int]]] = {}
    for value in graph.inputs:
        for axis, size in enumerate(_own_shape(graph, value)):
            if isinstance(size, Dim) and str(size).isidentifier() and str(size) != BATCH:
                found.setdefault(str(size), []).append((value.name, axis))
    return found


def _own_shape(graph: Graph, value: Value) -> tuple[Dimension, ...]:
    """The shape of an input as the model declares it, without the axis along which an import stacked samples."""
    return value.type.shape[1:] if value.name in graph.stacked else value.type.shape


class OpenSizes:
    """The numbers and upper ends known so far, by `input:axis` or the names that the user gave."""

    def __init__(self, dims: Mapping[str, int | str] | None, calibration: np.ndarray | Mapping[str, np.ndarray] | None) -> None:
        self.dims: dict[str, int | str] = dict(dims or {})
        self.notes: list[str] = []
        self._data = calibration

    def take(self, refusals: Sequence[Refusal], graph: Graph) -> bool:
        """Take sizes of the calibration data for the open ones that `refusals` are about, or for all where none says which: the
        longest as the upper end of a sequence, and where that does not help, or for pictures, as the only size.

        Whether anything new is known.
        """
        arrays = self._arrays(graph)
        ranks = {value.name: len(_own_shape(graph, value)) for value in graph.inputs}
        found: dict[str, tuple[str, int, int]] = {}
        for name, places in open_places(graph).items():
            for entry, axis in places:
                # samples of a model without a batch stand in front of the axes that it declares
                shape = arrays[entry].shape[max(arrays[entry].ndim - ranks[entry], 0) :] if entry in arrays else ()
                if axis < len(shape) and shape[axis]:
                    found.setdefault(name, (entry, axis, int(shape[axis])))
        wanted = {name for refusal in refusals for name in refusal.sizes} & set(found)
        for name in sorted(wanted or found):
            entry, axis, number = found[name]
            about = next((refusal.node for refusal in refusals if name in refusal.sizes), refusals[0].node if refusals else "")
            place = f"(axis {axis} of input {entry})"
            self.notes = [note for note in self.notes if place not in note]
            if name not in graph.limits and arrays[entry].ndim <= _SEQUENCE:
                self.dims[f"{entry}:{axis}"] = f"<={number}"
                why = f"the longest in the calibration data, since {about} needs an upper end"
                self.notes.append(f"{name} {place} is at most {number}, {why}")
            else:
                self.dims.pop(name, None)
                self.dims[f"{entry}:{axis}"] = number
                why = f"as in the calibration data, since {about} needs it"
                self.notes.append(fixed_size_note(name, entry, axis, number, why))
        return bool(found)

    def _arrays(self, graph: Graph) -> dict[str, np.ndarray]:
        if self._data is None:
            return {}
        if isinstance(self._data, Mapping):
            return {name: np.asarray(array) for name, array in self._data.items()}
        return {graph.inputs[0].name: np.asarray(self._data)} if len(graph.inputs) == 1 else {}


def with_numbers(build: Callable[[OpenSizes], _Result], sizes: OpenSizes) -> _Result:
    """What `build` gives with the open sizes that the model allows: it is called again with numbers for more of them.

    Raises the last `UnsupportedError`, with what to do about open sizes.
    """
    while True:
        try:
            return build(sizes)
        except UnsupportedError as error:
            graph = error.partial
            if not isinstance(graph, Graph) or not sizes.take(error.refusals, graph):
                hint = advice(error.refusals, graph) if isinstance(graph, Graph) else ""
                if hint:
                    raise UnsupportedError(f"{error}\n{hint}", error.refusals, graph) from error
                raise


def advice(refusals: Sequence[Refusal], graph: Graph) -> str:
    """What to do where nodes are refused that take or give open sizes; empty where none is."""
    places = open_places(graph)
    names = sorted({name for refusal in refusals for name in refusal.sizes} & set(places))
    if not names:
        return ""
    where = ", ".join(f"{name} (axis {axis} of input {entry})" for name in names for entry, axis in places[name][:1])
    options = " ".join(f"--dim {name}=NUMBER" for name in names)
    return f"open sizes that refused nodes may need: {where}; give numbers ({options}), or calibration data that have them"
