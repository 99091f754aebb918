"""Casts between real numbers, integers and truth, which only the host computes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from snnir.errors import GraphError
from snnir.ir.op import FLOAT, QUANTIZED, SPIKING, Example, Op, Trait, register
from snnir.ir.ops.rules import example, is_number, sum_dtype
from snnir.ir.types import DTYPES, TensorType

__all__ = ["BitCast", "Cast", "Narrow"]

_PLAIN = ("f32", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "bool")


@dataclass(frozen=True)
class _Cast(Op):
    operands = ("x",)
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    to: str = "f32"

    def __post_init__(self) -> None:
        if self.to not in _PLAIN:
            raise GraphError(f"{self.name} to {self.to!r}; known are {', '.join(_PLAIN)}")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if not types[0].is_plain or types[0].dtype == "str":
            raise GraphError(f"{self.name} takes real numbers, integers or truth, found {types[0]}")
        return (TensorType(types[0].shape, self.to),)


@register
@dataclass(frozen=True)
class Cast(_Cast):
    """ONNX `Cast` to the element type `to`: exact where the type holds the number.

    Real numbers become integers by truncation towards 0. Integers keep their lowest bits, of which `bits` (0: all) count, as
    two's complement where the type has a sign. Integers become the nearest real numbers, halves to the even one. Truth is
    what is not 0, and becomes 1 or 0. ONNX leaves open what becomes of real numbers beyond the type: here they keep their
    lowest bits too.
    """

    name = "cast"
    traits = frozenset({Trait.ELEMENTWISE, Trait.FINITE})

    bits: int = 0

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(types[0].shape, self.to),) if is_number(types[0]) else super().infer(*types)

    def __post_init__(self) -> None:
        super().__post_init__()
        width = 8 * DTYPES[self.to].itemsize
        if self.bits and (self.to[0] not in "iu" or not 1 <= self.bits <= width):
            raise GraphError(f"cast to {self.bits} bits of {self.to}; an integer type takes 1 to its own number of bits")

    def takes_any(self) -> bool:
        return DTYPES[self.to].kind in "fb"

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, dtype = arrays[0], DTYPES[self.to]
        if dtype.kind == "b":
            return (np.asarray(x != 0),)
        if x.dtype.kind == "f" and dtype.kind in "iu":
            x = _truncated(x)
        x = np.asarray(x.astype(dtype))
        if self.bits:
            unused = dtype.type(8 * dtype.itemsize - self.bits)
            x = np.right_shift(np.left_shift(x, unused), unused)  # of signed types this repeats the sign
        return (np.asarray(x, dtype),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.array([[-129.5, -1.75, 0.0], [1.99, 300.0, 7.5]], np.float32)
        for to in ("u8", "i8", "i64", "bool", "f64"):
            yield example(cls(to), x)
        yield example(cls("f32"), np.array([0, 200, 255], np.uint8))
        yield example(cls("i8", 4), np.array([0, 7, 8, 15, -9], np.int64))
        yield example(cls("f32"), np.array([True, False]))


def _truncated(x: np.ndarray) -> np.ndarray:
    """The lowest 64 bits of real numbers without their fractions, uint64."""
    whole = np.fmod(np.trunc(x.astype(np.float64)), 2.0**64)
    size = np.abs(whole).astype(np.uint64)
    with np.errstate(over="ignore"):  # of which NumPy warns for a single number only
        return np.where(whole < 0, np.invert(size) + np.uint64(1), size)


@register
@dataclass(frozen=True)
class BitCast(_Cast):
    """The same bits read as the element type `to`, which has as many."""

    name = "bit_cast"
    traits = frozenset({Trait.ELEMENTWISE})

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if DTYPES[types[0].dtype].itemsize != DTYPES[self.to].itemsize or "bool" in (types[0].dtype, self.to):
            raise GraphError(f"bit_cast of {types[0].dtype} to {self.to}, which have different numbers of bits")
        return super().infer(*types)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.array(arrays[0], order="C").view(DTYPES[self.to]),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls("i32"), np.array([[1.0, -2.5]], np.float32))
        yield example(cls("u8"), np.array([-1, 5], np.int8))
        yield example(cls("f64"), np.array([4607182418800017408], np.int64))


@register
@dataclass(frozen=True)
class Narrow(Op):
    """Real numbers rounded to those that a floating-point format of few bits holds, halves to the even one.

    The format has `mantissa` bits, its exponents are stored with `bias` added, and `largest` is the greatest number it holds.
    What is beyond becomes that with `saturate`; else an infinity where the format has one (`infinite`), or NaN. Without
    mantissa bits (float8e8m0) there are only powers of 2 from `2^-bias` on, and `rounding` is up, down or nearest. A format
    that has no NaN (`nan`) saturates, and NaN becomes -0, as ONNX's own tests have it (its page on float4 says 6).
    """

    name = "narrow"
    traits = frozenset({Trait.ELEMENTWISE})
    operands = ("x",)
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    mantissa: int = 3
    bias: int = 7
    largest: float = 448.0
    saturate: bool = True
    infinite: bool = False
    rounding: str = "even"
    nan: bool = True

    def __post_init__(self) -> None:
        if (self.rounding == "even") != (self.mantissa > 0) or self.rounding not in ("even", "up", "down", "nearest"):
            raise GraphError(f"narrow to {self.mantissa} mantissa bits with rounding {self.rounding!r}")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if not is_number(types[0]):
            raise GraphError(f"narrow takes real numbers, found {types[0]}")
        return (TensorType(types[0].shape, sum_dtype(types[0])),)

    def takes_any(self) -> bool:
        return self.mantissa > 0

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x = arrays[0].astype(np.float64)
        near = self._rounded(x) if self.mantissa else self._power(x)
        if not self.nan:
            near = np.where(np.isnan(near), -0.0, near)
        if self.saturate or not self.nan:
            near = np.clip(near, -self.largest, self.largest)
        else:
            beyond = np.copysign(np.inf, x) if self.infinite else np.full_like(x, np.nan)
            near = np.where(np.abs(near) > self.largest, beyond, near)
        return (np.asarray(near, arrays[0].dtype),)

    def _rounded(self, x: np.ndarray) -> np.ndarray:
        _, power = np.frexp(x)  # |x| in [2^(power - 1), 2^power)
        step = np.exp2(np.maximum(power - 1, 1 - self.bias) - float(self.mantissa))  # below the least normal number it is fixed
        return np.asarray(np.rint(x / step) * step)

    def _power(self, x: np.ndarray) -> np.ndarray:
        _, power = np.frexp(x)
        down = np.exp2(power - 1.0)
        share = {"up": 1.0, "nearest": 1.5, "down": 2.0}[self.rounding]
        above = x > down if share == 1.0 else x >= share * down
        return np.where(x > 0, np.maximum(np.where(above, 2 * down, down), 2.0**-self.bias), 2.0**-self.bias)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.array([[-500.0, -1.06, 0.0], [0.001, 0.3, 17.2]], np.float32)
        yield example(cls(), x)
        yield example(cls(2, 15, 57344.0, False, True), x)
        yield example(cls(1, 1, 6.0, nan=False), np.append(x, np.float32(np.nan)))
        for rounding in ("up", "down", "nearest"):
            yield example(cls(0, 127, 2.0**127, rounding=rounding), np.abs(x) + 1)
