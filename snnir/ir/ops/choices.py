"""What the host looks up and sorts: rows of tables by number, places in a table, the largest elements and their places."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from snnir.errors import GraphError, InputError
from snnir.ir.op import FLOAT, QUANTIZED, SPIKING, Example, Op, Trait, register
from snnir.ir.ops.rules import example, ranked_shape, sum_dtype
from snnir.ir.types import TensorType

__all__ = ["Find", "Hardmax", "Lookup", "ReverseParts", "TopK"]


@register
@dataclass(frozen=True)
class Lookup(Op):
    """Rows of `table` [rows, ...] by whole numbers `index` [...]: `table[index]`; negative ones count from the end."""

    name = "lookup"
    traits = frozenset({Trait.FINITE})
    operands = ("table", "index")
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        table, index = types
        if table.rank < 1 or not table.is_plain or not (index.is_real or index.is_weight or index.is_levels):
            raise GraphError(f"lookup needs a table[rows, ...] and whole numbers, found {table} and {index}")
        return (TensorType((*index.shape, *table.shape[1:]), table.dtype),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        table, index = arrays
        rows = (np.rint(index) if index.dtype.kind == "f" else index).astype(np.int64)
        if rows.size and not (-len(table) <= rows.min() and rows.max() < len(table)):
            raise InputError(f"index {rows.min()}..{rows.max()} into a table of {len(table)} rows")
        return (table[rows],)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        table = np.sin(np.arange(12, dtype=np.float32)).reshape(4, 3)
        yield example(cls(), table, np.array([[0, 3], [2, -1]], np.float32))
        yield example(cls(), np.array([7, 4, 9]), np.array([2, 0], np.float32))
        yield example(cls(), np.array([7, 4, 9], np.uint8), np.array([2, 0], np.int32))
        yield example(cls(), np.array(["a", "bc"]), np.array([[1], [0]], np.int64))


@register
@dataclass(frozen=True)
class Find(Op):
    """The place of each element among `keys` [n], of equal keys the last; n for what is not there. Numbers or words."""

    name = "find"
    operands = ("x", "keys")
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, keys = types
        if keys.rank != 1 or keys.dtype != x.dtype or not x.is_plain:
            raise GraphError(f"find needs keys[n] of the same element type, found {x} and {keys}")
        return (TensorType(x.shape, "i64"),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, keys = arrays
        order = np.argsort(keys, kind="stable")
        if not keys.size:
            return (np.zeros(x.shape, np.int64),)
        near = order[np.maximum(np.searchsorted(keys[order], x, side="right") - 1, 0)]
        return (np.where(keys[near] == x, near, len(keys)).astype(np.int64),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(), np.array([["b", ""], ["long", "a"]]), np.array(["b", "a", "b"]))
        yield example(cls(), np.array([3, -1, 7]), np.array([7, 3]))
        yield example(cls(), np.array([0.5, -1.5, 2], np.float32), np.array([2, 0.5], np.float32))


@register
@dataclass(frozen=True)
class ReverseParts(Op):
    """ONNX `ReverseSequence`: the first `lengths[n]` elements along `axis` turned around, for each n of the axis `batch`."""

    name = "reverse_parts"
    operands = ("x", "lengths")
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    axis: int = 1
    batch: int = 0

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, lengths = types
        if self.axis == self.batch or not (0 <= self.axis < x.rank and 0 <= self.batch < x.rank):
            raise GraphError(f"reverse_parts along axis {self.axis} with batch axis {self.batch} of {x}")
        if not lengths.is_weight or lengths.shape != (x.shape[self.batch],):
            raise GraphError(f"reverse_parts of {x} needs one integer for each element of axis {self.batch}, found {lengths}")
        return (x if x.is_exact else TensorType(x.shape, sum_dtype(x)),)

    def takes_any(self) -> bool:
        return True

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, lengths = arrays
        size = x.shape[self.axis]
        if lengths.size and not (lengths.min() >= 0 and lengths.max() <= size):
            raise InputError(f"lengths {lengths.min()}..{lengths.max()} of sequences of {size} elements")
        ends = lengths.astype(np.int64).reshape([-1 if axis == self.batch else 1 for axis in range(x.ndim)])
        places = np.arange(size).reshape([-1 if axis == self.axis else 1 for axis in range(x.ndim)])
        return (np.take_along_axis(x, np.where(places < ends, ends - 1 - places, places), self.axis),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
        yield example(cls(), x, np.array([3, 1], np.int64))
        yield example(cls(1, 2), x.astype(np.int32), np.array([4, 0, 2], np.int64))


@register
@dataclass(frozen=True)
class Hardmax(Op):
    """1 at the first of the largest elements along `axis`, else 0."""

    name = "hardmax"
    traits = frozenset({Trait.ALONG_AXIS})
    operands = ("x",)
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    axis: int = -1

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if not -types[0].rank <= self.axis < types[0].rank:
            raise GraphError(f"{self.name} along axis {self.axis} of {types[0].rank} axes")
        return (TensorType(types[0].shape, sum_dtype(types[0])),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x = arrays[0]
        result = np.zeros_like(x)
        np.put_along_axis(result, np.expand_dims(x.argmax(axis=self.axis), self.axis), 1, axis=self.axis)
        return (result,)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(1), np.sin(np.arange(24, dtype=np.float32)).reshape(2, 3, 4))


@register
@dataclass(frozen=True)
class TopK(Op):
    """The `count` largest elements along `axis` (or the least), in order, and their places; of equal ones the first."""

    name = "top_k"
    traits = frozenset({Trait.ALONG_AXIS})
    operands = ("x",)
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    axis: int = -1
    count: int = 1
    largest: bool = True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x = types[0]
        shape = ranked_shape(self.name, x, self.axis, self.count)
        return (TensorType(shape, x.dtype if x.is_weight else sum_dtype(x)), TensorType(shape, "i64"))

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x = arrays[0]
        falling = ~x if x.dtype.kind in "iu" else -x  # of integers the complement: the least one has no negative
        order = np.argsort(falling if self.largest else x, axis=self.axis, kind="stable").take(range(self.count), axis=self.axis)
        return np.take_along_axis(x, order, axis=self.axis), order.astype(np.int64)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.sin(np.arange(24, dtype=np.float32)).reshape(2, 3, 4)
        yield example(cls(2, 3), x)
        yield example(cls(1, 2, False), x)
        yield example(cls(0, 3), np.array([-128, 5, 127, 5, 0], np.int8))
