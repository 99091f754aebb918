"""Images as columns of their patches, and columns put back into images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snnir.ir.graph import Value
from snnir.ir.lowering.builder import Builder, RefusalError
from snnir.ir.lowering.compose import constant, reshaped, static, transposed
from snnir.ir.ops import Add, Conv, Gather, MatMul, Pad, Reshape, SparseLinear

__all__ = ["changing_convolution", "columns_to_image", "image_to_columns"]


def _spots(size: int, block: int, stride: int, dilation: int, pads: tuple[int, int]) -> np.ndarray:
    """[block, windows]: where each element of each window lies along an axis."""
    number = (size + sum(pads) - dilation * (block - 1) - 1) // stride + 1
    if number < 1:
        raise RefusalError(f"its blocks of {block} elements are longer than the axis of {size}")
    return np.arange(block)[:, None] * dilation + np.arange(number) * stride - pads[0]


def columns_to_image(
    call: Builder,
    x: Value,
    image: Sequence[int],
    block: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Sequence[int],
) -> Value:
    """x[N, C * block, windows] as [N, C, *image]: each column's elements added up at their places (ONNX `Col2Im`).

    `pads` are the begins of all axes, then the ends. Raises `RefusalError` where the columns do not fill the image.
    """
    count = len(image)
    channels, columns = static(x.type.shape[1:], "putting columns into an image")
    spots = [_spots(image[a], block[a], stride[a], dilation[a], (pads[a], pads[a + count])) for a in range(count)]
    area = int(np.prod(block))
    depth = channels // area
    if depth * area != channels or int(np.prod([spot.shape[1] for spot in spots])) != columns:
        raise RefusalError(f"columns {x.type} do not fill an image of {tuple(image)} with blocks of {tuple(block)}")
    places = [grid.reshape(-1) for grid in np.meshgrid(*(np.arange(spot.size) for spot in spots), indexing="ij")]
    where = [spot.reshape(-1)[place] for spot, place in zip(spots, places, strict=True)]
    inside = np.all([(spot >= 0) & (spot < size) for spot, size in zip(where, image, strict=True)], axis=0)
    sizes = [spot.shape for spot in spots]
    blocks = [place // size[1] for place, size in zip(places, sizes, strict=True)]
    numbers = [place % size[1] for place, size in zip(places, sizes, strict=True)]
    source = np.ravel_multi_index(blocks, tuple(block)) * columns + np.ravel_multi_index(numbers, [size[1] for size in sizes])
    target = np.ravel_multi_index([spot[inside] for spot in where], tuple(image))
    rows = (np.arange(depth)[:, None] * int(np.prod(image)) + target).reshape(-1)
    cols = (np.arange(depth)[:, None] * area * columns + source[inside]).reshape(-1)
    order = np.lexsort((cols, rows))
    operands = [constant(call, x, "weight", np.ones(len(rows)))]
    operands += [call.array(name, array[order]) for name, array in (("rows", rows), ("cols", cols))]
    return call.emit(SparseLinear((depth, *image)), x, *operands)


def image_to_columns(
    call: Builder,
    x: Value,
    block: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
) -> Value:
    """x[N, C, ...] as [N, C * block, windows]: zeros around the image (`padding` at both ends of each axis), then its windows.

    Raises `RefusalError` for images of unknown size.
    """
    count = len(block)
    sizes = static(x.type.shape[2:], "cutting an image into columns")
    amounts = (0, 0, *padding)
    whole = call.emit(Pad((*amounts, *amounts)), x, label="padded") if any(padding) else x
    shapes = []
    for axis in range(count):
        spots = _spots(sizes[axis] + 2 * padding[axis], block[axis], stride[axis], dilation[axis], (0, 0))
        shapes.append(spots.shape)
        op = Gather(2 + 2 * axis, tuple(int(spot) for spot in spots.reshape(-1)), spots.shape)
        whole = call.emit(op, whole, label=f"axis{axis}")
    order = (0, 1, *range(2, 2 + 2 * count, 2), *range(3, 3 + 2 * count, 2))
    rows = x.type.shape[1] * int(np.prod([shape[0] for shape in shapes]))
    windows = int(np.prod([shape[1] for shape in shapes]))
    return reshaped(call, transposed(call, whole, order, "blocks"), (x.type.shape[0], rows, windows))


def changing_convolution(
    call: Builder,
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Value:
    """The convolution of x[N, C, ...] with weights [K, C / groups, ...] that change with the input, as a product of matrices.

    `padding` holds the begins of all axes, then the ends. Raises `RefusalError` for images of unknown size.
    """
    count = len(stride)
    block = static(weight.type.shape[2:], "the kernel")
    (kernels,) = static(weight.type.shape[:1], "the number of kernels")
    amounts = (0, 0, *padding[:count], 0, 0, *padding[count:])
    image = call.emit(Pad(amounts), x, label="padded") if any(padding) else x
    windows = image_to_columns(call, image, block, stride, dilation, (0,) * count)
    batch, rows, places = windows.type.shape
    lines = reshaped(call, windows, (batch, groups, rows // groups, places), "lines")
    matrices = reshaped(call, weight, (groups, kernels // groups, rows // groups), "matrices")
    result = call.emit(MatMul(), matrices, lines, label="product")
    shape = Conv(tuple(stride), tuple(padding), tuple(dilation), groups).infer(x.type, weight.type)[0].shape
    if bias is None:
        return call.emit(Reshape(shape), result)
    flat = call.emit(Reshape(shape), result, label="flat")
    return call.emit(Add(), flat, reshaped(call, bias, (kernels, *([1] * count)), "bias"))
