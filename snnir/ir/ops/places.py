"""Places of the largest elements as real numbers, and elements taken at places that change with the input.

The network holds them as functions of complete levels: a place is a whole number, whose level is the place itself. What the host
alone computes with integers of a type is in `choices.py` and `host.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from snnir.errors import GraphError, InputError
from snnir.ir.op import FLOAT, QUANTIZED, SPIKING, Example, Op, Trait, register
from snnir.ir.ops.rules import broadcast, example, ranked_shape, sum_dtype
from snnir.ir.types import TensorType

__all__ = ["Ranking", "TakeAlong", "TopPlaces", "TopValues"]


@dataclass(frozen=True)
class Ranking(Op):
    """Base: something of the `count` largest elements along `axis` (or the least), in order; of equal ones the first counts, or
    the last with `last`."""

    traits = frozenset({Trait.ALONG_AXIS, Trait.FINITE})
    operands = ("x",)
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    axis: int = -1
    count: int = 1
    largest: bool = True
    last: bool = False

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x = types[0]
        return (TensorType(ranked_shape(self.name, x, self.axis, self.count), sum_dtype(x)),)

    def order(self, x: np.ndarray) -> np.ndarray:
        """The places of the elements, int64."""
        size = x.shape[self.axis]
        line = np.flip(x, self.axis) if self.last else x
        order = np.argsort(-line if self.largest else line, axis=self.axis, kind="stable").take(range(self.count), axis=self.axis)
        return size - 1 - order if self.last else order

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.sin(np.arange(24, dtype=np.float32)).reshape(2, 3, 4)
        yield example(cls(2, 3), x)
        yield example(cls(1, 2, False), x)
        yield example(cls(-1, 2, True, True), np.round(x))


@register
@dataclass(frozen=True)
class TopPlaces(Ranking):
    """The places of the `count` largest (or least) elements along `axis`, in order, as real whole numbers."""

    name = "top_places"

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (self.order(arrays[0]).astype(arrays[0].dtype),)


@register
@dataclass(frozen=True)
class TopValues(Ranking):
    """The `count` largest (or least) elements along `axis`, in order."""

    name = "top_values"

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.take_along_axis(arrays[0], self.order(arrays[0]), axis=self.axis),)


@register
@dataclass(frozen=True)
class TakeAlong(Op):
    """`result[..., m, ...] = x[..., index[..., m, ...], ...]` along `axis` (NumPy's take_along_axis); other axes broadcast.

    `index` holds whole numbers, of which negative ones count from the end.
    """

    name = "take_along"
    traits = frozenset({Trait.FINITE})
    operands = ("x", "index")
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    axis: int = -1

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, index = types
        whole = index.is_real or index.is_weight or index.is_levels
        if x.rank != index.rank or not 0 <= self.axis < x.rank or not whole or not (x.is_plain or x.is_levels):
            raise GraphError(f"take_along axis {self.axis} needs values and whole numbers of as many axes, found {x} and {index}")
        one = tuple(1 if axis == self.axis else size for axis, size in enumerate(x.shape))
        shape = list(broadcast(one, tuple(1 if axis == self.axis else size for axis, size in enumerate(index.shape))))
        shape[self.axis] = index.shape[self.axis]
        return (TensorType(tuple(shape), x.dtype if x.is_plain else sum_dtype(x)),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, index = arrays
        places = (np.rint(index) if index.dtype.kind == "f" else index).astype(np.int64)
        size = x.shape[self.axis]
        if places.size and not (-size <= places.min() and places.max() < size):
            raise InputError(f"places {places.min()}..{places.max()} along an axis of {size} elements")
        shape = [max(a, b) if 0 not in (a, b) else 0 for a, b in zip(x.shape, places.shape, strict=True)]
        wide, chosen = list(shape), list(shape)
        wide[self.axis], chosen[self.axis] = size, places.shape[self.axis]
        return (np.take_along_axis(np.broadcast_to(x, wide), np.broadcast_to(places, chosen), axis=self.axis),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.sin(np.arange(24, dtype=np.float32)).reshape(2, 3, 4)
        yield example(cls(1), x, np.array([[[2], [0]], [[-1], [1]]], np.float32))
        yield example(cls(2), x, np.array([[[3, 0, 0]]] * 2, np.float32))
        yield example(cls(1), x, np.arange(8).reshape(2, 1, 4) % 3)
