"""Which channels of which values may be scaled together without changing what a network computes.

A factor per channel passes through positively homogeneous ops, `f(s x) = s f(x)` for s > 0 (ReLU, leaky ReLU, PReLU, max),
through sums of values that share it, and through data movement; linear ops take it up in their weights. Everything else
needs the values as they are.
"""

from __future__ import annotations

import math

import numpy as np

from snnir.ir import Graph, Node, Value
from snnir.ir.ops import (
    Add,
    Clip,
    Concat,
    Conv,
    Elementwise,
    Gather,
    LeakyRelu,
    Linear,
    MaxPool,
    Mul,
    PRelu,
    Relu,
    Reshape,
    Transpose,
)

__all__ = ["ChannelScales", "homogeneous"]


def homogeneous(node: Node) -> bool:
    """Whether the op is `f` with `f(s x) = s f(x)` for all s > 0."""
    if isinstance(node.op, Clip):
        return node.op.low in (0.0, -math.inf) and node.op.high == math.inf
    return isinstance(node.op, Relu | LeakyRelu | PRelu)


class ChannelScales:
    """For each value an axis and, along it, ids of channels; values whose channels have the same id share a factor.

    `places[value]` is `(axis, ids)`. Id 0 stands for the factor 1: it cannot be changed. Ids are representatives: `find` maps an
    array of them. Graphs of bodies have analyses of their own.
    """

    def __init__(self, graph: Graph) -> None:
        self.parents = np.zeros(1, np.int64)
        self.places: dict[Value, tuple[int, np.ndarray]] = {}
        for value in graph.inputs:
            self._fixed(value)
        for node in graph.nodes:
            self._visit(node)
        for value in graph.outputs.values():
            self._fix(value)

    def find(self, ids: np.ndarray) -> np.ndarray:
        """The representatives of ids."""
        found = self.parents[ids]
        while True:
            above = self.parents[found]
            if np.array_equal(above, found):
                return np.asarray(found)
            found = above

    def free(self, value: Value) -> bool:
        """Whether any channel of the value may be scaled."""
        return value in self.places and bool((self.find(self.places[value][1]) != 0).any())

    def _fresh(self, value: Value, axis: int) -> None:
        size = value.type.shape[axis]
        if not isinstance(size, int):
            self._fixed(value)
            return
        start = len(self.parents)
        self.parents = np.concatenate([self.parents, np.arange(start, start + size)])
        self.places[value] = (axis, np.arange(start, start + size))

    def _fixed(self, value: Value) -> None:
        self.places.pop(value, None)

    def _fix(self, value: Value) -> None:
        if value in self.places:
            self._join(self.places[value][1], np.zeros(1, np.int64))

    def _join(self, a: np.ndarray, b: np.ndarray) -> None:
        for first, second in zip(*(array.tolist() for array in np.broadcast_arrays(a, b)), strict=True):
            low, high = sorted(self.find(np.array([first, second])).tolist())
            self.parents[high] = low

    def _visit(self, node: Node) -> None:
        op = node.op
        weighted = len(node.operands) > 1 and all(value.is_constant for value in node.operands[1:])
        if isinstance(op, Linear) and weighted:
            self._absorb(node.operands[0], node.operands[0].type.rank - 1)
            self._fresh(node.output, node.output.type.rank - 1)
        elif isinstance(op, Conv) and weighted:
            self._absorb(node.operands[0], 1)
            self._fresh(node.output, 1)
        elif (isinstance(op, Elementwise) and homogeneous(node)) or isinstance(op, MaxPool) or (isinstance(op, Mul) and weighted):
            self._same(node, node.operands[0])
        elif isinstance(op, Add):
            self._sum(node)
        elif isinstance(op, Transpose | Reshape | Concat | Gather):
            self._move(node)
        else:
            for value in node.operands:
                self._fix(value)

    def _absorb(self, value: Value, axis: int) -> None:
        """A linear op takes factors along one axis into its weights."""
        if value in self.places and self.places[value][0] != axis:
            self._fix(value)

    def _same(self, node: Node, value: Value) -> None:
        kept = isinstance(node.op, MaxPool) or node.output.type.shape == value.type.shape
        if value in self.places and kept:
            self.places[node.output] = self.places[value]
        else:
            self._fix(value)

    def _sum(self, node: Node) -> None:
        changing = [value for value in node.operands if not value.is_constant]
        places = [self.places.get(value) for value in changing]
        known = [place for place in places if place is not None]
        rank = node.output.type.rank
        alike = all(value.type.rank == rank for value in changing) and len({place[0] for place in known}) == 1
        sizes = {len(place[1]) for place in known}
        if len(known) < len(changing) or not alike or len(sizes) != 1:
            for value in changing:
                self._fix(value)
            return
        for place in known[1:]:
            self._join(known[0][1], place[1])
        self.places[node.output] = known[0]

    def _move(self, node: Node) -> None:
        places = [self.places.get(value) for value in node.operands]
        place = places[0]
        moved: tuple[int, np.ndarray] | None = None
        if all(item is not None for item in places) and place is not None:
            axis, ids = place
            op = node.op
            if isinstance(op, Transpose):
                moved = op.perm.index(axis), ids
            elif isinstance(op, Gather) and len(op.shape) == 1:
                moved = axis, ids[np.array(op.indices)] if op.axis == axis else ids
            elif isinstance(op, Concat):
                moved = self._concat(op, [item for item in places if item is not None])
            elif isinstance(op, Reshape):
                moved = self._reshape(node, axis, ids)
        if moved is None:
            for value in node.operands:
                self._fix(value)
        else:
            self.places[node.output] = moved

    def _concat(self, op: Concat, places: list[tuple[int, np.ndarray]]) -> tuple[int, np.ndarray] | None:
        axis = places[0][0]
        if any(place[0] != axis for place in places):
            return None
        if op.axis == axis:
            return axis, np.concatenate([ids for _, ids in places])
        for _, ids in places[1:]:
            if len(ids) != len(places[0][1]):
                return None
            self._join(places[0][1], ids)
        return places[0]

    def _reshape(self, node: Node, axis: int, ids: np.ndarray) -> tuple[int, np.ndarray] | None:
        """The axis along which ids vary afterwards, where it is one; sizes but for the batch must be known."""
        before, after = node.operands[0].type.shape, node.output.type.shape
        if axis == 0 or not before or not after or before[0] != after[0]:
            return None
        if not all(isinstance(size, int) for size in (*before[1:], *after[1:])):
            return None
        shape = tuple(int(str(size)) for size in before[1:])
        spread = np.broadcast_to(ids.reshape(-1, *[1] * (len(shape) - axis)), shape)
        there = spread.reshape([int(str(size)) for size in after[1:]])
        for found in range(there.ndim):
            line = there[tuple(slice(None) if other == found else 0 for other in range(there.ndim))]
            if np.array_equal(there, np.broadcast_to(line.reshape(-1, *[1] * (there.ndim - found - 1)), there.shape)):
                return found + 1, line.copy()
        return None
