"""What a frontend offers to a lowering: a way to add nodes and constants that belong to one node of the user's model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np

from snnir.ir.graph import Value
from snnir.ir.op import Op

__all__ = ["Builder", "RefusalError"]


class RefusalError(Exception):
    """A node of a model cannot be imported, for the reason given; a frontend says which node, and where.

    `sizes` names open sizes that the reason is about, where the node's operands do not tell.
    """

    def __init__(self, reason: str, sizes: Iterable[str] = ()) -> None:
        super().__init__(reason)
        self.sizes = frozenset(sizes)


class Builder(Protocol):
    """A node under import."""

    @property
    def limits(self) -> Mapping[str, int]:
        """Upper ends of open sizes, by their names."""
        ...

    def emit(self, op: Op, *operands: Value, label: str = "") -> Value:
        """Add a node. With a `label` it is an auxiliary one; without, it is the result, under the result's own name."""
        ...

    def array(self, label: str, array: np.ndarray) -> Value:
        """A constant of the graph, named after the node and `label`."""
        ...
