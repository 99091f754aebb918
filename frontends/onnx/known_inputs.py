"""Inputs whose values the caller gives while importing: they become constants of the model.

ONNX lets a graph take as inputs what snnir needs to know beforehand: shapes, axes, trip counts, lists, optional values. A
list becomes the node that constructs it, and so does an optional value that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from snnir.errors import ModelError
from snnir.frontends.onnx.model import Source, load_model

__all__ = ["with_constants"]


def with_constants(source: Source, constants: Mapping[str, object]) -> onnx.ModelProto:
    """The model with the inputs called in `constants` turned into constants of those values.

    A value is a tensor (anything that NumPy makes an array of), a list of them for a list, or None for an optional value that
    is not there. A tensor gets the element type that the model declares, and must have its shape; integers must fit.
    Raises `ModelError` naming the input, what was found and what is expected.
    """
    loaded, name = load_model(source)
    model = onnx.ModelProto()
    model.CopyFrom(loaded)
    model.graph.name = name
    model.ir_version = max(model.ir_version, 4)  # from 4 on, initializers need not be inputs
    entries = {entry.name: entry for entry in model.graph.input}
    unknown = sorted(set(constants) - set(entries))
    if unknown:
        raise ModelError(f"constants names {', '.join(unknown)}; the inputs of model {name} are {', '.join(entries) or 'none'}")
    made: list[onnx.NodeProto] = []
    for key, value in constants.items():
        for old in [tensor for tensor in model.graph.initializer if tensor.name == key]:
            model.graph.initializer.remove(old)
        _enter(model.graph, key, entries[key].type, value, made)
        model.graph.input.remove(entries[key])
    nodes = [*made, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _enter(graph: onnx.GraphProto, name: str, type_: onnx.TypeProto, value: object, made: list[onnx.NodeProto]) -> None:
    """Add what gives `value` under `name`: a tensor to the graph, or nodes to `made`."""
    if type_.HasField("optional_type"):
        if value is None:
            made.append(onnx.helper.make_node("Optional", [], [name], type=type_.optional_type.elem_type))
            return
        _enter(graph, f"{name}.element", type_.optional_type.elem_type, value, made)
        made.append(onnx.helper.make_node("Optional", [f"{name}.element"], [name]))
        return
    if type_.HasField("sequence_type"):
        inner = type_.sequence_type.elem_type
        if not isinstance(value, list | tuple):
            raise ModelError(f"constant {name}: the model takes a list of tensors, found {type(value).__name__}")
        for index, item in enumerate(value):
            _enter(graph, f"{name}.{index}", inner, item, made)
        if value:
            made.append(onnx.helper.make_node("SequenceConstruct", [f"{name}.{index}" for index in range(len(value))], [name]))
        else:
            made.append(onnx.helper.make_node("SequenceEmpty", [], [name], dtype=inner.tensor_type.elem_type))
        return
    if not type_.HasField("tensor_type"):
        raise ModelError(f"constant {name}: only tensors, lists and optional values of them can be given")
    graph.initializer.append(_tensor(name, type_.tensor_type, value))


def _tensor(name: str, type_: onnx.TypeProto.Tensor, value: object) -> onnx.TensorProto:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ModelError(f"constant {name} is no tensor: {error}") from error
    kind = onnx.TensorProto.DataType.Name(type_.elem_type)
    if type_.elem_type == onnx.TensorProto.STRING:
        if array.dtype.kind not in "OU":
            raise ModelError(f"constant {name}: expected words ({kind}), found {array.dtype}")
        return onnx.helper.make_tensor(name, type_.elem_type, array.shape, np.asarray(array, object).reshape(-1).tolist())
    if array.dtype.kind in "OUSmM" or value is None:
        raise ModelError(f"constant {name}: expected numbers ({kind}), found {value!r}")
    target = onnx.helper.tensor_dtype_to_np_dtype(type_.elem_type)
    with np.errstate(all="ignore"):
        kept = array.astype(target)
    if target.kind in "iub" and not np.array_equal(kept, array):
        raise ModelError(f"constant {name}: {array.tolist()} does not fit its element type {kind}")
    if type_.HasField("shape"):
        sizes = [size.dim_value if size.HasField("dim_value") else None for size in type_.shape.dim]
        fits = array.ndim == len(sizes) and all(size in (None, found) for size, found in zip(sizes, array.shape, strict=True))
        if not fits:
            shown = ", ".join("?" if size is None else str(size) for size in sizes)
            raise ModelError(f"constant {name}: expected shape [{shown}], found {list(array.shape)}")
    return onnx.numpy_helper.from_array(np.ascontiguousarray(kept).reshape(array.shape), name)
