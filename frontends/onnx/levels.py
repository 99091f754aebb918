"""The integers that ONNX Runtime computes in a quantized model."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx

from snnir.frontends.onnx.model import Source, load_model
from snnir.frontends.onnx.reference import run_serialized
from snnir.frontends.onnx.registry import DOMAINS

__all__ = ["foreign_domains", "half_types", "run_levels"]

_HALF_BYTES = (onnx.TensorProto.INT4, onnx.TensorProto.UINT4)
_RUNS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")


def foreign_domains(source: Source) -> list[str]:
    """Domains of operators that snnir imports and ONNX Runtime does not know."""
    used = {node.domain for node in load_model(source)[0].graph.node}
    return sorted((used & set(DOMAINS)) - set(_RUNS))


def half_types(source: Source) -> set[str]:
    """Which of `float16` and `bfloat16` the model computes in."""
    model = load_model(source, as_stored=True)[0]
    kinds = {onnx.TensorProto.FLOAT16: "float16", onnx.TensorProto.BFLOAT16: "bfloat16"}
    found = {tensor.data_type for tensor in model.graph.initializer}
    found |= {entry.type.tensor_type.elem_type for entry in (*model.graph.input, *model.graph.output)}
    for node in model.graph.node:
        found |= {item.i for item in node.attribute if node.op_type == "Cast" and item.name == "to"}
        found |= {item.t.data_type for item in node.attribute if item.type == onnx.AttributeProto.TENSOR}
    return {kinds[kind] for kind in found & set(kinds)}


def run_levels(
    source: Source,
    names: Collection[str],
    inputs: Mapping[str, np.ndarray],
    batch_axes: Mapping[str, int] | None = None,
    ranks: Mapping[str, int] | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """`(outputs, integers)`: the model's outputs, and its tensors called `names`. Raises `ModelError`.

    Integers of 4 bits, which NumPy lacks, come as int32.
    """
    model = onnx.ModelProto()
    model.CopyFrom(load_model(source)[0])
    own = [output.name for output in model.graph.output]
    made = {name for node in model.graph.node for name in node.output}
    wanted = {name: name for name in names if name in made - set(own)}
    for entry in onnx.shape_inference.infer_shapes(model).graph.value_info:
        if entry.name in wanted and entry.type.tensor_type.elem_type in _HALF_BYTES:
            wanted[entry.name] = f"{entry.name}.as_int32"
            cast = onnx.helper.make_node("Cast", [entry.name], [wanted[entry.name]], to=onnx.TensorProto.INT32)
            model.graph.node.append(cast)
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in wanted.values())
    found = run_serialized(model.SerializeToString(), inputs, batch_axes, ranks, fused=False)
    found.update({name: found[given] for name, given in wanted.items()})
    return {name: found[name] for name in own}, {name: found[name] for name in names if name in found}
