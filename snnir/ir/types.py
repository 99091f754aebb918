"""Types of values: shape, element type and, where values are levels, their quantization.

Nx32:f32             real numbers
Nx32:u4*0.118        levels 0..15, one level stands for 0.118
Nx32:s4*0.118        levels -8..7
Nx32:int[0..9]*0.5   levels 0..9
Nx32:acc             integers on an accumulator grid
Nx32:spike[0..15]*0.118   spike trains whose tracer stays in 0..15
Nx32:current         integer input current of a population
Nx32:u8              plain integers (i8..i64, u8..u64), and truth (bool): weights, indices, and what only the host computes
Nx32:str             words, which only the host holds: labels
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snnir.errors import GraphError, InputError, TextError
from snnir.ir.dims import BATCH, Dim, Dimension, Shape, dim, parse_dim, substitute
from snnir.ir.rounding_modes import round_by

__all__ = ["DTYPES", "Quantization", "TensorType", "dtype_of", "not_a_level", "parse_type"]

DTYPES: dict[str, np.dtype] = {
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "i8": np.dtype(np.int8),
    "i16": np.dtype(np.int16),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
    "u8": np.dtype(np.uint8),
    "u16": np.dtype(np.uint16),
    "u32": np.dtype(np.uint32),
    "u64": np.dtype(np.uint64),
    "bool": np.dtype(np.bool_),
    "str": np.dtype(np.str_),  # of any length
    "int": np.dtype(np.int64),  # levels
    "spike": np.dtype(np.int64),
    "acc": np.dtype(np.int64),
    "current": np.dtype(np.int64),
}
"""Element types and how the executors store them."""

_REAL = frozenset({"f32", "f64"})
_LEVELS = frozenset({"int", "spike"})
_WEIGHTS = frozenset({"i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"})


@dataclass(frozen=True)
class Quantization:
    """Levels `lo..hi` (integers, `lo <= 0 <= hi`); the real value of level q is `scale * q`."""

    scale: float
    lo: int
    hi: int

    def __post_init__(self) -> None:
        if not (self.scale > 0 and np.isfinite(self.scale)):
            raise GraphError(f"a quantization scale must be positive and finite, not {self.scale}")
        if not self.lo <= 0 <= self.hi:
            raise GraphError(f"levels {self.lo}..{self.hi} do not hold 0, where every spike tracer starts")

    def __str__(self) -> str:
        return f"{_levels(self.lo, self.hi)}*{self.scale!r}"

    @property
    def magnitude_bits(self) -> int:
        """The bits of the largest magnitude of a level, without its sign."""
        return max(self.hi, -self.lo).bit_length()

    def join(self, other: Quantization) -> Quantization:
        """The smallest range of levels that holds both; the scales must be equal. Raises `GraphError`."""
        if self.scale != other.scale:
            raise GraphError(f"levels of different scales meet: {self} and {other}")
        return Quantization(self.scale, min(self.lo, other.lo), max(self.hi, other.hi))

    def round(self, x: np.ndarray, rounding: str = "half-up", single: bool = False) -> np.ndarray:
        """Levels of real `x`: `clip(round(x/scale), lo, hi)`, int64; half up: `clip(floor(x/scale + 1/2), lo, hi)`.

        The quotient is computed in float64; with `single` in float32, as ONNX's QuantizeLinear does. Infinities are clipped;
        raises `InputError` for NaN.
        """
        flat, scale = np.ascontiguousarray(x).reshape(-1), np.array(self.scale, np.float32 if single else np.float64)
        found = np.empty(flat.size, np.int64)
        between = np.int32 if max(-self.lo, self.hi) < 1 << 31 else np.int64  # for int32 there are vector instructions
        for first in range(0, flat.size, _BLOCK):
            levels = np.asarray(round_by(rounding, flat[first : first + _BLOCK].astype(scale.dtype) / scale))
            wrong = int(np.isnan(levels).sum())
            if wrong:
                raise InputError(not_a_level(str(self), wrong))
            np.clip(levels, self.lo, self.hi, out=levels)
            found[first : first + _BLOCK] = levels.astype(between)
        return found.reshape(x.shape)


def not_a_level(where: str, count: int) -> str:
    """What is said of NaN that the host computed and that would have to become levels."""
    return f"{where}: {count} NaN of what the host computed before the network, which stand for no level; look at the data"


_BLOCK = 1 << 15
"""Elements that are rounded at once: what is between stays in a near cache."""


def _levels(lo: int, hi: int) -> str:
    bits = (hi - lo + 1).bit_length() - 1
    if bits >= 1 and hi - lo + 1 == 1 << bits:
        if lo == 0:
            return f"u{bits}"
        if hi == (1 << (bits - 1)) - 1:
            return f"s{bits}"
    return f"int[{lo}..{hi}]"


@dataclass(frozen=True)
class TensorType:
    """Shape (axis 0 is the batch where the shape has one), element type, and quantization of levels."""

    shape: Shape
    dtype: str
    quantization: Quantization | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise GraphError(f"unknown element type {self.dtype!r}; known: {', '.join(DTYPES)}")
        if (self.dtype in _LEVELS) != (self.quantization is not None):
            raise GraphError(f"a value of type {self.dtype} {'needs a' if self.dtype in _LEVELS else 'has no'} quantization")

    def __str__(self) -> str:
        shape = "x".join(_size_text(size) for size in self.shape)
        kind = self.dtype
        if self.quantization is not None:
            levels, scale = _levels(self.quantization.lo, self.quantization.hi), repr(self.quantization.scale)
            kind = f"spike[{self.quantization.lo}..{self.quantization.hi}]*{scale}" if kind == "spike" else f"{levels}*{scale}"
        return f"{shape or '()'}:{kind}"

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def is_real(self) -> bool:
        """Whether the elements are real numbers (f32, f64)."""
        return self.dtype in _REAL

    @property
    def is_levels(self) -> bool:
        """Whether the elements are levels of a quantization (settled or as spike trains)."""
        return self.dtype in _LEVELS

    @property
    def is_weight(self) -> bool:
        """Whether the elements are plain integers: weights, biases, thresholds, indices."""
        return self.dtype in _WEIGHTS

    @property
    def is_exact(self) -> bool:
        """Whether the elements are plain integers, truth or words: the host computes with them, and spikes never do."""
        return self.is_weight or self.dtype in ("bool", "str")

    @property
    def is_plain(self) -> bool:
        """Whether the host may hold the value: real numbers, plain integers, truth or words; no levels, spikes or sums."""
        return self.is_real or self.is_exact

    @property
    def is_sum(self) -> bool:
        """Whether the elements are integers on an accumulator grid (`acc`, `current`)."""
        return self.dtype in ("acc", "current")

    @property
    def levels(self) -> Quantization:
        """The quantization of levels or spikes. Raises `GraphError` for any other type."""
        if self.quantization is None:
            raise GraphError(f"a value of type {self} has no levels")
        return self.quantization

    @property
    def batch_axis(self) -> int | None:
        """The axis whose size is exactly the batch, or None."""
        return self.shape.index(dim(BATCH)) if dim(BATCH) in self.shape else None

    def real(self) -> TensorType:
        """This type with real elements."""
        return self if self.is_real else TensorType(self.shape, "f32")

    def with_shape(self, shape: Shape) -> TensorType:
        """This type with another shape."""
        return TensorType(shape, self.dtype, self.quantization)

    def substitute(self, sizes: Mapping[str, Dimension]) -> TensorType:
        """This type with named dimensions replaced."""
        return self.with_shape(tuple(substitute(size, sizes) for size in self.shape))

    def static_shape(self, what: str) -> tuple[int, ...]:
        """The shape, all integers. Raises `GraphError` naming `what` where a dimension is symbolic."""
        if any(isinstance(size, Dim) for size in self.shape):
            raise GraphError(f"{what} needs a fixed shape, but has {self}")
        return tuple(int(size) for size in self.shape if isinstance(size, int))


def dtype_of(array: np.ndarray) -> str:
    """The element type that stores `array`'s dtype. Raises `GraphError`."""
    if array.dtype.kind == "U":
        return "str"
    for name, dtype in DTYPES.items():
        if array.dtype == dtype:
            return name
    raise GraphError(f"arrays of {array.dtype} have no place in a graph; use one of f32, f64, i8..i64, u8..u64, bool, str")


