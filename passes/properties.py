"""What passes need of a graph and promise of it, as predicates that the manager checks.

A property says where it does not hold, in a user's words. A pass lists properties in `requires` and `ensures`; the order of a
pipeline follows from them, and a pipeline in another order is refused by name before the pass runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from snnir.ir.graph import Graph, Node
from snnir.ir.ops import (
    AveragePool,
    BatchNorm,
    Fs,
    Observe,
    Recurrent,
    Relu,
)

__all__ = [
    "AVERAGES_SUBSTITUTED",
    "BATCH_NORM_FOLDED",
    "LAYERS_LOWERED",
    "NOTHING_DEAD",
    "NO_OBSERVERS",
    "RELU_IS_CLIP",
    "SCHEDULED",
    "Property",
]


@dataclass(frozen=True)
class Property:
    """A predicate on graphs, bodies included."""

    name: str
    """What holds, as the end of "the graph has ..."."""
    by: str
    """The pass that makes it so."""
    breaks: Callable[[Node], bool]
    """Whether a node does not have the property."""

    def missing(self, graph: Graph) -> str:
        """The first node that does not have it; empty where all have."""
        return next((f"{node.describe()} (op {node.op.name})" for _, node in graph.walk() if self.breaks(node)), "")


def _lowerable(node: Node) -> bool:
    """A recurrent layer whose parameters are constants: another one stays, and is refused later by name."""
    op = node.op
    return isinstance(op, Recurrent) and all(
        value.is_constant or value is op.mask(node.operands) for value in (*node.operands[1:4], *node.operands[4 + op.STATES :])
    )


LAYERS_LOWERED = Property("no recurrent layers, but scans", "lower-recurrent", _lowerable)
AVERAGES_SUBSTITUTED = Property(
    "no average pools, but weighted sums", "substitute-operators", lambda node: isinstance(node.op, AveragePool)
)
BATCH_NORM_FOLDED = Property(
    "no batch norm",
    "canonicalize",
    lambda node: isinstance(node.op, BatchNorm) and all(value.is_constant for value in node.operands[1:]),
)
RELU_IS_CLIP = Property("clips in the place of relu", "canonicalize", lambda node: isinstance(node.op, Relu))
NO_OBSERVERS = Property("no observers, but quantizers", "quantize-activations", lambda node: isinstance(node.op, Observe))
NOTHING_DEAD = Property("no dead nodes", "remove-dead-code", lambda node: not any(value.uses for value in node.outputs))
SCHEDULED = Property("starts of few-spike neurons", "schedule-phases", lambda node: isinstance(node.op, Fs) and node.op.start < 0)
