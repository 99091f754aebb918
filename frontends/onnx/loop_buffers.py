"""Buffers that a loop carries along and writes at its counter: what is written becomes a value per element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from snnir.frontends.onnx.index_grids import Columns
from snnir.frontends.onnx.loop_index import Condition, Counter, equal, linear, mentions
from snnir.frontends.onnx.loop_plan import Plan
from snnir.frontends.onnx.registry import Known, Marker, RefusalError
from snnir.frontends.onnx.scope import Entry
from snnir.frontends.onnx.subgraph import Body, Stacked
from snnir.ir import BATCH, Dimension, Shape, Value
from snnir.ir.dims import dim, product

__all__ = ["WRITERS", "Part", "Written", "joined", "scatter_grid", "stack_of"]


@dataclass(frozen=True)
class Written(Marker):
    """The buffer `state` with `value` (which lacks the axis) written at `index` along `axis`."""

    state: Value
    axis: int
    index: Dimension
    value: Value

    @property
    def name(self) -> str:
        """The buffer's name in the model."""
        return self.state.name.removesuffix(".seen")

    def misuse(self) -> str:
        """Why a node cannot take it."""
        return f"it takes the buffer {self.name} in the element that writes to it"


@dataclass(frozen=True)
class Part(Marker):
    """`state[start:stop]` along `axis`, where `start` or `stop` follow the counter."""

    state: Value
    axis: int
    start: Dimension
    stop: Dimension | None

    def misuse(self) -> str:
        """Why a node cannot take it."""
        return f"it takes a part of {self.state.name} whose size changes from element to element"


def stack_of(written: Written, state: Value, plan: Plan, name: str) -> Stacked:
    """The values that a loop writes to the buffer `state`, stacked. Raises `RefusalError` unless they fill it."""
    parts = linear(written.index, plan.counter.name)
    size = written.state.type.shape[written.axis]
    if written.state is not state or parts is None or abs(parts[0]) != 1 or size != plan.length:
        raise RefusalError(
            f"it writes {written.name} ({written.state.type}) at {written.index}; supported are buffers that "
            "are filled, one element in each iteration"
        )
    backward = parts[0] < 0
    if parts[1] != (plan.length - 1 if backward else 0):
        raise RefusalError(f"it writes {written.name} at {written.index}, which does not fill it in {plan.length} iterations")
    return Stacked(name, written.value, written.axis, backward)


def _scatter_nd(body: Body, node: onnx.NodeProto, operands: Sequence[Entry], counter: Counter) -> Entry:
    """One whole element written along axis 0 by its index, or along any axis number by number."""
    buffer, index, update = _written(body, operands)
    if any(item.name == "reduction" and item.s != b"none" for item in node.attribute):
        raise RefusalError("it adds to what a buffer holds; only overwriting is supported")
    if index.shape[-1] > 1:
        return _row(body, node, buffer, _listed(index, buffer.type.shape, counter, body.fixed_batch), update)
    if index.size != 1:
        raise RefusalError("it writes several elements of a buffer at once; only one is supported")
    row = body.shaped(update, update.type.shape[index.ndim - 1 :], f"{node.output[0]}.row")
    return Written(buffer, 0, index.reshape(-1)[0], row)


def scatter_grid(body: Body, node: onnx.NodeProto, operands: Sequence[Entry]) -> Entry:
    """One whole element written number by number, at places that may be known only up to named sizes."""
    buffer, places, update = operands[:3]
    if not isinstance(buffer, Value) or not body.owns(buffer) or not isinstance(update, Value):
        raise RefusalError("it writes, at the loop's counter, to something that is no state of the loop")
    if any(item.name == "reduction" and item.s != b"none" for item in node.attribute):
        raise RefusalError("it adds to what a buffer holds; only overwriting is supported")
    found = places.written_axis(buffer.type.shape, body.fixed_batch is not None) if isinstance(places, Columns) else None
    return _row(body, node, buffer, found, body.capture(update))


def _listed(index: Known, shape: Shape, counter: Counter, batch: int | None) -> tuple[int, Dimension] | None:
    """Which axis of a buffer stays at one index, and at which, if `index` lists all places there in order.

    `batch` is the size that the batch was exported with, where it is read as any batch.
    """
    rows = index.reshape(-1, index.shape[-1])
    for axis in range(rows.shape[1]):
        position = rows[0, axis]
        if not mentions(rows[:1, axis], counter.name) or not (rows[:, axis] == position).all():
            continue
        others = np.delete(rows, axis, 1)
        listed = [int(last) + 1 for last in others[-1]]
        sizes = [size for place, size in enumerate(shape[: rows.shape[1]]) if place != axis]
        grid = np.indices(listed).reshape(len(listed), -1).T
        if all(a in (b, batch) for a, b in zip(listed, sizes, strict=True)) and np.array_equal(others, grid):
            return axis, position
    return None


