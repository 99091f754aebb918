"""Pooling over windows of the axes after the channel axis, and means over axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from snnir.errors import GraphError
from snnir.ir.dims import Dimension, concrete
from snnir.ir.op import FLOAT, QUANTIZED, SPIKING, Example, Op, Trait, register
from snnir.ir.ops.rules import example, pad_amounts, sum_dtype, window_size
from snnir.ir.types import Quantization, TensorType

__all__ = ["AveragePool", "MaxPool", "MaxPoolPlaces", "Pool", "ReduceMean"]


@dataclass(frozen=True)
class Pool(Op):
    """Base: windows over the positions of x [N, C, ...], as ONNX places them (MaxPool, AveragePool)."""

    operands = ("x",)

    kernel: tuple[int, ...] = (1,)
    stride: tuple[int, ...] = (1,)
    padding: tuple[int, ...] = (0, 0)
    dilation: tuple[int, ...] = (1,)
    ceil: bool = False

    def _shape(self, x: TensorType) -> tuple[Dimension, ...]:
        spatial = x.rank - 2
        if spatial < 1 or not len(self.kernel) == len(self.stride) == len(self.dilation) == spatial:
            raise GraphError(f"{self.name} with kernel {self.kernel} and stride {self.stride} over {spatial} axes")
        pads = pad_amounts(self.padding, spatial)
        spans = [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        if any(max(pair) >= span for pair, span in zip(pads, spans, strict=True)):
            raise GraphError(f"{self.name}: padding {self.padding} leaves windows of {self.kernel} without input")
        return x.shape[:2] + tuple(
            window_size(size, self.kernel[axis], self.stride[axis], self.dilation[axis], pads[axis], self.ceil)
            for axis, size in enumerate(x.shape[2:])
        )

    def windows(self, x: np.ndarray, fill: float, extra: float | None = None) -> np.ndarray:
        """x[N, C, ...] as windows [N, C, *positions, *kernel]; padding holds `fill`.

        `extra` is what the space beyond the padding holds that `ceil` may reach (default: `fill`).
        """
        spatial = x.ndim - 2
        pads = pad_amounts(self.padding, spatial)
        spans = [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        positions = [
            concrete(window_size(size, self.kernel[axis], self.stride[axis], self.dilation[axis], pads[axis], self.ceil))
            for axis, size in enumerate(x.shape[2:])
        ]
        needed = [(count - 1) * step + span for count, step, span in zip(positions, self.stride, spans, strict=True)]
        beyond = [(0, max(need - size - sum(pair), 0)) for need, size, pair in zip(needed, x.shape[2:], pads, strict=True)]
        x = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
        x = np.pad(x, [(0, 0), (0, 0), *beyond], constant_values=fill if extra is None else extra)
        view = sliding_window_view(x, spans, axis=tuple(range(2, x.ndim)))
        view = view[(slice(None), slice(None), *(slice(None, None, step) for step in self.stride))]
        view = view[(slice(None), slice(None), *(slice(0, count) for count in positions))]
        return view[tuple(slice(None, None, step) for step in (1, 1, *([1] * spatial), *self.dilation))]


@register
@dataclass(frozen=True)
class MaxPool(Pool):
    """The largest element of each window, ONNX `MaxPool`; padding never wins. On spikes: the change of the largest tracer."""

    name = "max_pool"
    traits = frozenset({Trait.SELECTS, Trait.OF_LEVELS, Trait.EMITS, Trait.CHANNELS, Trait.FINITE})
    levels = (FLOAT, QUANTIZED, SPIKING)

    def stored(self, types: Sequence[TensorType]) -> bool:
        return True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if not (types[0].is_real or types[0].is_levels):
            raise GraphError(f"max_pool is defined for real numbers and levels, not for {types[0].dtype}")
        return (types[0].with_shape(self._shape(types[0])),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x = arrays[0]
        fill = np.iinfo(x.dtype).min if x.dtype.kind == "i" else -np.inf
        axes = tuple(range(-len(self.kernel), 0))
        return (self.windows(x, fill).max(axis=axes),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.sin(np.arange(28, dtype=np.float32)).reshape(1, 2, 14)
        yield example(cls((3,), (2,), (1, 1), (2,)), x)
        yield example(cls((3,), (3,), (0, 0), (1,), True), x)
        levels = np.arange(16).reshape(1, 1, 4, 4) % 5 - 2
        yield example(cls((2, 2), (2, 2), (1, 1, 0, 0), (1, 1)), (levels, Quantization(1.0, -2, 2), "int"))
        yield example(cls((2, 2), (2, 2), (1, 1, 0, 0), (1, 1)), (levels, Quantization(1.0, -2, 2), "spike"))


@register
@dataclass(frozen=True)
class MaxPoolPlaces(Pool):
    """Where the largest element of each window stands, ONNX `MaxPool`'s Indices: places in the flat tensor [N, C, ...].

    Of equal elements the first in the window. With `columns` the first axis after the channels counts fastest, else the last one.
    """

    name = "max_pool_places"
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    columns: bool = False

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if not (types[0].is_real or types[0].is_levels):
            raise GraphError(f"max_pool_places is defined for real numbers and levels, not for {types[0].dtype}")
        types[0].static_shape("places that count through a whole tensor")
        return (TensorType(self._shape(types[0]), "i64"),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x = arrays[0]
        sizes = x.shape[2:]
        image = np.arange(np.prod(sizes, dtype=np.int64)).reshape(sizes, order="F" if self.columns else "C")
        first = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *([1] * len(sizes))) * image.size
        places, windows = self.windows(first + image, -1), self.windows(x, -np.inf)
        flat = (*windows.shape[: x.ndim], -1)
        best = windows.reshape(flat).argmax(axis=-1)[..., np.newaxis]
        return (np.take_along_axis(places.reshape(flat), best, axis=-1)[..., 0],)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.sin(np.arange(40, dtype=np.float32)).reshape(2, 1, 4, 5)
        yield example(cls((2, 3), (2, 1), (1, 1, 0, 0), (1, 1)), x)
        yield example(cls((2, 2), (1, 2), (0, 0, 0, 0), (2, 1), True, True), x)


@register
@dataclass(frozen=True)
class AveragePool(Pool):
    """The mean of each window, ONNX `AveragePool`; `count_padding` counts padded zeros as elements."""

    name = "average_pool"
    traits = frozenset({Trait.CHANNELS, Trait.AFFINE, Trait.FINITE})

    count_padding: bool = False

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(self._shape(types[0]), sum_dtype(types[0])),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x = arrays[0]
        axes = tuple(range(-len(self.kernel), 0))
        ones = np.ones((1, 1, *x.shape[2:]), x.dtype)
        counts = self.windows(ones, 1.0 if self.count_padding else 0.0, 0.0).sum(axis=axes)
        return (self.windows(x, 0.0).sum(axis=axes) / counts,)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.sin(np.arange(28, dtype=np.float32)).reshape(1, 2, 14)
        yield example(cls((3,), (2,), (1, 1), (1,)), x)
        yield example(cls((3,), (2,), (1, 1), (1,), True, True), x)


@register
@dataclass(frozen=True)
class ReduceMean(Op):
    """The mean over `axes`, which stay as axes of size 1 where `keep` is set."""

    name = "reduce_mean"
    traits = frozenset({Trait.FINITE})
    operands = ("x",)

    axes: tuple[int, ...] = ()
    keep: bool = True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        shape = types[0].shape
        if any(not 0 <= axis < len(shape) for axis in self.axes) or len(set(self.axes)) != len(self.axes):
            raise GraphError(f"reduce_mean over axes {self.axes} of {len(shape)}")
        sizes = [1 if axis in self.axes else size for axis, size in enumerate(shape) if self.keep or axis not in self.axes]
        return (TensorType(tuple(sizes), sum_dtype(types[0])),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.asarray(arrays[0].mean(axis=self.axes, keepdims=self.keep)),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.sin(np.arange(24, dtype=np.float32)).reshape(2, 3, 4)
        yield example(cls((1, 2), True), x)
        yield example(cls((1,), False), x)
