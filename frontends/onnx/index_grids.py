"""Tensors of indices whose sizes are named: exporters write a row of a buffer by listing the places of all its numbers.

Each number of such a tensor is an affine function of its place, so a start and a stride for each axis say it all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from snnir.frontends.onnx.fold import shape_array
from snnir.frontends.onnx.registry import Known, Marker, RefusalError
from snnir.frontends.onnx.scope import Entry
from snnir.ir import BATCH, Dim, Dimension, Shape
from snnir.ir.dims import concrete, dim, product

__all__ = ["Columns", "Grid", "Row", "grid_node"]


@dataclass(frozen=True)
class Grid(Marker):
    """A tensor of indices: at place p it holds `start + sum(strides * p)`."""

    shape: Shape
    start: Dimension
    strides: tuple[int, ...]

    def misuse(self) -> str:
        """Why a node cannot take it."""
        return "it computes with a tensor of indices whose size is known only at run time"

    def expanded(self, shape: Shape) -> Grid:
        """Broadcast to `shape`."""
        rank = max(len(shape), len(self.shape))
        mine = (*((1,) * (rank - len(self.shape))), *self.shape)
        wanted = (*((1,) * (rank - len(shape))), *shape)
        strides = (*((0,) * (rank - len(self.shape))), *self.strides)
        if any(a != b and 1 not in (a, b) for a, b in zip(mine, wanted, strict=True)):
            raise RefusalError(self.misuse())
        return Grid(
            tuple(b if a == 1 else a for a, b in zip(mine, wanted, strict=True)),
            self.start,
            tuple(0 if a == 1 else stride for a, stride in zip(mine, strides, strict=True)),
        )

    def reshaped(self, shape: Shape) -> Grid:
        """Axes of size 1 put in or left out."""
        if -1 in shape:
            rest = product(tuple(size for size in shape if size != -1))
            shape = tuple(product(self.shape) // rest if size == -1 else size for size in shape)
        kept = [(size, stride) for size, stride in zip(self.shape, self.strides, strict=True) if size != 1]
        if [size for size, _ in kept] != [size for size in shape if size != 1]:
            raise RefusalError(self.misuse())
        strides = iter(stride for _, stride in kept)
        return Grid(shape, self.start, tuple(0 if size == 1 else next(strides) for size in shape))


@dataclass(frozen=True)
class Columns(Marker):
    """Places in a tensor, one grid for each of its axes."""

    columns: tuple[Grid, ...]

    def misuse(self) -> str:
        """Why a node cannot take it."""
        return self.columns[0].misuse()

    def written_axis(self, shape: Shape, any_batch: bool) -> tuple[int, Dimension] | None:
        """Which axis of a buffer of `shape` stays at one index, and at which, if they list all places there in order.

        With `any_batch` a buffer that holds one sample stands for one that holds the batch.
        """
        fixed = [axis for axis, grid in enumerate(self.columns) if grid.start != 0 and not any(grid.strides)]
        if len(fixed) != 1:
            return None
        order = []
        for axis, grid in enumerate(self.columns):
            moving = [place for place, stride in enumerate(grid.strides) if stride]
            if axis == fixed[0] or (shape[axis] == 1 and not moving and grid.start == 0):
                continue
            if len(moving) != 1 or grid.start != 0 or grid.strides[moving[0]] != 1:
                return None
            size = grid.shape[moving[0]]
            if size != shape[axis] and not (any_batch and (shape[axis], size) == (1, dim(BATCH))):
                return None
            order.append(moving[0])
        rest = [size for place, size in enumerate(self.columns[0].shape) if place not in order]
        whole = order == sorted(set(order)) and all(size == 1 for size in rest)
        return (fixed[0], self.columns[fixed[0]].start) if whole else None


@dataclass(frozen=True)
class Row(Marker):
    """A row of a buffer that is written in the same iteration: exporters ask for its shape only."""

    shape: Shape
    buffer: str

    def misuse(self) -> str:
        """Why a node cannot take it."""
        return f"it reads, at the loop's counter, {self.buffer}, which itself changes from element to element"


def grid_node(node: onnx.NodeProto, operands: Sequence[Entry]) -> Entry:
    """The result of a node that makes or takes a tensor of indices of named size; None for all others."""
    first = operands[0] if operands else None
    operator = node.op_type
    attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    if isinstance(first, Row) and operator == "Shape" and not attributes:
        return shape_array(first.shape)
    if operator == "Range":
        return _range(operands)
    if operator == "Expand" and isinstance(first, Grid | np.ndarray) and _named(operands[1]):
        grid = _grid(first)
        return None if grid is None else grid.expanded(_sizes(operands[1]))
    if not any(isinstance(operand, Grid | Columns) for operand in operands):
        return None
    if operator in ("Identity", "Cast"):
        return first
    if operator == "Reshape" and isinstance(first, Columns):
        return first
    if operator == "Concat":
        grids = [operand for operand in operands if isinstance(operand, Grid)]
        last = attributes.get("axis") in (-1, len(grids[0].shape) - 1) if grids else False
        if last and len(grids) == len(operands) and all(grid.shape[-1] == 1 for grid in grids):
            return Columns(tuple(grid.reshaped(grid.shape[:-1]) for grid in grids))
    if operator == "Add":
        grids = [grid for operand in operands if (grid := _grid(operand)) is not None]
        if len(grids) == 2:
            a, b = (grids[0].expanded(grids[1].shape), grids[1].expanded(grids[0].shape))
            return Grid(a.shape, a.start + b.start, tuple(x + y for x, y in zip(a.strides, b.strides, strict=True)))
    if isinstance(first, Grid):
        if operator == "Shape" and not attributes:
            return shape_array(first.shape)
        if operator == "Reshape":
            return first.reshaped(_sizes(operands[1]))
        if operator == "Expand":
            return first.expanded(_sizes(operands[1]))
        if operator == "Unsqueeze":
            given = attributes["axes"] if "axes" in attributes else _sizes(operands[1])
            rank = len(first.shape) + len(given)
            places = {concrete(axis) % rank for axis in given}
            sizes = iter(first.shape)
            return first.reshaped(tuple(1 if axis in places else next(sizes) for axis in range(rank)))
        if operator == "Slice" and _sizes(operands[1]) == (0,) and _sizes(operands[2])[0] in (first.shape[0], (1 << 63) - 1):
            return first
    return None


def _range(operands: Sequence[Entry]) -> Entry:
    if not any(_named(operand) for operand in operands):
        return None
    start, limit, step = (_sizes(operand)[0] for operand in operands)
    count = limit - start
    return Grid((count,), start, (1,)) if step == 1 and isinstance(count, Dim) else None


def _named(entry: Entry) -> bool:
    return isinstance(entry, np.ndarray) and entry.dtype == object


def _sizes(entry: Entry) -> Shape:
    if not isinstance(entry, np.ndarray):
        raise RefusalError("it takes a size that changes with the input")
    return tuple(entry.reshape(-1).tolist())


def _grid(entry: Entry) -> Grid | None:
    """A tensor of indices as a grid, where it is known and is one."""
    if isinstance(entry, Grid):
        return entry
    if not isinstance(entry, np.ndarray) or entry.dtype.kind not in "iO" or not entry.size:
        return None
    array: Known = entry.astype(object)
    start = array[(0,) * array.ndim]
    strides = []
    for axis, size in enumerate(array.shape):
        place = tuple(1 if other == axis else 0 for other in range(array.ndim))
        strides.append(array[place] - start if size > 1 else 0)
    for place in np.ndindex(array.shape):
        if array[place] != start + sum(stride * number for stride, number in zip(strides, place, strict=True)):
            return None
    return Grid(array.shape, start, tuple(strides)) if all(isinstance(stride, int) for stride in strides) else None
