"""Data movement: reshapes, transposes, slices, pads. On spikes these change addresses and do no arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnir.errors import GraphError, InputError, SizeError
from snnir.ir.dims import Dim, Dimension, Shape, concrete, product, substitute
from snnir.ir.op import FLOAT, QUANTIZED, SPIKING, Example, Op, Trait, register
from snnir.ir.ops.rules import broadcast, example
from snnir.ir.types import Quantization, TensorType

__all__ = ["Concat", "Expand", "Extend", "Gather", "Movement", "Pad", "Reshape", "Slice", "Transpose"]

_S3 = Quantization(0.25, -4, 3)


@dataclass(frozen=True)
class Movement(Op):
    """Base: every element of the result is an element of an operand (or a zero, for `pad`)."""

    traits = frozenset({Trait.SELECTS, Trait.OF_LEVELS, Trait.FINITE})
    operands: ClassVar[tuple[str, ...]] = ("x",)
    levels = (FLOAT, QUANTIZED, SPIKING)

    def stored(self, types: Sequence[TensorType]) -> bool:
        return True

    def takes_any(self) -> bool:
        return True

    def bind(self, sizes: Mapping[str, int]) -> Movement:
        return self


@register
@dataclass(frozen=True)
class Reshape(Movement):
    """The same elements in C order under another shape; `shape` may hold named sizes."""

    name = "reshape"

    shape: Shape = ()

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        given, wanted = product(types[0].shape), product(self.shape)
        if given != wanted:
            raise SizeError(f"{given} elements do not reshape to {self.shape}", [(given, wanted)])
        return (types[0].with_shape(self.shape),)

    def bind(self, sizes: Mapping[str, int]) -> Movement:
        return Reshape(TensorType(self.shape, "f32").substitute(dict(sizes)).shape)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0].reshape([concrete(size) for size in self.shape]),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls((3, 4)), np.arange(12, dtype=np.float32).reshape(2, 3, 2))
        yield example(cls((2, 2)), (np.array([[-4, 3, 0, 1]]), _S3, "int"))


@register
@dataclass(frozen=True)
class Transpose(Movement):
    """Axes in the order `perm`."""

    name = "transpose"

    perm: tuple[int, ...] = ()

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if sorted(self.perm) != list(range(types[0].rank)):
            raise GraphError(f"{self.perm} does not order {types[0].rank} axes")
        return (types[0].with_shape(tuple(types[0].shape[axis] for axis in self.perm)),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0].transpose(self.perm),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls((2, 0, 1)), np.arange(12, dtype=np.float32).reshape(2, 3, 2))
        yield example(cls((1, 0)), (np.array([[-4, 3, 0], [1, 2, 3]]), _S3, "spike"))


@register
@dataclass(frozen=True)
class Slice(Movement):
    """`x[start:stop:step]` along one axis, Python's rules; `stop` None runs to the end."""

    name = "slice"

    axis: int = 0
    start: int | None = None
    stop: int | None = None
    step: int = 1

    def _size(self, size: Dimension) -> Dimension:
        if self.step == 0:
            raise GraphError("slice has step 0")
        if isinstance(size, int):
            return len(range(*slice(self.start, self.stop, self.step).indices(size)))
        start, stop = self.start, self.stop
        if self.step == -1 and start is None and stop is None:
            return size
        if self.step == 1 and start is not None and stop is not None and start < 0 and stop < 0:
            return max(stop - start, 0)
        if self.step == 1 and start is not None and start < 0 and stop is None:
            return -start
        if self.step == 1 and (start or 0) >= 0 and (stop is None or stop < 0):
            return size - (start or 0) + (stop or 0)
        raise GraphError(f"the size of slice [{start}:{stop}:{self.step}] of the unknown size {size} cannot be derived")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        shape = list(types[0].shape)
        if not 0 <= self.axis < len(shape):
            raise GraphError(f"slice along axis {self.axis} of {len(shape)} axes")
        shape[self.axis] = self._size(shape[self.axis])
        return (types[0].with_shape(tuple(shape)),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0][(slice(None),) * self.axis + (slice(self.start, self.stop, self.step),)],)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.arange(12, dtype=np.float32).reshape(2, 6)
        yield example(cls(1, 1, 5, 2), x)
        yield example(cls(1, None, None, -1), x)
        yield example(cls(0, -1), (np.array([[-4, 3, 0], [1, 2, 3]]), _S3, "int"))


