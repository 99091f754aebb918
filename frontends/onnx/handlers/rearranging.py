"""More data movement: blocks and channels, repetitions, chosen elements."""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import reshaped, transposed
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Dim, Dimension, Value
from snnir.ir.dims import product
from snnir.ir.lowering.places import along, picked, rows_picked
from snnir.ir.lowering.taking import taken, taken_rows
from snnir.ir.ops import Concat, Expand, Gather, Pad, Reshape

__all__: list[str] = []


@handler("DepthToSpace", "reshape", "transpose")
def depth_to_space(call: Call) -> list[Result]:
    """Both modes, DCR and CRD."""
    x, block = call.value(0), call.integer("blocksize", 1)
    batch, channels, height, width = x.type.shape
    (count,) = call.static((channels,), "the channel axis")
    if count % (block * block):
        raise RefusalError(f"{count} channels are not a multiple of {block} x {block}")
    depth = count // (block * block)
    column = call.word("mode", "DCR") == "DCR"
    shape = (batch, block, block, depth) if column else (batch, depth, block, block)
    split = reshaped(call, x, (*shape, height, width), "split")
    moved = transposed(call, split, (0, 3, 4, 1, 5, 2) if column else (0, 1, 4, 2, 5, 3), "moved")
    return [reshaped(call, moved, (batch, depth, height * block, width * block))]


@handler("SpaceToDepth", "reshape", "transpose")
def space_to_depth(call: Call) -> list[Result]:
    """Sizes that the block divides."""
    x, block = call.value(0), call.integer("blocksize", 1)
    batch, channels, height, width = x.type.shape
    split = reshaped(call, x, (batch, channels, height // block, block, width // block, block), "split")
    column = call.word("mode", "DCR") == "DCR"
    moved = transposed(call, split, (0, 3, 5, 1, 2, 4) if column else (0, 1, 3, 5, 2, 4), "moved")
    return [reshaped(call, moved, (batch, channels * (block * block), height // block, width // block))]


@handler("Tile", "concat", "expand", "reshape")
def tile(call: Call) -> list[Result]:
    """Numbers of repetitions that are known, of any axis but the batch; they may hold named sizes."""
    x = call.value(0)
    given = call.known(1, "the number of repetitions").reshape(-1).tolist()
    counts: list[Dimension] = [count if isinstance(count, Dim) else int(count) for count in given]
    if len(counts) != x.type.rank or any(isinstance(count, int) and count < 1 for count in counts):
        raise RefusalError(f"it repeats {x.type} {counts} times; each axis needs a number from 1 on")
    places = [axis for axis, count in enumerate(counts) if count != 1]
    if x.type.batch_axis in places:
        raise RefusalError("it repeats the batch")
    for axis in places:
        x = _repeated(call, x, axis, counts[axis], "" if axis == places[-1] else f"axis{axis}")
    return [x]


def _repeated(call: Call, x: Value, axis: int, count: Dimension, label: str) -> Value:
    shape = x.type.shape
    if isinstance(count, int) and shape[axis] != 1:
        return call.emit(Concat(axis), *([x] * count), label=label)
    if shape[axis] == 1:
        return call.emit(Expand((*shape[:axis], count, *shape[axis + 1 :])), x, label=label)
    lines = reshaped(call, x, (*shape[:axis], 1, *shape[axis:]), f"axis{axis}.line")
    copies = call.emit(Expand((*shape[:axis], count, *shape[axis:])), lines, label=f"axis{axis}.copies")
    return call.emit(Reshape((*shape[:axis], count * shape[axis], *shape[axis + 1 :])), copies, label=label)


@handler("Compress", "gather", "reshape")
def compress(call: Call) -> list[Result]:
    """A known condition; without an axis, of the flattened value."""
    x, chosen = call.value(0), np.flatnonzero(call.known(1, "the condition"))
    given = call.given_integer("axis")
    if given is None:
        if x.type.batch_axis is not None:
            raise RefusalError("it chooses from the flattened batch; name an axis")
        x, axis = reshaped(call, x, (product(x.type.shape),), "flat"), 0
    else:
        axis = call.axis(given, x.type.rank)
    return [call.emit(Gather(axis, tuple(int(index) for index in chosen), (len(chosen),)), x)]


@handler("GatherElements", "gather", "reshape", "take_along")
def gather_elements(call: Call) -> list[Result]:
    """Known indices, the same for each sample; or indices that change, within each sample."""
    if isinstance(call.operands[1], Value):
        x = call.value(0)
        return [taken(call, x, call.operands[1], call.axis(call.integer("axis", 0), x.type.rank))]
    x, indices = call.value(0), call.known(1, "the index").astype(np.int64)
    axis = call.axis(call.integer("axis", 0), x.type.rank)
    sizes: list[Dimension] = list(x.type.shape)
    start = _samples(call, x, indices)
    if start and (axis == 0 or not (indices == indices[:1]).all() or indices.shape[0] != call.fixed_batch):
        raise RefusalError("its index differs from sample to sample")
    inner = call.static(tuple(sizes[start:]), "choosing elements")
    index = indices[0] if start else indices
    return [picked(call, x, start, along(index, axis - start, inner))]


@handler("GatherND", "gather", "reshape", "take_along")
def gather_nd(call: Call) -> list[Result]:
    """Known indices into axes of known size, the batch not among them; or into one axis, indices that change with the input."""
    if isinstance(call.operands[1], Value):
        index, shared = call.operands[1], call.integer("batch_dims", 0)
        if index.type.shape[-1] != 1:
            raise RefusalError(
                f"its index, which changes with the input, goes into {index.type.shape[-1]} axes at once; only one can"
            )
        return [taken_rows(call, call.value(0), reshaped(call, index, index.type.shape[:-1], "index"), shared, True)]
    x, indices = call.value(0), call.known(1, "the index").astype(np.int64)
    shared = call.integer("batch_dims", 0)
    if x.type.batch_axis is not None:
        raise RefusalError("its index differs from sample to sample")
    return [rows_picked(call, x, 0, indices, shared)]


def _samples(call: Call, x: Value, indices: np.ndarray) -> int:
    """1 where axis 0 of `x` is the batch, else 0."""
    if indices.ndim != x.type.rank:
        raise RefusalError(f"its index has {indices.ndim} axes, and the data {x.type.rank}")
    if x.type.batch_axis not in (None, 0):
        raise RefusalError("it needs the batch as axis 0")
    return 0 if x.type.batch_axis is None else 1


@handler("CenterCropPad", "pad")
def center_crop_pad(call: Call) -> list[Result]:
    """Known sizes: a crop or zeros at both ends of each axis."""
    x = call.value(0)
    rank = x.type.rank
    axes = [call.axis(axis, rank) for axis in call.integers("axes", tuple(range(rank)))]
    amounts = [0] * (2 * rank)
    for axis, wanted in zip(axes, call.known_integers(1, "the shape"), strict=True):
        (size,) = call.static((x.type.shape[axis],), "cropping around the centre")
        cut = (size - wanted) // 2 if wanted < size else -((wanted - size) // 2)
        amounts[axis], amounts[axis + rank] = -cut, wanted - size + cut
    return [call.emit(Pad(tuple(amounts)), x) if any(amounts) else x]
