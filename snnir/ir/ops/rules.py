"""Type rules and small array helpers that several op families share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snnir.errors import GraphError, SizeError
from snnir.ir.dims import Dimension, Shape
from snnir.ir.op import Example, Op
from snnir.ir.types import Quantization, TensorType, dtype_of

__all__ = ["broadcast", "example", "is_number", "matrix_product", "pad_amounts", "ranked_shape", "sum_dtype", "window_size"]


def broadcast(*shapes: Shape) -> Shape:
    """NumPy's broadcasting of symbolic shapes. Raises `GraphError`."""
    if shapes.count(shapes[0]) == len(shapes):
        return shapes[0]
    rank = max(len(shape) for shape in shapes)
    result: list[Dimension] = []
    for axis in range(-rank, 0):
        sizes = {shape[axis] for shape in shapes if len(shape) >= -axis} - {1}
        if len(sizes) > 1:
            first, *others = sorted(sizes, key=lambda size: (not isinstance(size, int), str(size)))
            text = " and ".join(str(shape) for shape in shapes)
            raise SizeError(f"shapes {text} do not broadcast together", [(other, first) for other in others])
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)


def sum_dtype(*types: TensorType) -> str:
    """The element type of a sum of products of `types`.

    Levels with integer weights give `acc`, spikes with integer weights `current`, sums of either stay what they are,
    and all else is real. Raises `GraphError` for integers that stand for no real number.
    """
    kinds = {type_.dtype for type_ in types}
    if kinds == {"f32"}:
        return "f32"
    if "spike" in kinds or "current" in kinds:
        if all(type_.dtype in ("spike", "current") or type_.is_weight for type_ in types):
            return "current"
    elif any(type_.is_sum for type_ in types) or (
        any(type_.is_weight for type_ in types) and any(type_.is_levels for type_ in types)
    ):
        if all(type_.is_levels or type_.is_sum or type_.is_weight for type_ in types):
            return "acc"
    elif all(type_.is_weight for type_ in types):
        return "i64"
    elif not any(type_.is_exact for type_ in types):
        return "f64" if "f64" in kinds else "f32"
    raise GraphError(f"element types {', '.join(type_.dtype for type_ in types)} do not go together")


def matrix_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`a @ b`. Of integers it is computed in float64 where no partial sum can reach 2^53: exact, and by BLAS."""
    if a.dtype.kind in "iu" and b.dtype.kind in "iu" and a.size and b.size:
        largest = max(int(a.max()), -int(a.min()))
        if largest * int(np.abs(b).sum(axis=-2, dtype=np.float64).max()) < 1 << 52:
            return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.result_type(a, b))
    return np.asarray(a @ b)


def is_number(type_: TensorType) -> bool:
    """Whether a host op takes the elements as real numbers: such, or levels, which it reads as what they stand for."""
    return type_.is_real or type_.is_levels


def pad_amounts(padding: Sequence[int], spatial: int) -> list[tuple[int, int]]:
    """ONNX order (all begins, then all ends) as a pair per spatial axis."""
    if len(padding) != 2 * spatial:
        raise GraphError(f"padding has {len(padding)} numbers, {2 * spatial} are needed (begins, then ends)")
    return [(padding[axis], padding[axis + spatial]) for axis in range(spatial)]


def window_size(size: Dimension, kernel: int, stride: int, dilation: int, pads: tuple[int, int], ceil: bool = False) -> Dimension:
    """Number of window positions along one axis (ONNX operator specification, Conv and MaxPool).

    With `ceil`, a last window that starts beyond the input and its begin padding is dropped.
    """
    if min(kernel, stride, dilation) < 1:
        raise GraphError(f"a window of kernel {kernel}, stride {stride} and dilation {dilation}; each must be 1 or more")
    span = size + (pads[0] + pads[1] - dilation * (kernel - 1) - 1)
    if isinstance(span, int) and span < 0 and not (ceil and span + stride > 0):
        raise GraphError(f"a window of {dilation * (kernel - 1) + 1} does not fit into {size} with padding {pads}")
    positions = (span + (stride - 1)) // stride + 1 if ceil else span // stride + 1
    if ceil and isinstance(positions, int) and isinstance(size, int) and (positions - 1) * stride >= size + pads[0]:
        positions -= 1
    return positions


def example(op: Op, *operands: np.ndarray | tuple[np.ndarray, Quantization, str] | tuple[np.ndarray, str]) -> Example:
    """An `Example` whose operands are plain arrays, (levels, quantization, dtype) or (sums, dtype)."""
    types, arrays = [], []
    for operand in operands:
        if isinstance(operand, tuple):
            array = np.asarray(operand[0], dtype=np.int64)
            type_ = TensorType(array.shape, str(operand[-1]), operand[1] if len(operand) == 3 else None)
        else:
            array = operand
            type_ = TensorType(operand.shape, dtype_of(operand))
        types.append(type_)
        arrays.append(array)
    return Example(op, tuple(types), tuple(arrays))


def ranked_shape(name: str, x: TensorType, axis: int, count: int) -> Shape:
    """The shape of `count` elements chosen along `axis`. Raises `GraphError` where there are fewer, or no such axis."""
    if not -x.rank <= axis < x.rank:
        raise GraphError(f"{name} along axis {axis} of {x}")
    axis %= x.rank
    size = x.shape[axis]
    if count < 1 or (isinstance(size, int) and count > size):
        raise GraphError(f"{name} of {count} among {size} elements")
    return (*x.shape[:axis], count, *x.shape[axis + 1 :])