_TYPE = re.compile(
    r"(?P<shape>\(\)|[^:\s]+):(?P<kind>[a-z]+\d*)(?:\[(?P<lo>-?\d+)\.\.(?P<hi>-?\d+)\])?(?:\*(?P<scale>[0-9.e+-]+))?"
)


def parse_type(text: str) -> TensorType:
    """Read what `str` of a type wrote. Raises `TextError`."""
    match = _TYPE.fullmatch(text)
    if match is None:
        raise TextError(f"{text!r} is not a type such as Nx32:f32 or Nx32:u4*0.118")
    try:
        return TensorType(_read_shape(match["shape"]), *_read_kind(match["kind"], match["scale"], match["lo"], match["hi"]))
    except (GraphError, ValueError) as error:
        raise TextError(f"{text!r} is not a type such as Nx32:f32 or Nx32:u4*0.118: {error}") from None


def _read_shape(text: str) -> Shape:
    return () if text == "()" else tuple(parse_dim(size) for size in _split_shape(text))


def _read_kind(kind: str, scale: str | None, lo: str | None, hi: str | None) -> tuple[str, Quantization | None]:
    """Element type and quantization."""
    if scale is None and lo is None:
        return kind, None
    if scale is None or hi is None:
        bits = int(kind[1:]) if kind[1:].isdecimal() else 0
        if scale is None or kind[0] not in "us" or not 1 <= bits <= 62:
            raise GraphError("levels are written as u4*0.5, s4*0.5, int[0..9]*0.5 or spike[0..9]*0.5")
        low, high = (0, (1 << bits) - 1) if kind[0] == "u" else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
        return "int", Quantization(float(scale), low, high)
    return kind, Quantization(float(scale), int(lo or 0), int(hi))


def _size_text(size: Dimension) -> str:
    text = str(size)
    return text if isinstance(size, int) or (text.isidentifier() and "x" not in text) else f"({text})"


def _split_shape(text: str) -> list[str]:
    """Split `Nx(T//2)x8` at the x that stand outside parentheses."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "x" and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]
