"""Ops with weights: linear maps, convolutions and batch norm.

With integer weights and levels (or spikes) as input the same ops compute integers on an accumulator grid.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from snnir.errors import GraphError, SizeError
from snnir.ir.dims import Dimension, concrete
from snnir.ir.op import FLOAT, QUANTIZED, SPIKING, Example, Op, Trait, register
from snnir.ir.ops.rules import example, matrix_product, pad_amounts, sum_dtype, window_size
from snnir.ir.types import Quantization, TensorType

__all__ = ["MOST_GAIN", "BatchNorm", "Conv", "Linear", "SparseLinear", "Weighted"]

_U2 = Quantization(0.5, 0, 3)


MOST_GAIN = 31
"""The largest gain: sums are int64, weights have up to 16 bits."""


@dataclass(frozen=True)
class Weighted(Op):
    """Shared rules: integer weights meet stored levels, real weights meet real numbers; integer weights may have a gain.

    With a gain g the op computes with `weight * 2^g`: a synapse keeps integers of few bits beside another one on the same
    accumulator grid that needs a finer one. `gain` is empty (none), holds one number for all weights, or one for each
    output channel (`gained_axis`).
    """

    gain: tuple[int, ...] = field(default=(), kw_only=True)

    def stored(self, types: Sequence[TensorType]) -> bool:
        return types[0].is_sum or (types[0].is_levels and len(types) > 1 and types[1].is_weight)

    def gains(self, weight: TensorType | np.ndarray) -> np.ndarray:
        """The gain of each weight: int64, an array that broadcasts over `weight`. Raises `GraphError` for a wrong count."""
        if len(self.gain) <= 1:
            return np.array(self.gain[0] if self.gain else 0, np.int64)
        shape = self.gain_shape(tuple(concrete(size) for size in weight.shape))
        if int(np.prod(shape)) != len(self.gain):
            raise GraphError(f"{self.name} has {len(self.gain)} gains, expected 1 or {int(np.prod(shape))}, one for each channel")
        return np.array(self.gain, np.int64).reshape(shape)

    def gain_shape(self, weight: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that one gain for each output channel has beside weights of shape `weight`."""
        return (weight[0], *(1,) * (len(weight) - 1))

    def expanded(self, weight: np.ndarray) -> np.ndarray:
        """`weight * 2^gain`: what one level of the source adds; int64 where there is a gain, else `weight` itself."""
        return weight.astype(np.int64) << self.gains(weight) if any(self.gain) else weight

    def without_gain(self) -> Self:
        """This op without its gain, for weights that `expanded` gave, or for counting."""
        return dataclasses.replace(self, gain=()) if self.gain else self

    def _check_gain(self, weight: TensorType) -> None:
        if not self.gain:
            return
        if not weight.is_weight:
            raise GraphError(f"{self.name}: only integer weights have a gain, and these are {weight}")
        if not all(0 <= gain <= MOST_GAIN for gain in self.gain):
            raise GraphError(
                f"{self.name}: a gain is a power of two from 0 to {MOST_GAIN}, found {min(self.gain)}..{max(self.gain)}"
            )
        self.gains(weight)


