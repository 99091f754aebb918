"""What a model says of itself before it is imported, as all frontends give it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Survey", "SurveyedNode"]

_SHAPES = ("Shape", "Size")
"""Operators whose results follow from sizes."""


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
