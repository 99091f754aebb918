"""Data movement: reshapes, transposes, slices, pads, concatenation."""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import spread_from
from snnir.frontends.onnx.handlers.choices import looked_up
from snnir.frontends.onnx.registry import Known, RefusalError, Result, handler
from snnir.ir import BATCH, Dim, Dimension, Shape, Value
from snnir.ir.batch import holds_batch, per_sample
from snnir.ir.dims import concrete, dim, product
from snnir.ir.lowering.padding import padded
from snnir.ir.lowering.taking import taken_rows
from snnir.ir.ops import Cast, Concat, Expand, Extend, Gather, Reshape, ReverseParts, Slice, Transpose

__all__: list[str] = []

_FAR = 1 << 31
_FARTHEST = 1_000_000_000
"""No axis of unknown size is longer: exporters write ends from here on for the end of the axis."""


def _shape(array: Known) -> list[Dimension]:
    return [size if isinstance(size, Dim) else int(size) for size in array.reshape(-1).tolist()]


@handler("Reshape", "reshape")
def reshape(call: Call) -> list[Result]:
    """0 copies a size (unless allowzero), -1 takes the rest; the batch that was exported is read as any batch."""
    x = call.value(0)
    target = _shape(call.known(1, "the target shape"))
    if not call.integer("allowzero", 0):
        target = [x.type.shape[axis] if size == 0 else size for axis, size in enumerate(target)]
    if call.fixed_batch is not None:
        _generalise(target, x.type.shape, call.fixed_batch)
    if -1 in target:
        place = target.index(-1)
        rest = product(tuple(size for index, size in enumerate(target) if index != place))
        target[place] = product(x.type.shape) // rest
    return [_reshaped(call, x, tuple(target))]


def _generalise(target: list[Dimension], shape: Shape, fixed: int) -> None:
    """Read a size of `target` that is, or holds, the exported batch as any batch: one with as much before it as in `shape`.

    Where `shape` holds the batch folded with `inner`, as much again may stand before it: the batch was the inner factor.
    """
    axis = next((axis for axis, size in enumerate(shape) if holds_batch(size)), None)
    if axis is None or any(holds_batch(size) for size in target):
        return
    before, inner = product(shape[:axis]), per_sample(shape)[axis]
    alone = [place for place, size in enumerate(target) if size == fixed]
    folded = [place for place, size in enumerate(target) if isinstance(size, int) and size > fixed and size % fixed == 0]
    for place in [*alone, *folded]:
        ahead = product(tuple(target[:place]))
        if -1 not in target[:place] and ahead in (before, before * inner):
            target[place] = concrete(target[place]) // fixed * dim(BATCH)
            return


def _reshaped(call: Call, x: Value, shape: Shape) -> Value:
    return x if shape == x.type.shape else call.emit(Reshape(shape), x)


@handler("Flatten", "reshape")
def flatten(call: Call) -> list[Result]:
    """To two axes."""
    x = call.value(0)
    axis = call.integer("axis", 1)
    axis = axis + x.type.rank if axis < 0 else axis
    return [_reshaped(call, x, (product(x.type.shape[:axis]), product(x.type.shape[axis:])))]


@handler("Squeeze", "reshape")
def squeeze(call: Call) -> list[Result]:
    """Axes as attribute or operand; all of size 1 where none are given."""
    x = call.value(0)
    axes = call.known_integers(1, "the axes") if call.has(1) else call.integers("axes", ())
    chosen = {call.axis(axis, x.type.rank) for axis in axes} or {i for i, size in enumerate(x.type.shape) if size == 1}
    if any(x.type.shape[axis] != 1 for axis in chosen):
        raise RefusalError(f"it squeezes axes {sorted(chosen)} of {x.type}, which are not all of size 1")
    return [_reshaped(call, x, tuple(size for axis, size in enumerate(x.type.shape) if axis not in chosen))]


@handler("Unsqueeze", "reshape")
def unsqueeze(call: Call) -> list[Result]:
    """Axes as attribute or operand."""
    x = call.value(0)
    axes = call.known_integers(1, "the axes") if call.has(1) else call.integers("axes", ())
    rank = x.type.rank + len(axes)
    chosen = {call.axis(axis, rank) for axis in axes}
    sizes = iter(x.type.shape)
    return [_reshaped(call, x, tuple(1 if axis in chosen else next(sizes) for axis in range(rank)))]


@handler("Transpose", "transpose")
def transpose(call: Call) -> list[Result]:
    """Axes reversed where perm is not given."""
    x = call.value(0)
    perm = call.integers("perm", tuple(reversed(range(x.type.rank))))
    return [x if perm == tuple(range(x.type.rank)) else call.emit(Transpose(perm), x)]


