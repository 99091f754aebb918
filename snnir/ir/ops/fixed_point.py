"""Integer ops that functions inside the network need beside ONNX's: floor division, square root, tables, bit lengths.

Functions of complete levels (`function.py`) are computed with these and with the ops of `integers.py` and `integer_axes.py`
alone, at 64 bits, so that they give the same integers on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from snnir.errors import GraphError
from snnir.ir.op import Example, Trait, register
from snnir.ir.ops.integers import Integer
from snnir.ir.ops.rules import broadcast, example
from snnir.ir.types import TensorType

__all__ = ["IntBitLength", "IntFloorDiv", "IntSqrt", "IntTable", "floor_sqrt"]


@register
@dataclass(frozen=True)
class IntFloorDiv(Integer):
    """`x / y`, rounded towards minus infinity; a divisor of 0 counts as 1."""

    name = "int_floor_div"
    operands = ("x", "y")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(broadcast(types[0].shape, types[1].shape), self.check(*types)),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, y = arrays
        with np.errstate(over="ignore"):  # the least integer by -1 is cut to the width, as in `int_div`
            return (np.asarray(np.floor_divide(x, np.where(y == 0, y.dtype.type(1), y)), x.dtype),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(), np.array([[-128, -7, 0], [7, 100, 127]], np.int8), np.array([3, -2, 0], np.int8))
        yield example(cls(), np.array([-(2**61) + 1, 5]), np.array(7))


def floor_sqrt(x: np.ndarray) -> np.ndarray:
    """The largest integer whose square is at most `x`, int64; 0 where `x` is negative."""
    x = np.maximum(x, 0)
    root = np.floor(np.sqrt(x.astype(np.float64))).astype(np.int64)
    root = np.minimum(root, 3037000499)  # the root of the largest int64
    root = np.where(root * root > x, root - 1, root)  # float64 has 53 bits: the estimate may be off by one
    following = np.minimum(root + 1, 3037000499)
    return np.asarray(np.where(following * following <= x, following, root))


@register
@dataclass(frozen=True)
class IntSqrt(Integer):
    """The largest integer whose square is at most `x` (i64); 0 where `x` is negative."""

    name = "int_sqrt"
    operands = ("x",)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if self.check(types[0]) != "i64":
            raise GraphError(f"int_sqrt takes i64, found {types[0]}")
        return types

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (floor_sqrt(arrays[0]),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(), np.array([[-4, 0, 1], [3, 4, 2**62]]))
        yield example(cls(), np.array([2**63 - 1, (2**31 - 1) ** 2 - 1, (2**31 - 1) ** 2]))


@register
@dataclass(frozen=True)
class IntTable(Integer):
    """`table[x]` for a constant table [entries] (i64); an index out of range takes the first or the last entry."""

    name = "int_table"
    traits = frozenset({Trait.PER_SAMPLE})
    operands = ("x", "table")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, table = types
        if self.check(x) != "i64" or table.dtype != "i64" or table.rank != 1 or table.shape[0] == 0:
            raise GraphError(f"int_table takes i64 and a table[entries] of i64, found {x} and {table}")
        return (x,)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, table = arrays
        return (table[np.clip(x, 0, len(table) - 1)],)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(), np.array([[-1, 0], [2, 9]]), np.array([5, -7, 2**40]))


@register
@dataclass(frozen=True)
class IntBitLength(Integer):
    """The number of binary digits of `x` (i64); 0 where `x` is 0 or negative."""

    name = "int_bit_length"
    operands = ("x",)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if self.check(types[0]) != "i64":
            raise GraphError(f"int_bit_length takes i64, found {types[0]}")
        return types

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        rest = np.maximum(arrays[0], 0)
        length = np.zeros(rest.shape, np.int64)
        for step in (32, 16, 8, 4, 2, 1):
            more = rest >> step > 0
            length += np.where(more, step, 0)
            rest = np.where(more, rest >> step, rest)
        return (np.asarray(length + (rest > 0)),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(), np.array([[-3, 0, 1], [255, 256, 2**62]]))