def _row(body: Body, node: onnx.NodeProto, buffer: Value, found: tuple[int, Dimension] | None, update: Value) -> Written:
    """The buffer with the row `found` overwritten."""
    if found is None:
        raise RefusalError("it writes part of an element of a buffer; only whole elements are supported")
    axis, index = found
    rest = (*buffer.type.shape[:axis], *buffer.type.shape[axis + 1 :])
    for place, size in enumerate(rest):
        if size in (1, body.fixed_batch) and body.fixed_batch is not None and product(rest) != product(update.type.shape):
            batched = (*rest[:place], dim(BATCH), *rest[place + 1 :])  # the batch that was exported is any batch
            rest = batched if product(batched) == product(update.type.shape) else rest
    return Written(buffer, axis, index, body.shaped(update, rest, f"{node.output[0]}.row"))


def _scatter_elements(body: Body, node: onnx.NodeProto, operands: Sequence[Entry], counter: Counter) -> Entry:
    """One whole element written along any axis."""
    buffer, index, update = _written(body, operands)
    axis = body.caller.axis(next((item.i for item in node.attribute if item.name == "axis"), 0), buffer.type.rank)
    wanted = tuple(1 if place == axis else size for place, size in enumerate(buffer.type.shape))
    position = index.reshape(-1)[0]
    if index.shape != wanted or any(item != position for item in index.reshape(-1).tolist()):
        raise RefusalError("it writes part of an element of a buffer; only whole elements are supported")
    shape = (*update.type.shape[:axis], *update.type.shape[axis + 1 :])
    return Written(buffer, axis, position, body.shaped(update, shape, f"{node.output[0]}.row"))


def _where(body: Body, node: onnx.NodeProto, operands: Sequence[Entry], counter: Counter) -> Entry:
    """`Where(range == k, element, buffer)`."""
    mask = _known(operands[0])
    _, update, buffer = operands
    if not isinstance(buffer, Value) or not body.owns(buffer):
        raise RefusalError("it chooses by the loop's counter; only a buffer written at the counter is supported")
    long = [axis for axis, size in enumerate(mask.shape) if size != 1]
    rank = buffer.type.rank
    if len(long) == 1 and isinstance(update, Value | np.ndarray):
        axis = long[0] + rank - mask.ndim
        found = _one_hot(mask.reshape(-1).tolist(), counter)
        value = body.capture(update) if isinstance(update, Value) else body.graph.constant(f"{node.output[0]}.row", update)
        place = axis - rank + value.type.rank
        if found is not None and (place < 0 or value.type.shape[place] == 1):
            shape = value.type.shape if place < 0 else (*value.type.shape[:place], *value.type.shape[place + 1 :])
            if len(shape) == rank - 1:
                return Written(buffer, axis, found, body.shaped(value, shape, f"{node.output[0]}.row"))
    raise RefusalError("it chooses by the loop's counter; only a buffer written at the counter is supported")


def joined(body: Body, node: onnx.NodeProto, operands: Sequence[Entry]) -> Entry:
    """`Concat(buffer[:k], element, buffer[k + 1:])`."""
    parts = list(operands)
    axis = next((item.i for item in node.attribute if item.name == "axis"), 0)
    if len(parts) == 3 and isinstance(parts[0], Part) and isinstance(parts[2], Part) and isinstance(parts[1], Value):
        before, value, behind = parts[0], body.capture(parts[1]), parts[2]
        axis = body.caller.axis(axis, value.type.rank)
        fits = before.state is behind.state and before.axis == behind.axis == axis and before.start == 0
        fits = fits and before.stop is not None and behind.start == before.stop + 1 and behind.stop is None
        if fits and before.stop is not None and value.type.shape[axis] == 1:
            shape = (*value.type.shape[:axis], *value.type.shape[axis + 1 :])
            return Written(before.state, axis, before.stop, body.shaped(value, shape, f"{node.output[0]}.row"))
    raise RefusalError("it joins parts whose sizes change; only a buffer written at the counter is supported")


def _written(body: Body, operands: Sequence[Entry]) -> tuple[Value, Known, Value]:
    """Buffer, index and update of a node that scatters."""
    buffer, index, update = operands[:3]
    if not isinstance(buffer, Value) or not body.owns(buffer):
        raise RefusalError("it writes, at the loop's counter, to something that is no state of the loop")
    value = body.graph.constant("written", update) if isinstance(update, np.ndarray) else update
    if not isinstance(value, Value):
        raise RefusalError("it writes, at the loop's counter, something that is no tensor")
    return buffer, _known(index), body.capture(value)


def _one_hot(items: list[object], counter: Counter) -> Dimension | None:
    """The index at which a mask is true: item j holds where j equals it."""
    first = items[0]
    for part in first.parts if isinstance(first, Condition) else ():
        for index in (part, part * -1):
            wanted = [equal(counter, place, index) for place in range(len(items))]
            if all(_parts(item) == _parts(other) for item, other in zip(items, wanted, strict=True)):
                return index
    return None


def _parts(item: object) -> object:
    return set(item.parts) if isinstance(item, Condition) else item


WRITERS = {"ScatterND": _scatter_nd, "ScatterElements": _scatter_elements, "Where": _where}


def _known(entry: Entry) -> Known:
    if not isinstance(entry, np.ndarray):
        raise RefusalError("it writes at an index that changes with the input")
    return entry
