"""What a model says of itself before it is imported: who made it, and its nodes, bodies included."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from snnir.frontends.onnx.call import origin_of
from snnir.frontends.onnx.model import Source, load_model, metadata, provenance
from snnir.frontends.onnx.subgraph_names import captured_names, subgraphs_of
from snnir.ir.lowering.survey import Survey, SurveyedNode

__all__ = ["survey"]


def survey(source: Source) -> Survey:
    """Read a model without importing it. Raises `ModelError` where it cannot be read."""
    model, name = load_model(source)
    stored = frozenset(tensor.name for tensor in model.graph.initializer)
    return Survey(name, provenance(model), metadata(model), tuple(_nodes(model.graph, "")), stored)


def _nodes(graph: onnx.GraphProto, inside: str) -> Iterator[SurveyedNode]:
    for node in graph.node:
        origin = origin_of(node)
        takes = tuple(name for name in (*node.input, *captured_names(node)) if name)
        name = node.name or next(iter(node.output), "")
        yield SurveyedNode(origin, node.op_type, name, takes, tuple(filter(None, node.output)), inside)
        for body in subgraphs_of(node):
            yield from _nodes(body, origin)
