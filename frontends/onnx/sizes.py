"""Open sizes of a model's inputs: what they are called, numbers given for them, and sizes that the model itself forces.

An axis of an input is open where the file gives it a name (`dim_param`), or nothing, or a number below 1, as PaddlePaddle
writes unknown sizes. A size is named by its `dim_param`, and by `input:axis` in any case. Numbers are written into the model's
inputs before anything else looks at them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx

from snnir.errors import UsageError
from snnir.frontends.onnx.batch import InputPlan
from snnir.frontends.onnx.model import initializers_named
from snnir.ir import Dim, Dimension

__all__ = ["Place", "normalised", "places_of", "with_limits", "with_sizes", "written"]

Place = tuple[str, int]
"""An input and one of its axes."""

_NAMELESS = ("?", "None", "unk", "unknown", "-1")
"""What exporters write in place of a name: the same one twice says nothing."""


def _open(model: onnx.ModelProto) -> Iterator[tuple[Place, onnx.TensorShapeProto.Dimension]]:
    stored = initializers_named(model)
    for entry in model.graph.input:
        if entry.name not in stored and entry.type.HasField("tensor_type"):
            for axis, size in enumerate(entry.type.tensor_type.shape.dim):
                if not size.HasField("dim_value"):
                    yield (entry.name, axis), size


def normalised(model: onnx.ModelProto, empty: bool = False) -> onnx.ModelProto:
    """The model with sizes that say nothing left empty; itself where it has none. With `empty` a size of 0 stands as it is."""
    found = [
        (place, axis)
        for place, entry in enumerate(model.graph.input)
        for axis, size in enumerate(entry.type.tensor_type.shape.dim)
        if (size.HasField("dim_value") and size.dim_value < (0 if empty else 1)) or size.dim_param in _NAMELESS
    ]
    if not found:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for place, axis in found:
        copy.graph.input[place].type.tensor_type.shape.dim[axis].Clear()
    return copy


def with_sizes(model: onnx.ModelProto, sizes: Mapping[str, int]) -> onnx.ModelProto:
    """The model with numbers for open sizes, by `dim_param` or `input:axis`. Raises `UsageError` for names it does not have."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for name, number in sizes.items():
        places = [size for place, size in _open(copy) if name in _names(place, size)]
        if not places and not _is_already(copy, name, number):
            raise _unknown(model, name)
        for size in places:
            size.dim_value = number
    return copy


def with_limits(model: onnx.ModelProto, limits: Mapping[str, int]) -> dict[Place, int]:
    """Upper ends by where the open sizes stand that `limits` names. Raises `UsageError` for names the model does not have."""
    found: dict[Place, int] = {}
    for name, number in limits.items():
        places = [place for place, size in _open(model) if name in _names(place, size)]
        if not places:
            raise _unknown(model, name)
        found.update(dict.fromkeys(places, number))
    return found


def _unknown(model: onnx.ModelProto, name: str) -> UsageError:
    known = dict.fromkeys(_names(place, size)[0] for place, size in _open(model))
    return UsageError(f"size {name}: the open sizes of the model's inputs are {', '.join(known) or 'none'}")


def _names(place: Place, size: onnx.TensorShapeProto.Dimension) -> tuple[str, ...]:
    fallback = f"{place[0]}:{place[1]}"
    return (size.dim_param, fallback) if size.dim_param else (fallback,)


def _is_already(model: onnx.ModelProto, name: str, number: int) -> bool:
    """Whether `name` is an axis that the file fixes at just that number."""
    entry, _, axis = name.rpartition(":")
    for item in model.graph.input:
        sizes = item.type.tensor_type.shape.dim
        if item.name == entry and axis.isdecimal() and int(axis) < len(sizes):
            return bool(sizes[int(axis)].dim_value == number)
    return False


def places_of(plan: InputPlan) -> dict[str, list[Place]]:
    """Where each open size of the inputs, by its name in the graph, stands."""
    found: dict[str, list[Place]] = {}
    for entry, type_ in plan.types.items():
        for axis, size in enumerate(type_.shape):
            if isinstance(size, Dim):
                found.setdefault(str(size), []).append((entry, axis))
    return found


def written(model: onnx.ModelProto, plan: InputPlan, name: str, value: Dimension) -> onnx.ModelProto | None:
    """The model whose open size `name` is `value`, a number or another open size; None where it cannot be written so."""
    places = places_of(plan)
    if not isinstance(value, int) and str(value) not in places:
        return None
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    sizes = dict(_open(copy))
    if not isinstance(value, int):
        others = [sizes[place] for place in places[str(value)] if place in sizes]
        shared = next((size.dim_param for size in others if size.dim_param), str(value))
        for size in others:
            size.dim_param = shared
    for place in places[name]:
        if isinstance(value, int):
            sizes[place].dim_value = value
        else:
            sizes[place].dim_param = shared
    return copy
