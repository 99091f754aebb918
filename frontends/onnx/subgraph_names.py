"""Graphs inside nodes, and the names they take from around them."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

__all__ = ["captured_names", "subgraphs_of", "used_names"]


def subgraphs_of(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs that a node holds as attributes."""
    return [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]


def used_names(graph: onnx.GraphProto) -> set[str]:
    """Every name that a node takes or that a graph gives out, bodies included."""
    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    return used.union(*(used_names(body) for node in graph.node for body in subgraphs_of(node)))


def captured_names(node: onnx.NodeProto) -> Iterator[str]:
    """Names that the bodies of a node take from around it."""
    for body in subgraphs_of(node):
        own = {entry.name for entry in body.input} | {tensor.name for tensor in body.initializer}
        own |= {name for inner in body.node for name in inner.output}
        taken = {name for inner in body.node for name in (*inner.input, *captured_names(inner)) if name}
        yield from sorted((taken | {entry.name for entry in body.output}) - own)
