"""What a model says of itself before it is imported: who made it, and its nodes, bodies included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx

from snnir.frontends.onnx.call import origin_of
from snnir.frontends.onnx.model import Source, load_model, metadata, provenance
from snnir.frontends.onnx.subgraph_names import captured_names, subgraphs_of

__all__ = ["Survey", "SurveyedNode", "survey"]

_SHAPES = ("Shape", "Size")


@dataclass(frozen=True)
class SurveyedNode:
    """One node of a model."""

    origin: str
    """Operator and name, as nodes of an imported graph carry it."""
    operator: str
    name: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    inside: str
    """The node whose body it is part of; empty outside of bodies."""


@dataclass(frozen=True)
class Survey:
    """A model's name, provenance, metadata and nodes in order."""

    name: str
    provenance: str
    metadata: Mapping[str, str]
    nodes: tuple[SurveyedNode, ...]
    constants: frozenset[str] = frozenset()
    """Names of tensors that the file stores."""

    def constant(self) -> set[str]:
        """Origins of the nodes whose results are known without an input: of constants alone, or of what has a shape."""
        known, found = set(self.constants), set()
        for node in self.nodes:
            if node.operator in _SHAPES or known.issuperset(node.takes):
                found.add(node.origin)
                known.update(node.gives)
        return found

    def behind(self, origins: set[str]) -> set[str]:
        """Origins of the nodes that take, directly or not, what the nodes of `origins` give."""
        names: set[str] = set()
        found: set[str] = set()
        for node in self.nodes:
            if node.origin in origins:
                names.update(node.gives)
            elif names.intersection(node.takes):
                found.add(node.origin)
                names.update(node.gives)
        return found


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
