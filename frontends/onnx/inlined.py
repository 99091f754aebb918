"""Operators that ONNX itself declares as functions of others, and that are imported as those: attention, gated units."""

from __future__ import annotations

import onnx
from onnx import inliner

__all__ = ["FUNCTIONS", "inlined"]

FUNCTIONS = ("Attention", "CausalConvWithState", "LinearAttention", "RotaryEmbedding", "SwiGLU")
"""Operators that are written out. What they become may be refused: a softmax inside the network is."""


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its local functions and nodes of `FUNCTIONS` written out."""
    if model.functions:
        model = inliner.inline_local_functions(model)
    found = sorted({node.op_type for node in model.graph.node if node.domain in ("", "ai.onnx")} & set(FUNCTIONS))
    if not found:
        return model
    model = _typed(model)
    for name in found:
        try:
            before = model
            model = inliner.inline_selected_functions(model, [("", name)], inline_schema_functions=True)
        except RuntimeError:  # ONNX's inliner wants the type of operands that are left out; the walk refuses the node by name
            continue
        _name(before, model)
    return model


def _typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the types of its constants and of what its nodes give, which ONNX's inliner asks for."""
    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    known = {entry.name for entry in (*typed.graph.input, *typed.graph.value_info)}
    for tensor in typed.graph.initializer:
        if tensor.name not in known:
            info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            typed.graph.value_info.append(info)
    return onnx.shape_inference.infer_shapes(typed)


def _name(before: onnx.ModelProto, after: onnx.ModelProto) -> None:
    """Name the nodes that were written out after the node that they come from."""
    rest = list(after.graph.node)
    for node in before.graph.node:
        made: list[onnx.NodeProto] = []
        given: set[str] = set()
        while rest and not set(filter(None, node.output)) <= given:
            made.append(rest.pop(0))
            given.update(made[-1].output)
        label = node.name or next(iter(node.output))
        for index, each in enumerate(made if node.op_type in FUNCTIONS else ()):
            each.name = f"{node.op_type} {label}/{each.op_type}.{index}"
