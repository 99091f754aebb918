"""Ops between real numbers, levels and accumulator grids.

The quantizer rounds half up, `q = clip(floor(x/s + 1/2), lo, hi)`, because that is what an integrate-and-fire neuron
that starts at half its threshold settles to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnir.errors import GraphError
from snnir.ir.bits import truncated
from snnir.ir.dims import Shape
from snnir.ir.op import FLOAT, QUANTIZED, Example, Op, Trait, register
from snnir.ir.ops.rules import broadcast, example
from snnir.ir.rounding_modes import check_rounding
from snnir.ir.types import Quantization, TensorType

__all__ = ["Dequantize", "MultiThreshold", "Observe", "Quantize", "Requantize", "check_parameter", "staircase", "uniform_levels"]


def check_parameter(op: str, x: Shape, parameter: Shape) -> None:
    """Raise `GraphError` unless `parameter` broadcasts over a sample of `x` (the shape without its batch axis)."""
    if broadcast(x[1:], parameter) != x[1:]:
        raise GraphError(f"{op}: a parameter of shape {parameter} does not spread over samples of shape {x[1:]}")


def uniform_levels(sums: np.ndarray, theta: np.ndarray, quantization: Quantization) -> np.ndarray:
    """`clip((sums + theta//2) // theta, lo, hi)` in int64, floor division."""
    theta = theta.astype(np.int64, copy=False)
    levels: np.ndarray = np.clip((sums + theta // 2) // theta, quantization.lo, quantization.hi)
    return levels


def staircase(sums: np.ndarray, table: np.ndarray, quantization: Quantization) -> np.ndarray:
    """`lo + #{j : sums >= table[j]}`: table[0] is the least sum that gives level lo+1, and so on up to hi."""
    levels = np.full(np.broadcast_shapes(sums.shape, table.shape[1:]), quantization.lo, np.int64)
    for threshold in table:
        levels += sums >= threshold
    return levels


@register
@dataclass(frozen=True)
class Observe(Op):
    """Identity that carries what calibration found: for each number of bits the best scale and the lowest level.

    `scales[i]` and `lows[i]` are for b = `FEWEST_BITS + i` bits: levels are `lows[i] .. lows[i] + 2^b - 1`.
    """

    name = "observe"
    traits = frozenset({Trait.PER_SAMPLE, Trait.ROUNDS})
    operands = ("x",)

    scales: tuple[float, ...] = ()
    lows: tuple[int, ...] = ()

    FEWEST_BITS: ClassVar[int] = 2
    MOST_BITS: ClassVar[int] = 16

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if not types[0].is_real:
            raise GraphError(f"observe is defined for real numbers, not for {types[0].dtype}")
        if len(self.scales) != self.MOST_BITS - self.FEWEST_BITS + 1:
            raise GraphError(f"observe needs a scale for each of {self.FEWEST_BITS} to {self.MOST_BITS} bits")
        if len(self.lows) != len(self.scales) or any(not -(1 << bits) < low <= 0 for bits, low in enumerate(self.lows, 2)):
            raise GraphError("observe needs a lowest level for each number of bits b, above -2^b and at most 0")
        return types

    def quantization(self, bits: int) -> Quantization:
        """The levels of `bits` bits."""
        low = self.lows[bits - self.FEWEST_BITS]
        return Quantization(self.scales[bits - self.FEWEST_BITS], low, low + (1 << bits) - 1)

    @classmethod
    def lowest(cls, signed: bool) -> tuple[int, ...]:
        """The lowest levels of two's complement, or of numbers without a sign."""
        return tuple(-(1 << (bits - 1)) if signed else 0 for bits in range(cls.FEWEST_BITS, cls.MOST_BITS + 1))

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return arrays

    @classmethod
    def examples(cls) -> Iterable[Example]:
        scales = tuple(0.5**bits for bits in range(cls.FEWEST_BITS, cls.MOST_BITS + 1))
        yield example(cls(scales, cls.lowest(True)), np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3))


