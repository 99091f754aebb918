"""Fixed-point arithmetic: real numbers as 64-bit integers with a known unit and a proven range.

A function of complete levels is computed with integers only, so that every machine gives the same. While compiling, each
intermediate value is a `Fixed`: an i64 value of the function's body, the real number of its unit, and the interval that it never
leaves. `Arithmetic` writes the integer ops of the body and follows the intervals, so that no operation can overflow; it
drops low bits only where a product would have more than 62 of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from snnir.errors import Refusal, UnsupportedError
from snnir.ir import Graph, Op, Value
from snnir.ir.dims import Dim, Dimension, at_most, concrete
from snnir.ir.lowering.sizes import open_sizes
from snnir.ir.ops import (
    IntAdd,
    IntAnd,
    IntBitLength,
    IntFloorDiv,
    IntLeast,
    IntMost,
    IntMul,
    IntReduce,
    IntShiftLeft,
    IntShiftRight,
    IntSqrt,
    IntSub,
    IntTable,
)

__all__ = ["Arithmetic", "Fixed"]

MOST = 62
"""Bits of the largest magnitude that an intermediate value may have."""
_FACTOR = 30
"""Bits of the factors that change the unit of a value."""
_CONSTANT = 24
"""Bits of constants, those of float32."""
_INDEX = (8, 14)
"""The fewest and the most bits of an index into a table between whose entries values are interpolated."""
_TABLE = 30
"""Bits of the entries of tables."""


@dataclass(frozen=True)
class Fixed:
    """The real number `scale * value`; `value` is i64 and never leaves `lo..hi`. Where `keep` is 0, it is minus infinity."""

    value: Value
    scale: float
    lo: int
    hi: int
    keep: Value | None = None

    @property
    def bits(self) -> int:
        """Bits of the largest magnitude."""
        return max(abs(self.lo), abs(self.hi)).bit_length()


class Arithmetic:
    """Writes integer ops into the body of a function. Bounds are Python's integers, so they cannot overflow either."""

    def __init__(self, body: Graph) -> None:
        self.body = body
        self.origin: tuple[str, ...] = ()
        self.label = "f"

    def emit(self, op: Op, *operands: Value, part: str = "") -> Value:
        """One node, named after the node of the model that is being lowered."""
        name = f"{self.label}.{part}" if part else self.label
        return self.body.add1(op, *operands, name=name, origin=self.origin)

    def integers(self, array: np.ndarray | int, part: str = "c") -> Value:
        """A constant of i64."""
        return self.body.constant(f"{self.label}.{part}", np.asarray(array, np.int64))

    def constant(self, array: np.ndarray) -> Fixed:
        """Real constants, to 24 bits of the largest; fractions of few binary digits are exact."""
        array = np.asarray(array, np.float64)
        largest = float(np.abs(array).max(initial=0))
        scale = 2.0 ** (math.frexp(largest)[1] - _CONSTANT) if largest else 1.0
        whole = np.rint(array / scale).astype(np.int64)
        while whole.any() and not (whole & 1).any():
            whole, scale = whole >> 1, scale * 2
        return Fixed(self.integers(whole), scale, int(whole.min(initial=0)), int(whole.max(initial=0)))

    def shifted_right(self, x: Fixed, bits: int) -> Fixed:
        """`x` with `bits` fewer bits, rounded half up; its unit is `2^bits` times as much."""
        if bits <= 0:
            return x
        if bits > MOST:  # less than half of one, whatever it is
            return replace(self.clamped(x, 0, 0), scale=x.scale * 2.0**bits)
        half = self.emit(IntAdd(), x.value, self.integers(1 << (bits - 1), "half"), part="up")
        value = self.emit(IntShiftRight(), half, self.integers(bits, "shift"), part="shifted")
        lo, hi = ((end + (1 << (bits - 1))) >> bits for end in (x.lo, x.hi))
        return replace(x, value=value, scale=x.scale * 2.0**bits, lo=lo, hi=hi)

    def shifted_left(self, x: Fixed, bits: int) -> Fixed:
        """`x` with `bits` zeros behind; the same number, in finer units."""
        if bits <= 0:
            return x
        value = self.emit(IntShiftLeft(), x.value, self.integers(bits, "shift"), part="shifted")
        return replace(x, value=value, scale=x.scale * 2.0**-bits, lo=x.lo << bits, hi=x.hi << bits)

    def limited(self, x: Fixed, bits: int) -> Fixed:
        """`x` in at most `bits` bits."""
        while x.bits > bits:
            x = self.shifted_right(x, x.bits - bits)
        return x

    def rescaled(self, x: Fixed, scale: float) -> Fixed:
        """`x` in units of `scale`, rounded half up. Raises `UnsupportedError` where that needs more than 62 bits."""
        fraction, exponent = math.frexp(x.scale / scale)
        if fraction == 0.5:
            result = self.shifted_left(x, exponent - 1) if exponent > 0 else self.shifted_right(x, 1 - exponent)
            return self._fitting(replace(result, scale=scale))
        x = self.limited(x, MOST - _FACTOR - 1)
        fraction, exponent = math.frexp(x.scale / scale)
        places = min(_FACTOR, MOST - 1 - x.bits)
        factor = round(fraction * 2.0**places)
        product = self.emit(IntMul(), x.value, self.integers(factor, "factor"), part="scaled")
        scaled = replace(x, value=product, lo=x.lo * factor, hi=x.hi * factor)
        places -= exponent
        result = self.shifted_right(scaled, places) if places > 0 else self.shifted_left(scaled, -places)
        return self._fitting(replace(result, scale=scale))

    def _fitting(self, x: Fixed) -> Fixed:
        if x.bits > MOST:
            raise UnsupportedError(
                f"{self.label}: its integers would need {x.bits} bits, and there are {MOST}; "
                "calibration data closer to what the model sees narrow its range"
            )
        return x

    def clamped(self, x: Fixed, low: int | None, high: int | None) -> Fixed:
        """`x` held in `low..high`; an end that it cannot reach costs nothing."""
        value, lo, hi = x.value, x.lo, x.hi
        if low is not None and lo < low:
            value, lo, hi = self.emit(IntMost(), value, self.integers(low, "low"), part="held"), low, max(hi, low)
        if high is not None and hi > high:
            value, lo, hi = self.emit(IntLeast(), value, self.integers(high, "high"), part="held"), min(lo, high), high
        return replace(x, value=value, lo=lo, hi=hi)

    def saturated(self, x: Fixed, low: float, high: float) -> Fixed:
        """`x` held in real numbers `low..high`."""
        least = None if math.isinf(low) else math.floor(low / x.scale)
        most = None if math.isinf(high) else math.ceil(high / x.scale)
        return self.clamped(x, least, most)

    def aligned(self, *parts: Fixed) -> list[Fixed]:
        """All in the same units: the finest of them, or as fine as 60 bits of the largest allow."""
        largest = max(part.bits + math.log2(part.scale) for part in parts)
        scale = max(min(part.scale for part in parts), 2.0 ** math.ceil(largest - (MOST - 2)))
        return [part if part.scale == scale else self.rescaled(part, scale) for part in parts]

    def sum(self, a: Fixed, b: Fixed, sign: int = 1) -> Fixed:
        """`a + b`, or with sign -1 `a - b`."""
        keep = self._keep(a, b)
        a, b = self.aligned(a, b)
        lo, hi = (a.lo + b.lo, a.hi + b.hi) if sign > 0 else (a.lo - b.hi, a.hi - b.lo)
        value = self.emit(IntAdd() if sign > 0 else IntSub(), a.value, b.value)
        return self._fitting(Fixed(value, a.scale, lo, hi, keep))

    def product(self, a: Fixed, b: Fixed) -> Fixed:
        """`a b`, from as many bits of each as fit; of a square, nothing negative."""
        square, keep = a.value is b.value, self._keep(a, b)
        if a.bits + b.bits > MOST:
            half = MOST // 2
            a = self.limited(a, max(half, MOST - b.bits))
            b = a if square else self.limited(b, max(half, MOST - a.bits))
        ends = [x * y for x, y in itertools.product((a.lo, a.hi), (b.lo, b.hi))]
        lo = 0 if square and a.lo <= 0 <= a.hi else min(ends)
        return Fixed(self.emit(IntMul(), a.value, b.value), a.scale * b.scale, lo, max(ends), keep)

    def _keep(self, a: Fixed, b: Fixed) -> Value | None:
        """Which elements are not masked."""
        if a.keep is None or b.keep is None:
            return a.keep or b.keep
        return self.emit(IntAnd(), a.keep, b.keep, part="keep")

    def quotient(self, a: Fixed, b: Fixed) -> Fixed:
        """`a / b`, as fine as 62 bits allow; where b is less than 1 of its units, it counts as 1."""
        b = self.limited(b, MOST // 2)
        negative = b.hi <= 0
        if not negative:
            b = self.clamped(b, 1, None) if b.lo >= 0 else b
        shift = MOST - a.bits
        a = self.shifted_left(a, shift)
        value = self.emit(IntFloorDiv(), a.value, b.value, part="quotient")
        nearest = max(1, min(abs(b.lo), abs(b.hi))) if b.lo > 0 or b.hi < 0 else 1
        most = max(abs(a.lo), abs(a.hi)) // nearest + 1
        same = (a.lo >= 0 and b.lo > 0) or (a.hi <= 0 and b.hi < 0)
        return Fixed(value, a.scale / b.scale, 0 if same else -most, most)

    def root(self, x: Fixed) -> Fixed:
        """The square root; of negative numbers 0."""
        x = self.clamped(self.limited(x, MOST), 0, None)
        shift = (MOST - x.bits) // 2 * 2
        x = self.shifted_left(x, shift)
        value = self.emit(IntSqrt(), x.value, part="root")
        return Fixed(value, math.sqrt(x.scale), math.isqrt(x.lo), math.isqrt(x.hi))

    def total(self, x: Fixed, axes: Sequence[int], keep: bool) -> Fixed:
        """The sum over `axes`, whose sizes must be known, or have upper ends."""
        count = self.most(x, axes)
        x = self.limited(x, MOST - count.bit_length())
        value = self.emit(IntReduce("sum", tuple(sorted(axes)), keep), x.value, part="sum")
        return Fixed(value, x.scale, x.lo * count, x.hi * count)

    def largest(self, x: Fixed, axes: Sequence[int]) -> Fixed:
        """The maximum over `axes`, which stay with size 1."""
        return replace(x, value=self.emit(IntReduce("max", tuple(sorted(axes)), True), x.value, part="max"), keep=None)

    def count(self, x: Fixed, axes: Sequence[int]) -> int:
        """How many elements lie along `axes`. Raises `UnsupportedError` where their number changes with the input."""
        sizes = [x.value.type.shape[axis] for axis in axes]
        if any(isinstance(size, Dim) for size in sizes):
            raise self._open(x, sizes, "a number that changes with the input")
        return math.prod(concrete(size) for size in sizes)

    def most(self, x: Fixed, axes: Sequence[int]) -> int:
        """How many elements lie along `axes` at most. Raises `UnsupportedError` for open sizes without an upper end."""
        sizes = [x.value.type.shape[axis] for axis in axes]
        ends = [at_most(size, self.body.limits) for size in sizes]
        if None in ends:
            raise self._open(x, sizes, "and how many those are at most is not known")
        return math.prod(end for end in ends if end is not None)

    def _open(self, x: Fixed, sizes: Sequence[Dimension], why: str) -> UnsupportedError:
        reason = f"it adds up {'x'.join(map(str, sizes))} elements, {why}"
        return UnsupportedError(f"{self.label}: {reason}", (Refusal(self.label, reason, self.origin, open_sizes([x.value])),))

    def curve(self, x: Fixed, function: Callable[[np.ndarray], np.ndarray], bits: int = _TABLE) -> Fixed:
        """`function` of each element, from a table over the range of `x`, with straight lines between entries.

        The table has as many entries (2^8 to 2^14) as keep the error of the lines, looked at in the middle between entries,
        below 2^-20 of the largest value; where `x` has no more integers than that, each has an entry of its own.
        """
        x = self.limited(x, 40)
        width = x.hi - x.lo
        places = 0
        for index in range(*_INDEX, 2):
            places = max(0, width.bit_length() - index)
            ends = np.array([x.lo + (entry << places) for entry in range((width >> places) + 2)], np.float64) * x.scale
            values = function(ends)
            largest = float(np.abs(values).max(initial=0)) or 1.0
            if not np.isfinite(values).all():
                raise UnsupportedError(
                    f"{self.label}: it is not finite everywhere in {ends[0]:g}..{ends[-1]:g}, the range of the calibration data, "
                    "widened"
                )
            middle = function((ends[1:] + ends[:-1]) / 2)
            if not places or float(np.abs(middle - (values[1:] + values[:-1]) / 2).max()) <= largest * 2.0**-20:
                break
        scale = 2.0 ** (math.frexp(largest)[1] - bits)
        table = np.rint(values / scale).astype(np.int64)
        lo, hi = int(table.min()), int(table.max())
        start = self.emit(IntSub(), x.value, self.integers(x.lo, "start"), part="above")
        entry = self.emit(IntShiftRight(), start, self.integers(places, "places"), part="entry") if places else start
        base = self.emit(IntTable(), entry, self.integers(table, "table"), part="base")
        if not places:
            return Fixed(base, scale, lo, hi)
        rest = self.emit(IntAnd(), start, self.integers((1 << places) - 1, "mask"), part="rest")
        slope = self.emit(IntTable(), entry, self.integers(np.diff(table, append=table[-1:]), "slopes"), part="slope")
        rise = self.emit(IntMul(), slope, rest, part="rise")
        step = self.emit(IntShiftRight(), rise, self.integers(places, "places"), part="step")
        return Fixed(self.emit(IntAdd(), base, step), scale, lo, hi)

    def logarithm(self, x: Fixed) -> Fixed:
        """The natural logarithm of numbers of 1 unit or more: digits counted, and a table for the leading ones."""
        x = self.clamped(self.limited(x, 40), 1, None)
        length = self.emit(IntBitLength(), x.value, part="digits")
        missing = self.emit(IntSub(), self.integers(41, "most"), length, part="missing")
        leading = self.emit(IntShiftLeft(), x.value, missing, part="leading")  # 2^40 .. 2^41 - 1
        mantissa = self.curve(Fixed(leading, 2.0**-40, 1 << 40, (1 << 41) - 1), np.log)
        digits = Fixed(length, 1.0, 1, 41)
        whole = self.product(self.sum(digits, self.constant(np.array(1.0)), -1), self.constant(np.array(math.log(2))))
        total = self.sum(whole, mantissa)
        return self.sum(total, self.constant(np.array(math.log(x.scale))))

    def spread(self, x: Value, other: Value) -> Value:
        """`x` in the shape that it and `other` have together."""
        return self.emit(IntAdd(), x, self.emit(IntMul(), other, self.integers(0), part="zeros"), part="spread")

    def moved(self, x: Fixed, op: Op) -> Fixed:
        """Data movement: the same numbers elsewhere."""
        keep = None if x.keep is None else self.emit(op, x.keep, part="keep")
        return replace(x, value=self.emit(op, x.value), keep=keep)