@handler("Slice", "slice")
def slice_(call: Call) -> list[Result]:
    """Constant bounds; negative steps included."""
    x = call.value(0)
    starts, ends = (_shape(call.known(index, what)) for index, what in ((1, "the starts"), (2, "the ends")))
    axes = call.known_integers(3, "the axes") if call.has(3) else tuple(range(len(starts)))
    steps = call.known_integers(4, "the steps") if call.has(4) else (1,) * len(starts)
    parts = []
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        place = call.axis(axis, x.type.rank)
        begin, stop = _bounds(start, end, step, x.type.shape[place])
        parts.append(Slice(place, begin, stop, step))
    parts = [part for part in parts if (part.start, part.stop, part.step) != (None, None, 1)]
    for index, part in enumerate(parts):
        x = call.emit(part, x, label="" if index == len(parts) - 1 else f"axis{part.axis}")
    return [x]


def _bounds(start: Dimension, end: Dimension, step: int, size: Dimension) -> tuple[int | None, int | None]:
    """Python's bounds; None for an end of the axis."""
    begin: Dimension | None = start
    stop: Dimension | None = end
    if step > 0:
        begin = None if start == 0 or (isinstance(start, int) and start <= -_FAR + 1) else start
        whole = end == size or (isinstance(end, int) and end >= (size if isinstance(size, int) else _FARTHEST))
        stop = None if whole else end
    else:
        begin = None if start == size or (isinstance(start, int) and start >= _FAR - 1) or start == -1 else start
        stop = None if isinstance(end, int) and end <= -_FAR + 1 else end
    if isinstance(begin, Dim) or isinstance(stop, Dim):
        raise RefusalError(f"its bounds {start}:{end} depend on sizes that are known only at run time")
    return begin, stop


@handler("ReverseSequence", "slice", "gather", "reshape", "reverse_parts")
def reverse_sequence(call: Call) -> list[Result]:
    """Known lengths: all of an axis turned around (TensorFlow's `reverse`), or in a model of a fixed batch a part of it. Lengths
    that change with the input: on the host.
    """
    x = call.value(0)
    axis = call.axis(call.integer("time_axis", 0), x.type.rank)
    lengths = spread_from(call.operands[1])
    if isinstance(lengths, Value):
        if lengths.type.is_real:  # integers that are read as real numbers
            lengths = call.emit(Cast("i64"), lengths, label="lengths")
        return [call.emit(ReverseParts(axis, call.axis(call.integer("batch_axis", 1), x.type.rank)), x, lengths)]
    if not isinstance(lengths, np.ndarray):
        raise RefusalError("the lengths of its parts are missing")
    if all(length == x.type.shape[axis] for length in lengths.reshape(-1).tolist()):
        return [call.emit(Slice(axis, None, None, -1), x)]
    return [_turned_parts(call, x, axis, lengths.reshape(-1).astype(np.int64))]


def _turned_parts(call: Call, x: Value, axis: int, lengths: np.ndarray) -> Value:
    """The first `lengths[n]` elements of sequence n turned around, as one choice from all elements."""
    batch = call.axis(call.integer("batch_axis", 1), x.type.rank)
    shape = call.static(x.type.shape, "sequence_lens of less than the full length")
    if len(lengths) != shape[batch]:
        raise RefusalError(f"its sequence_lens name {len(lengths)} sequences of {shape[batch]}")
    places = np.indices(shape)
    ends = lengths[places[batch]]
    places[axis] = np.where(places[axis] < ends, ends - 1 - places[axis], places[axis])
    order = np.ravel_multi_index(list(places), shape).reshape(-1)
    line = call.emit(Reshape((order.size,)), x, label="line")
    chosen = call.emit(Gather(0, tuple(int(place) for place in order), (order.size,)), line, label="turned")
    return call.emit(Reshape(shape), chosen)


