"""Elements written at known places: data movement, and with a reduction an element-wise op at those places."""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import real
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import BATCH, Dimension, Value
from snnir.ir.dims import dim
from snnir.ir.lowering.places import along, written
from snnir.ir.lowering.taking import written_at
from snnir.ir.ops import Expand

__all__: list[str] = []


@handler("ScatterND", "concat", "gather", "reshape", "add", "mul", "max_pool")
def scatter_nd(call: Call) -> list[Result]:
    """Known places, the same for each sample."""
    places = call.known(1, "the index").astype(np.int64)
    data, updates, batched = _operands(call)
    depth = places.shape[-1]
    sizes = call.static(data.type.shape[1:] if batched else data.type.shape, "writing elements")
    if batched:
        count = places.shape[0]
        samples = places.reshape(count, -1, depth)
        whole = count == call.fixed_batch and places.ndim > 1 and depth > 0
        if not whole or (samples[..., 0] != np.arange(count)[:, None]).any() or (samples[..., 1:] != samples[:1, :, 1:]).any():
            raise RefusalError("its index differs from sample to sample")
        places, depth = samples[0, :, 1:], depth - 1
    rows = places.reshape(-1, depth)
    rows = np.where(rows < 0, rows + np.array(sizes[:depth], np.int64), rows)
    first = np.zeros(len(rows), np.int64)
    for axis in range(depth):
        first = first * sizes[axis] + rows[:, axis]
    size = int(np.prod(sizes[depth:]))
    places = (first[:, None] * size + np.arange(size)).reshape(-1)
    return [written(call, data, updates, int(batched), places, call.word("reduction", "none"))]


def _scatter_elements(call: Call) -> list[Result]:
    """Known places along one axis, the same for each sample; or places that change with the input."""
    if isinstance(call.operands[1], Value):
        data, updates, _ = _operands(call)
        axis = call.axis(call.integer("axis", 0), data.type.rank)
        return [written_at(call, data, call.operands[1], axis, updates, call.word("reduction", "none"))]
    places = call.known(1, "the index").astype(np.int64)
    data, updates, batched = _operands(call)
    axis = call.axis(call.integer("axis", 0), data.type.rank)
    start = int(batched)
    sizes = call.static(data.type.shape[start:], "writing elements")
    if batched:
        if axis == 0 or places.shape[0] != call.fixed_batch or (places != places[:1]).any():
            raise RefusalError("its index differs from sample to sample")
        places = places[0]
    flat = along(places, axis - start, sizes).reshape(-1)
    return [written(call, data, updates, start, flat, call.word("reduction", "none"))]


for _operator in ("ScatterElements", "Scatter"):
    handler(_operator, "concat", "gather", "reshape", "add", "mul", "max_pool", "lookup", "sub")(_scatter_elements)


def _operands(call: Call) -> tuple[Value, Value, bool]:
    """Data and updates, both with the batch as axis 0 where one of them has it."""
    values = [real(call, 0), real(call, 2)]
    axes = {value.type.batch_axis for value in values if value.type.batch_axis is not None}
    if axes - {0}:
        raise RefusalError("it needs the batch as axis 0")
    if axes:
        values = [_spread(call, value, label) for value, label in zip(values, ("data", "updates"), strict=True)]
    return values[0], values[1], bool(axes)


def _spread(call: Call, value: Value, label: str) -> Value:
    """A known operand that is the same for all samples, over any batch."""
    if value.type.batch_axis is not None:
        return value
    if not value.is_constant or value.type.rank == 0 or value.type.shape[0] != call.fixed_batch:
        raise RefusalError(f"its {label} {value.type} have no batch, and the other operand has one")
    one = value.array[:1]
    if not (value.array == one).all():
        raise RefusalError(f"its {label} differ from sample to sample")
    shape: tuple[Dimension, ...] = (dim(BATCH), *value.type.shape[1:])
    return call.emit(Expand(shape), call.constant(f"{value.name}.sample", one), label=f"{label}.batch")