@register
@dataclass(frozen=True)
class Gather(Movement):
    """`numpy.take(x, indices, axis)` with constant indices; `indices` are in C order of `shape`."""

    name = "gather"

    axis: int = 0
    indices: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        shape = types[0].shape
        if not 0 <= self.axis < len(shape):
            raise GraphError(f"gather along axis {self.axis} of {len(shape)} axes")
        if product(self.shape) != len(self.indices):
            raise GraphError(f"gather has {len(self.indices)} indices for shape {self.shape}")
        size = shape[self.axis]
        if isinstance(size, int) and any(not -size <= index < size for index in self.indices):
            raise GraphError(f"gather index out of range for {size} elements")
        return (types[0].with_shape((*shape[: self.axis], *self.shape, *shape[self.axis + 1 :])),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        indices = np.array(self.indices, np.int64).reshape(self.shape)
        return (np.take(arrays[0], indices, axis=self.axis),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.arange(12, dtype=np.float32).reshape(2, 6)
        yield example(cls(1, (5, 0, -2, 5), (2, 2)), x)
        yield example(cls(0, (1,), ()), (np.array([[-4, 3, 0], [1, 2, 3]]), _S3, "int"))


@register
@dataclass(frozen=True)
class Concat(Movement):
    """Operands side by side along `axis`; levels must all have one scale."""

    name = "concat"
    operands = ("x", "rest*")

    axis: int = 1

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        first = types[0]
        if not 0 <= self.axis < first.rank:
            raise GraphError(f"concat along axis {self.axis} of {first.rank} axes")
        total: Dimension = 0
        quantization = first.quantization
        for type_ in types:
            if type_.dtype != first.dtype or type_.rank != first.rank:
                raise GraphError("concat needs operands of one element type and rank")
            pairs = [pair for axis, pair in enumerate(zip(type_.shape, first.shape, strict=True)) if axis != self.axis]
            if any(a != b for a, b in pairs):
                raise SizeError(f"concat along axis {self.axis}: other axes differ", pairs)
            total = total + type_.shape[self.axis]
            if quantization is not None and type_.quantization is not None:
                quantization = quantization.join(type_.quantization)
        shape = (*first.shape[: self.axis], total, *first.shape[self.axis + 1 :])
        return (TensorType(shape, first.dtype, quantization),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.concatenate(arrays, axis=self.axis),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.arange(12, dtype=np.float32).reshape(2, 6)
        yield example(cls(1), x, x[:, :1], x)
        yield example(cls(0), (np.array([[-4, 3]]), _S3, "int"), (np.array([[9, 0]]), Quantization(0.25, 0, 15), "int"))


@register
@dataclass(frozen=True)
class Pad(Movement):
    """Zeros around x (`padding`: begins of all axes, then ends); negative amounts crop.

    An amount may depend on named sizes, such as `512-T`, which fills an axis up to 512 elements; then it must not be negative.
    """

    name = "pad"

    padding: Shape = ()

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        shape = types[0].shape
        if len(self.padding) != 2 * len(shape):
            raise GraphError(f"pad has {len(self.padding)} amounts for {len(shape)} axes")
        sizes = tuple(size + (self.padding[axis] + self.padding[axis + len(shape)]) for axis, size in enumerate(shape))
        if any(isinstance(size, int) and size < 0 for size in sizes):
            raise GraphError(f"pad {self.padding} crops more than there is")
        return (types[0].with_shape(sizes),)

    def bind(self, sizes: Mapping[str, int]) -> Movement:
        return Pad(_amounts(self.padding, sizes))

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (self.fill(arrays[0], 0),)

    def fill(self, x: np.ndarray, value: int) -> np.ndarray:
        """`x` padded with `value`."""
        rank = x.ndim
        amounts = [concrete(amount) for amount in self.padding]
        pairs = [(amounts[axis], amounts[axis + rank]) for axis in range(rank)]
        x = x[tuple(slice(max(-before, 0), size - max(-after, 0)) for (before, after), size in zip(pairs, x.shape, strict=True))]
        return np.pad(x, [(max(before, 0), max(after, 0)) for before, after in pairs], constant_values=value)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.arange(12, dtype=np.float32).reshape(2, 6)
        yield example(cls((0, 2, 0, 1)), x)
        yield example(cls((0, -1, 0, 1)), (np.array([[-4, 3]]), _S3, "int"))


@register
@dataclass(frozen=True)
class Extend(Movement):
    """x continued beyond its borders by elements of its own (`padding`: begins of all axes, then ends).

    `mode` as in NumPy's pad: reflect (without repeating the border), edge or wrap. Amounts may depend on named sizes, like pad's.
    """

    name = "extend"

    padding: Shape = ()
    mode: str = "reflect"

    def __post_init__(self) -> None:
        least = min((amount for amount in self.padding if isinstance(amount, int)), default=0)
        if self.mode not in ("reflect", "edge", "wrap") or least < 0:
            raise GraphError(
                f"extend by {self.padding} in mode {self.mode!r}; modes are reflect, edge and wrap, amounts 0 or more"
            )

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        shape = types[0].shape
        if len(self.padding) != 2 * len(shape):
            raise GraphError(f"extend has {len(self.padding)} amounts for {len(shape)} axes")
        sizes = tuple(size + (self.padding[axis] + self.padding[axis + len(shape)]) for axis, size in enumerate(shape))
        return (types[0].with_shape(sizes),)

    def bind(self, sizes: Mapping[str, int]) -> Movement:
        return Extend(_amounts(self.padding, sizes), self.mode)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        rank = arrays[0].ndim
        amounts = [concrete(amount) for amount in self.padding]
        pairs = [(amounts[axis], amounts[axis + rank]) for axis in range(rank)]
        return (np.pad(arrays[0], pairs, mode=self.mode),)  # type: ignore[call-overload]

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls((0, 2, 0, 1)), np.arange(12, dtype=np.float32).reshape(2, 6))
        yield example(cls((0, 1, 0, 1), "edge"), (np.array([[-4, 3]]), _S3, "int"))


def _amounts(padding: Shape, sizes: Mapping[str, int]) -> Shape:
    """Amounts with `sizes` for names. Raises `InputError` where one that depends on them is negative: what it fills is full."""
    bound = tuple(substitute(amount, sizes) for amount in padding)
    for given, amount in zip(padding, bound, strict=True):
        if isinstance(given, Dim) and isinstance(amount, int) and amount < 0:
            raise InputError(f"an axis is longer than its upper end: it is filled up by {given}, which is {amount}")
    return bound


@register
@dataclass(frozen=True)
class Expand(Movement):
    """Broadcast to `shape`, which may hold named sizes."""

    name = "expand"

    shape: Shape = ()

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if broadcast(types[0].shape, self.shape) != self.shape:
            pairs = [(a, b) for a, b in zip(reversed(types[0].shape), reversed(self.shape), strict=False) if a != 1]
            raise SizeError(f"shape {types[0].shape} does not expand to {self.shape}", pairs)
        return (types[0].with_shape(self.shape),)

    def bind(self, sizes: Mapping[str, int]) -> Movement:
        return Expand(TensorType(self.shape, "f32").substitute(dict(sizes)).shape)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.broadcast_to(arrays[0], [concrete(size) for size in self.shape]),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls((3, 2, 2)), np.arange(4, dtype=np.float32).reshape(2, 1, 2)[0][None, :, :].reshape(1, 1, 2))
        yield example(cls((2, 3)), (np.array([[-4], [3]]), _S3, "int"))
