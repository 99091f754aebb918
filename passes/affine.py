"""What several passes ask about affine ops and their constants."""

from __future__ import annotations

import numpy as np

from snnir.ir import Node, Value

__all__ = ["channel_vector", "is_constant", "used_once"]


def is_constant(value: Value) -> bool:
    """Whether the value is a real constant."""
    return value.is_constant and value.type.is_real


def used_once(node: Node, position: int) -> bool:
    """Whether `node` is the only taker of its operand at `position` (in the node's own graph)."""
    return len(node.operands[position].uses) == 1


def channel_vector(constant: np.ndarray, rank: int, channels: int, axis: int) -> np.ndarray | None:
    """`constant`, to be spread over a value of `rank` axes, as a vector along `axis`; None where it varies along others."""
    if constant.ndim > rank:
        return None
    shape = (1,) * (rank - constant.ndim) + constant.shape
    if any(size != 1 for index, size in enumerate(shape) if index != axis % rank) or shape[axis] not in (1, channels):
        return None
    return np.broadcast_to(constant.reshape(-1), (channels,)).copy()
