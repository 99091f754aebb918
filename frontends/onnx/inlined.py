"""Operators that ONNX itself declares as functions of others, and that are imported as those: attention, gated units.

ONNX's own inliner writes them out; where operands in between are left out it fails, for it asks for their type, and the
function is taken from the operator's schema instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import onnx
from onnx import inliner

__all__ = ["FUNCTIONS", "inlined"]

FUNCTIONS = ("Attention", "CausalConvWithState", "LinearAttention", "RotaryEmbedding", "SwiGLU")
"""Operators that are written out. What they become may be refused: a softmax inside the network is."""


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its local functions and nodes of `FUNCTIONS` written out."""
    if model.functions:
        model = inliner.inline_local_functions(model)
    found = sorted({node.op_type for node in model.graph.node if _is_function(node)})
    if not found:
        return model
    model = _typed(model)
    for name in found:
        before = model
        try:
            model = inliner.inline_selected_functions(model, [("", name)], inline_schema_functions=True)
        except RuntimeError:  # it wants the type of operands that are left out
            model = _from_schemas(model, name)
        _name(before, model)
    return model


def _is_function(node: onnx.NodeProto) -> bool:
    return node.domain in ("", "ai.onnx") and node.op_type in FUNCTIONS


def _typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the types of its constants and of what its nodes give, which functions ask for."""
    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    known = {entry.name for entry in (*typed.graph.input, *typed.graph.value_info)}
    for tensor in typed.graph.initializer:
        if tensor.name not in known:
            info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            typed.graph.value_info.append(info)
    return onnx.shape_inference.infer_shapes(typed)


def _from_schemas(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model with the nodes of one operator replaced by what their schema says they are; where it cannot say so, as it is."""
    written = onnx.ModelProto()
    written.CopyFrom(model)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    graph = model.graph
    types = {entry.name: entry.type for entry in (*graph.value_info, *graph.input, *graph.output)}
    del written.graph.node[:]
    for place, node in enumerate(graph.node):
        if node.op_type == name and _is_function(node):
            written.graph.node.extend(_body(node, types, opset, f"{name}.{place}."))
        else:
            written.graph.node.append(node)
    return written


def _body(node: onnx.NodeProto, types: dict[str, onnx.TypeProto], opset: int, prefix: str) -> Iterator[onnx.NodeProto]:
    """The nodes that one node stands for, or the node itself where its schema does not tell."""
    schema: Any = onnx.defs.get_schema(node.op_type, opset, "")
    whole = onnx.NodeProto()
    whole.CopyFrom(node)
    given = {item.name for item in node.attribute}
    whole.attribute.extend(
        item.default_value for name, item in schema.attributes.items() if name not in given and item.default_value.name
    )
    operands = [types.get(name, onnx.TypeProto()).SerializeToString() for name in node.input]
    function = onnx.FunctionProto()
    versions = [version for version in schema.context_dependent_function_opset_versions if version <= opset]
    try:
        text = schema.get_context_dependent_function_with_opset_version(max(versions), whole.SerializeToString(), operands)
    except (RuntimeError, ValueError):
        text = b""
    if not text:
        yield node
        return
    function.ParseFromString(text)
    names = {"": ""} | dict.fromkeys(function.input, "")
    names |= dict(zip(function.input, node.input, strict=False))
    names |= {inner: outer for inner, outer in zip(function.output, node.output, strict=False) if outer}
    attributes = {item.name: item for item in whole.attribute}
    for inner in function.node:
        yield _renamed(inner, lambda name: names.get(name, prefix + name), attributes)


def _renamed(inner: onnx.NodeProto, rename: Callable[[str], str], attributes: dict[str, onnx.AttributeProto]) -> onnx.NodeProto:
    """A node of a function with the names of the graph around it, and its attributes filled in."""
    node = onnx.NodeProto()
    node.CopyFrom(inner)
    del node.input[:], node.output[:], node.attribute[:]
    node.input.extend(rename(name) for name in inner.input)
    node.output.extend(rename(name) for name in inner.output)
    for item in inner.attribute:
        source = attributes.get(item.ref_attr_name) if item.ref_attr_name else item
        if source is not None:
            node.attribute.add().CopyFrom(source)
            node.attribute[-1].name = item.name
            for body in [node.attribute[-1].g] if item.type == onnx.AttributeProto.GRAPH else []:
                _rename_graph(body, rename, attributes)
    return node


def _rename_graph(graph: onnx.GraphProto, rename: Callable[[str], str], attributes: dict[str, onnx.AttributeProto]) -> None:
    """The same for a graph inside a node of a function (both branches of an If)."""
    for entry in (*graph.input, *graph.output, *graph.initializer):
        entry.name = rename(entry.name)
    nodes = [_renamed(inner, rename, attributes) for inner in graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


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