@handler("Split", "slice")
def split(call: Call) -> list[Result]:
    """Into equal parts, the sizes given, or num_outputs."""
    x = call.value(0)
    axis = call.axis(call.integer("axis", 0), x.type.rank)
    sizes = call.known_integers(1, "the sizes") if call.has(1) else call.integers("split", ())
    if not sizes:
        (total,) = call.static((x.type.shape[axis],), "an axis that is split into equal parts")
        count = call.integer("num_outputs", len(call.node.output))
        each = -(-total // count)
        sizes = tuple(min(each, total - index * each) for index in range(count))
    results: list[Result] = []
    start = 0
    for index, size in enumerate(sizes):
        results.append(call.emit(Slice(axis, start, start + size), x, output=index))
        start += size
    return results


@handler("Gather", "gather", "lookup", "take_along")
def gather(call: Call) -> list[Result]:
    """Constant indices; or a known table and whole numbers that change; or, in a model of one sample, both change."""
    table, index = call.operands[:2]
    if isinstance(table, np.ndarray) and isinstance(index, Value):
        return [looked_up(call, table, index)]
    x = call.value(0)
    if isinstance(index, Value):
        return [taken_rows(call, x, index, call.axis(call.integer("axis", 0), x.type.rank))]
    indices = call.known_integers(1, "the index")
    shape = call.known(1, "the index").shape
    return [call.emit(Gather(call.axis(call.integer("axis", 0), x.type.rank), indices, shape), x)]


@handler("Concat", "concat")
def concat(call: Call) -> list[Result]:
    """Known parts become constants; those that are the same for each sample of the exported batch, for any batch."""
    values = [call.value(index) for index in range(len(call.operands))]
    axis = call.axis(call.integer("axis", 1), values[0].type.rank)
    batch = next((value.type.batch_axis for value in values if value.type.batch_axis is not None), None)
    if call.fixed_batch is not None and batch is not None and batch != axis:
        values = [_any_batch(call, value, batch) for value in values]
    return [call.emit(Concat(axis), *values)]


def _any_batch(call: Call, value: Value, batch: int) -> Value:
    """A constant that holds the exported batch along axis `batch`, all samples alike, spread over any batch."""
    if not value.is_constant or value.type.rank <= batch or value.type.shape[batch] != call.fixed_batch:
        return value
    one = value.array.take([0], axis=batch)
    if not (value.array == one).all():
        return value
    shape = (*value.type.shape[:batch], dim(BATCH), *value.type.shape[batch + 1 :])
    return call.emit(Expand(shape), call.constant(f"{value.name}.sample", one), label=f"{value.name}.batch")


@handler("Expand", "expand")
def expand(call: Call) -> list[Result]:
    """To a known shape, which may hold named sizes; a known tensor spreads over those too."""
    target = _shape(call.known(1, "the target shape"))
    x = call.value(0)
    sizes: list[Dimension] = [*([1] * (len(target) - x.type.rank)), *x.type.shape]
    target = [*([1] * (len(sizes) - len(target))), *target]
    if call.fixed_batch is not None:  # the batch that was exported is read as any batch
        pairs = list(zip(sizes, target, strict=True))
        target = [size if wanted == call.fixed_batch and holds_batch(size) else wanted for size, wanted in pairs]
    shape = tuple(size if wanted == 1 else wanted for size, wanted in zip(sizes, target, strict=True))
    return [x if shape == x.type.shape else call.emit(Expand(shape), x)]


@handler("ConstantOfShape", "expand")
def constant_of_shape(call: Call) -> list[Result]:
    """A value spread over a shape that is known only up to named sizes."""
    shape = tuple(_shape(call.known(0, "the shape")))
    filling = call.tensor("value", np.zeros(1, np.float32))
    constant = call.constant(f"{call.name()}.value", filling.reshape((1,) * len(shape)))
    return [call.emit(Expand(shape), constant)]


@handler("Pad", "pad", "extend", "add", "mul", "expand", "masked")
def pad(call: Call) -> list[Result]:
    """Constant mode with any value (minus infinity is a mask), reflect, edge and wrap."""
    x = call.value(0)
    rank = x.type.rank
    given = call.known_integers(1, "the amounts") if call.has(1) else call.integers("pads", ())
    axes = call.known_integers(3, "the axes") if call.has(3) else tuple(range(rank))
    amounts = [0] * (2 * rank)
    for index, axis in enumerate(axes):
        place = call.axis(axis, rank)
        amounts[place], amounts[place + rank] = given[index], given[index + len(axes)]
    mode = call.word("mode", "constant")
    if not any(amounts):
        return [x]
    if mode in ("reflect", "edge", "wrap"):
        return [_extended(call, x, amounts, mode)]
    if mode != "constant":
        raise RefusalError(f"mode {mode!r} is not one of constant, reflect, edge, wrap")
    filling = float(call.known(2, "the padding value").reshape(-1)[0]) if call.has(2) else call.number("value", 0.0)
    return [padded(call, x, amounts, filling)]


def _extended(call: Call, x: Value, amounts: list[int], mode: str) -> Value:
    if min(amounts) < 0:
        raise RefusalError(f"it crops in {mode} mode")
    if x.type.batch_axis is not None and (amounts[x.type.batch_axis] or amounts[x.type.batch_axis + x.type.rank]):
        raise RefusalError("it pads the batch")
    return call.emit(Extend(tuple(amounts), mode), x)