@register
@dataclass(frozen=True)
class Linear(Weighted):
    """`y[..., o] = sum_i w[o, i] x[..., i] + b[o]`: contraction over the last axis."""

    name = "linear"
    traits = frozenset({Trait.AFFINE, Trait.PER_SAMPLE, Trait.FINITE})
    operands = ("x", "weight", "bias?")
    levels: ClassVar[tuple[str, ...]] = (FLOAT, QUANTIZED)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, weight = types[:2]
        if weight.rank != 2 or x.rank < 1:
            raise GraphError("linear needs x[..., I] and weight[O, I]")
        if x.shape[-1] != weight.shape[1]:
            raise SizeError("linear needs x[..., I] and weight[O, I]", [(x.shape[-1], weight.shape[1])])
        if len(types) == 3 and types[2].shape != (weight.shape[0],):
            raise GraphError(f"linear needs bias[{weight.shape[0]}]")
        self._check_gain(weight)
        return (TensorType((*x.shape[:-1], weight.shape[0]), sum_dtype(*types)),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, weight = arrays[0], self.expanded(arrays[1])
        y = matrix_product(x, weight.T.astype(x.dtype, copy=False))
        return (y + arrays[2] if len(arrays) == 3 else y,)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        w, b = np.array([[1.0, -2.0, 0.5], [0.0, 1.0, 3.0]], np.float32), np.array([0.25, -1.0], np.float32)
        x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(2, 2, 3)
        if FLOAT in cls.levels:
            yield example(cls(), x, w, b)
            yield example(cls(), x[0], w)
        dtype = "spike" if SPIKING in cls.levels else "int"
        levels = np.arange(6).reshape(2, 3) % 4
        integers = np.array([[1, -2, 3], [0, 1, 3]], np.int8)
        yield example(cls(), (levels, _U2, dtype), integers)
        yield example(cls(gain=(2, 0)), (levels, _U2, dtype), integers)


@register
@dataclass(frozen=True)
class Conv(Weighted):
    """N-dimensional cross-correlation, ONNX `Conv`: x[N, C, ...], weight[M, C/groups, ...], bias[M]; zero padding."""

    name = "conv"
    traits = frozenset({Trait.CHANNELS, Trait.AFFINE, Trait.PER_SAMPLE, Trait.FINITE})
    operands = ("x", "weight", "bias?")
    levels = (FLOAT, QUANTIZED, SPIKING)

    stride: tuple[int, ...] = (1,)
    padding: tuple[int, ...] = (0, 0)
    dilation: tuple[int, ...] = (1,)
    groups: int = 1

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, weight = types[:2]
        spatial = x.rank - 2
        if spatial < 1 or weight.rank != x.rank:
            raise GraphError("conv needs x[N, C, ...] and weight[M, C/groups, ...] of the same rank")
        if not len(self.stride) == len(self.dilation) == spatial:
            raise GraphError(f"conv over {spatial} axes has stride {self.stride} and dilation {self.dilation}")
        channels, (maps, _, *kernel) = x.shape[1], weight.static_shape("a conv weight")
        if self.groups < 1 or weight.shape[1] * self.groups != channels or maps % self.groups:
            raise SizeError(
                f"{channels} channels and {maps} maps do not fit weight {weight.shape} in {self.groups} groups",
                [(channels, weight.shape[1] * self.groups)],
            )
        if len(types) == 3 and types[2].shape != (maps,):
            raise GraphError(f"conv needs bias[{maps}]")
        self._check_gain(weight)
        pads = pad_amounts(self.padding, spatial)
        sizes = [
            window_size(size, kernel[axis], self.stride[axis], self.dilation[axis], pads[axis])
            for axis, size in enumerate(x.shape[2:])
        ]
        return (TensorType((x.shape[0], maps, *sizes), sum_dtype(*types)),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, weight = arrays[0], self.expanded(arrays[1]).astype(arrays[0].dtype, copy=False)
        spatial, kernel = x.ndim - 2, weight.shape[2:]
        if any(self.padding):
            x = np.pad(x, [(0, 0), (0, 0), *pad_amounts(self.padding, spatial)])
        span = tuple(self.dilation[axis] * (kernel[axis] - 1) + 1 for axis in range(spatial))
        windows = sliding_window_view(x, span, axis=tuple(range(2, x.ndim)))
        steps = tuple(slice(None, None, step) for step in (1, 1, *self.stride, *self.dilation))
        windows = windows[steps]
        batch, channels, positions = x.shape[0], x.shape[1] // self.groups, windows.shape[2 : 2 + spatial]
        windows = windows.reshape(batch, self.groups, channels, *positions, *kernel)
        order = (1, 0, *range(3, 3 + spatial), 2, *range(3 + spatial, 3 + 2 * spatial))
        columns = windows.transpose(order).reshape(self.groups, -1, channels * int(np.prod(kernel)))
        maps = weight.shape[0] // self.groups
        y = matrix_product(columns, weight.reshape(self.groups, maps, -1).transpose(0, 2, 1))
        y = y.reshape(self.groups, batch, *positions, maps)
        y = y.transpose(1, 0, 2 + spatial, *range(2, 2 + spatial)).reshape(batch, self.groups * maps, *positions)
        return (y + arrays[2].reshape(-1, *([1] * spatial)) if len(arrays) == 3 else y,)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(2, 4, 7)).astype(np.float32)
        w = rng.normal(size=(6, 2, 3)).astype(np.float32)
        yield example(cls((2,), (2, 1), (2,), 2), x, w, np.arange(6, dtype=np.float32))
        image, kernel = rng.normal(size=(1, 2, 5, 6)).astype(np.float32), rng.normal(size=(3, 2, 2, 3)).astype(np.float32)
        yield example(cls((1, 2), (0, 1, 1, 1), (1, 1)), image, kernel)
        levels, integers = rng.integers(0, 4, (2, 2, 5)), rng.integers(-7, 8, (3, 2, 3)).astype(np.int8)
        yield example(cls((1,), (1, 1), (1,)), (levels, _U2, "int"), integers)
        yield example(cls((1,), (1, 1), (1,)), (levels, _U2, "spike"), integers)
        yield example(cls((1,), (1, 1), (1,), gain=(1, 0, 3)), (levels, _U2, "spike"), integers)


@register
@dataclass(frozen=True)
class SparseLinear(Weighted):
    """`y[n, r] = sum over k with rows[k] = r of weight[k] x[n, cols[k]]`, on flattened samples.

    x[N, ...] of fixed shape gives y[N, *shape]. `rows` is sorted; `rows` and `cols` are i64[K], weight is [K].
    The general linear map, for windows whose weights differ from place to place. Its gain is one for all weights.
    """

    name = "sparse_linear"
    traits = frozenset({Trait.AFFINE, Trait.FINITE})
    operands = ("x", "weight", "rows", "cols")
    levels: ClassVar[tuple[str, ...]] = (FLOAT, QUANTIZED)

    shape: tuple[int, ...] = ()

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, weight, rows, cols = types
        if x.rank < 1:
            raise GraphError(f"{self.name} needs x[N, ...]")
        x.with_shape(x.shape[1:]).static_shape(f"{self.name} (a map without shared weights)")
        if rows.dtype != "i64" or cols.dtype != "i64" or not weight.shape == rows.shape == cols.shape or weight.rank != 1:
            raise GraphError(f"{self.name} needs weight[K], rows[K] and cols[K], the last two i64")
        self._check_gain(weight)
        return (TensorType((x.shape[0], *self.shape), sum_dtype(x, weight)),)

    def gain_shape(self, weight: tuple[int, ...]) -> tuple[int, ...]:
        return (1,)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, weight, rows, cols = arrays
        weight = self.expanded(weight)
        batch, size = x.shape[0], int(np.prod(self.shape))
        y = np.zeros((batch, size), np.result_type(x.dtype, weight.dtype if x.dtype.kind == "f" else x.dtype))
        if len(rows):
            present, starts = np.unique(rows, return_index=True)
            products = x.reshape(batch, -1)[:, cols] * weight.astype(x.dtype, copy=False)
            y[:, present] = np.add.reduceat(products, starts, axis=1)
        return (y.reshape(batch, *self.shape),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rows, cols = np.array([0, 0, 2]), np.array([1, 3, 0])
        if FLOAT in cls.levels:
            x = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
            yield example(cls((3,)), x, np.array([1.0, 0.5, -1.0], np.float32), rows, cols)
        dtype = "spike" if SPIKING in cls.levels else "int"
        levels, integers = np.arange(8).reshape(2, 4) % 4, np.array([1, 2, -1], np.int8)
        yield example(cls((3,)), (levels, _U2, dtype), integers, rows, cols)
        yield example(cls((3,), gain=(4,)), (levels, _U2, dtype), integers, rows, cols)


@register
@dataclass(frozen=True)
class BatchNorm(Op):
    """`scale (x - mean) / sqrt(variance + epsilon) + bias` per channel (axis 1), ONNX `BatchNormalization` in inference."""

    name = "batch_norm"
    traits = frozenset({Trait.CHANNELS, Trait.FINITE})
    operands = ("x", "scale", "bias", "mean", "variance")

    epsilon: float = 1e-5

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x = types[0]
        channels: Dimension = x.shape[1] if x.rank > 1 else 1
        if any(type_.shape != (channels,) for type_ in types[1:]):
            sizes = [(channels, type_.shape[0]) for type_ in types[1:] if type_.rank == 1]
            raise SizeError(f"batch_norm needs scale, bias, mean and variance of shape [{channels}]", sizes)
        return (TensorType(x.shape, sum_dtype(*types)),)

    def factors(self, *parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`(a, b)` with `y = a x + b` per channel, float64, from scale, bias, mean and variance."""
        scale, bias, mean, variance = (parameter.astype(np.float64) for parameter in parameters)
        a = scale / np.sqrt(variance + self.epsilon)
        return a, bias - a * mean

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x = arrays[0]
        shape = (-1, *([1] * (x.ndim - 2)))
        a, b = self.factors(*arrays[1:])
        return ((x * a.reshape(shape) + b.reshape(shape)).astype(np.result_type(*arrays)),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(2, 3, 2)
        p = np.array([1.0, 2.0, 0.5], np.float32)
        yield example(cls(1e-3), x, p, -p, p / 3, p)
