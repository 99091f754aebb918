"""Lowerings that give more elements than they take: transposed convolutions, and resizing as maps along axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from snnir.ir.dims import Dim, concrete
from snnir.ir.graph import Value
from snnir.ir.lowering.builder import Builder, RefusalError
from snnir.ir.lowering.compose import along_axis, constant
from snnir.ir.ops import Conv, Gather, Pad, Reshape, SparseLinear

__all__ = ["resized", "transposed_conv"]


def transposed_conv(
    call: Builder,
    x: Value,
    weight: np.ndarray,
    bias: Value | None,
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    begins: Sequence[int],
    ends: Sequence[int],
    extra: Sequence[int],
) -> Value:
    """The transposed convolution of x[N, C, ...] with weight[C, M/groups, ...]: zeros between the elements (data movement),
    then a convolution with the kernel turned around. `begins` and `ends` are cut off the full result, `extra` is added behind.
    """
    kernel = weight.shape[2:]
    spans = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    x = _spread(call, x, stride)
    rank = x.type.rank
    amounts = [0] * (2 * rank)
    for axis, span in enumerate(spans):
        # the zeros behind the last element, `stride - 1` of them, are not part of the spread value
        amounts[2 + axis] = span - begins[axis]
        amounts[2 + axis + rank] = span - ends[axis] + extra[axis] - (stride[axis] - 1)
    if any(amounts):
        x = call.emit(Pad(tuple(amounts)), x, label="padded")
    outputs = weight.shape[1]
    turned = np.flip(weight, tuple(range(2, weight.ndim))).reshape(groups, -1, outputs, *kernel)
    turned = np.ascontiguousarray(turned.swapaxes(1, 2)).reshape(groups * outputs, -1, *kernel)
    operands = [x, call.array("turned", turned), *([] if bias is None else [bias])]
    return call.emit(Conv((1,) * len(kernel), (0,) * (2 * len(kernel)), tuple(dilation), groups), *operands)


def _spread(call: Builder, x: Value, stride: Sequence[int]) -> Value:
    """`x` with `stride - 1` zeros behind each element of its spatial axes."""
    for axis, step in enumerate(stride, 2):
        if step > 1:
            shape = x.type.shape
            rank = len(shape) + 1
            column = call.emit(Reshape((*shape[: axis + 1], 1, *shape[axis + 1 :])), x, label=f"axis{axis}.column")
            amounts = [0] * (2 * rank)
            amounts[rank + axis + 1] = step - 1
            zeros = call.emit(Pad(tuple(amounts)), column, label=f"axis{axis}.zeros")
            x = call.emit(Reshape((*shape[:axis], shape[axis] * step, *shape[axis + 1 :])), zeros, label=f"axis{axis}.spread")
    return x


def resized(call: Builder, x: Value, matrices: Mapping[int, np.ndarray]) -> Value:
    """`x` with `matrices[axis]` [out, in] applied along axes. Where each row takes one element, that is data movement; else a
    linear map. Raises `RefusalError` where the batch is among the axes.
    """
    changing = {axis: matrix for axis, matrix in matrices.items() if not _is_identity(matrix)}
    if x.type.batch_axis in changing:
        raise RefusalError("it resizes the batch")
    if all(((matrix == 0) | (matrix == 1)).all() and (matrix.sum(1) == 1).all() for matrix in changing.values()):
        for axis, matrix in changing.items():
            indices = tuple(int(index) for index in matrix.argmax(1))
            x = call.emit(Gather(axis, indices, (len(indices),)), x, label="" if axis == max(changing) else f"axis{axis}")
        return x
    return _mapped(call, x, changing)


def _is_identity(matrix: np.ndarray) -> bool:
    return matrix.shape[0] == matrix.shape[1] and bool((matrix == np.eye(len(matrix))).all())


def _mapped(call: Builder, x: Value, matrices: Mapping[int, np.ndarray]) -> Value:
    """All axes at once as one sparse map, so that nothing is rounded in between; axis by axis where sizes are unknown."""
    sample = x.type.shape[1:]
    if 0 in matrices or any(isinstance(size, Dim) for size in sample) or x.type.batch_axis not in (None, 0):
        for axis, matrix in matrices.items():
            x = along_axis(call, x, axis, matrix, "" if axis == max(matrices) else f"axis{axis}")
        return x
    sizes = [concrete(size) for size in sample]
    rows, cols, weights = np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1)
    shape = []
    for axis, size in enumerate(sizes, 1):
        matrix = matrices.get(axis, np.eye(size))
        outs, ins = np.nonzero(matrix)
        shape.append(matrix.shape[0])
        rows = (rows[:, None] * matrix.shape[0] + outs).reshape(-1)
        cols = (cols[:, None] * size + ins).reshape(-1)
        weights = (weights[:, None] * matrix[outs, ins]).reshape(-1)
    order = np.lexsort((cols, rows))
    operands = [constant(call, x, "weight", weights[order])]
    operands += [call.array(name, array[order]) for name, array in (("rows", rows), ("cols", cols))]
    return call.emit(SparseLinear(tuple(shape)), x, *operands)
