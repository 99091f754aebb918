"""Which known tensors are masks of attention: minus infinity at what a softmax must not see."""

from __future__ import annotations

import numpy as np
import onnx

from snnir.ir.lowering.masks import hides

__all__ = ["is_mask"]

_MOVES = (
    "Cast",
    "CastLike",
    "Concat",
    "Expand",
    "Gather",
    "Identity",
    "Pad",
    "Reshape",
    "Shape",
    "Slice",
    "Squeeze",
    "Tile",
    "Transpose",
    "Trilu",
    "Unsqueeze",
)
_TAKES = ("Add", "Where", "ReduceMax", "Equal", "Sub", *_MOVES)


def is_mask(graph: onnx.GraphProto, name: str, array: np.ndarray) -> bool:
    """Whether an initializer holds minus infinity, and only sums and choices take it, perhaps moved."""
    if not hides(array):
        return False
    takers = [node for node in graph.node if name in node.input]
    return bool(takers) and all(node.op_type in _TAKES for node in takers)