@register
@dataclass(frozen=True)
class Quantize(Op):
    """Levels of a real value (or of other levels, by their scale): `clip(floor(x/scale + 1/2), lo, hi)`.

    `given` says that the model brought the quantizer with it, and its own `rounding` (one of `rounding_modes.py`); `single` that
    `x/scale` is computed in float32.
    """

    name = "quantize"
    traits = frozenset({Trait.PER_SAMPLE, Trait.ROUNDS})
    operands = ("x",)
    levels: ClassVar[tuple[str, ...]] = (FLOAT, QUANTIZED)

    quantization: Quantization = Quantization(1.0, 0, 15)
    rounding: str = "half-up"
    single: bool = False
    given: bool = False

    def __post_init__(self) -> None:
        check_rounding(self.rounding)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if not (types[0].is_real or types[0].is_levels):
            raise GraphError(f"{self.name} is defined for real numbers and levels, not for {types[0].dtype}")
        return (TensorType(types[0].shape, "int", self.quantization),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (self.quantization.round(arrays[0], self.rounding, self.single),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.linspace(-3, 3, 13, dtype=np.float32).reshape(1, 13)
        yield example(cls(Quantization(0.5, -4, 3)), x)
        yield example(cls(Quantization(0.25, 0, 7)), x)
        yield example(cls(Quantization(0.5, -4, 3), "even", True, True), x)


@dataclass(frozen=True)
class _Threshold(Op):
    """Levels of sums. `omitted` least significant bits of their magnitudes are left out: levels are rounded towards 0 to whole
    multiples of 2^omitted."""

    levels = (QUANTIZED,)

    quantization: Quantization = Quantization(1.0, 0, 15)
    omitted: int = 0

    def stored(self, types: Sequence[TensorType]) -> bool:
        return True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        sums, parameter = types
        if not 0 <= self.omitted <= self.quantization.magnitude_bits:
            raise GraphError(f"{self.name} cannot omit {self.omitted} bits of {self.quantization.magnitude_bits}")
        if sums.dtype != "acc" or not parameter.is_weight:
            raise GraphError(f"{self.name} needs sums on an accumulator grid and integer thresholds")
        shape = parameter.shape
        if isinstance(self, MultiThreshold):
            if not shape or shape[0] != self.quantization.hi - self.quantization.lo:
                raise GraphError(f"{self.name} needs one threshold for each of the levels above {self.quantization.lo}")
            shape = shape[1:]
        check_parameter(self.name, sums.shape, shape)
        return (TensorType(sums.shape, "int", self.quantization),)


@register
@dataclass(frozen=True)
class Requantize(_Threshold):
    """`clip((x + theta//2) // theta, lo, hi)` with integer thresholds theta (per channel or finer)."""

    name = "requantize"
    traits = frozenset({Trait.PER_SAMPLE})
    operands = ("x", "theta")

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (truncated(uniform_levels(arrays[0], arrays[1], self.quantization), self.omitted),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        sums = np.arange(-20, 22).reshape(14, 3)
        yield example(cls(Quantization(0.5, -2, 3)), (sums, "acc"), np.array([1, 4, 7], np.int32))


@register
@dataclass(frozen=True)
class MultiThreshold(_Threshold):
    """`lo + #{j : x >= table[j]}` with a sorted integer table [hi - lo, ...]: a monotone activation and its quantizer.

    FINN (Umuroglu et al., arXiv:1612.07119) calls the same function a multi-threshold.
    """

    name = "multi_threshold"
    traits = frozenset({Trait.PER_SAMPLE})
    operands = ("x", "table")

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (truncated(staircase(arrays[0], arrays[1], self.quantization), self.omitted),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        sums = np.arange(-20, 22).reshape(14, 3)
        table = np.array([[-9, -5, 0], [-9, 0, 0], [4, 9, 17]], np.int32)
        yield example(cls(Quantization(0.5, -1, 2)), (sums, "acc"), table)


@register
@dataclass(frozen=True)
class Dequantize(Op):
    """The real value of integers: `x * scale`, computed in float64, given as f32. `scale` is f64, per channel or finer."""

    name = "dequantize"
    traits = frozenset({Trait.PER_SAMPLE})
    operands = ("x", "scale")
    levels = (FLOAT, QUANTIZED)

    def stored(self, types: Sequence[TensorType]) -> bool:
        return True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if not (types[0].is_sum or types[0].is_levels) or types[1].dtype != "f64":
            raise GraphError("dequantize needs integers and an f64 scale")
        check_parameter(self.name, types[0].shape, types[1].shape)
        return (TensorType(types[0].shape, "f32"),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return ((arrays[0] * arrays[1]).astype(np.float32),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(), (np.arange(6).reshape(2, 3), "acc"), np.array([0.5, 1.0, 0.25]))
        yield example(cls(), (np.arange(6).reshape(2, 3), Quantization(0.5, 0, 7), "int"), np.array(0.5))
