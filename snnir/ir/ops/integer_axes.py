"""Integers along axes, which only the host computes: sums, products and extremes, and running ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from snnir.errors import GraphError
from snnir.ir.op import Example, Trait, register
from snnir.ir.ops.integers import Integer
from snnir.ir.ops.rules import example
from snnir.ir.types import TensorType

__all__ = ["IntCumulate", "IntReduce"]

_REDUCE: Mapping[str, Callable[..., np.ndarray]] = {
    "sum": np.add.reduce,
    "prod": np.multiply.reduce,
    "max": np.maximum.reduce,
    "min": np.minimum.reduce,
}
_RUNNING: Mapping[str, Callable[..., np.ndarray]] = {"sum": np.add.accumulate, "prod": np.multiply.accumulate}


@register
@dataclass(frozen=True)
class IntReduce(Integer):
    """The `function` (sum, prod, max or min) of all elements along `axes`, at the width of the type."""

    name = "int_reduce"
    traits = frozenset()
    operands = ("x",)

    function: str = "sum"
    axes: tuple[int, ...] = ()
    keep: bool = True

    def __post_init__(self) -> None:
        if self.function not in _REDUCE:
            raise GraphError(f"int_reduce by {self.function!r}; known are {', '.join(_REDUCE)}")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x = types[0]
        self.check(x)
        if any(not 0 <= axis < x.rank for axis in self.axes):
            raise GraphError(f"int_reduce along axes {self.axes} of {x}")
        if self.function in ("max", "min") and any(x.shape[axis] == 0 for axis in self.axes):
            raise GraphError("the extreme of no elements is no integer")
        sizes = enumerate(x.shape)
        shape = tuple(1 if axis in self.axes else size for axis, size in sizes if self.keep or axis not in self.axes)
        return (x.with_shape(shape),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x = arrays[0]
        extra = {"dtype": x.dtype} if self.function in _RUNNING else {}
        return (np.asarray(_REDUCE[self.function](x, axis=self.axes, keepdims=self.keep, **extra)),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = (np.arange(24) * 11 % 256).astype(np.uint8).reshape(2, 3, 4)
        yield example(cls("sum", (1, 2)), x)
        yield example(cls("prod", (0,), False), x.astype(np.int8))
        yield example(cls("max", (2,)), x)
        yield example(cls("min", (0, 1, 2), False), x.astype(np.int64))


@register
@dataclass(frozen=True)
class IntCumulate(Integer):
    """Running sums or products (`function`) along `axis`; `reverse` from the end, `exclusive` without the element itself."""

    name = "int_cumulate"
    traits = frozenset({Trait.ALONG_AXIS})
    operands = ("x",)

    function: str = "sum"
    axis: int = 0
    reverse: bool = False
    exclusive: bool = False

    def __post_init__(self) -> None:
        if self.function not in _RUNNING:
            raise GraphError(f"int_cumulate by {self.function!r}; known are {', '.join(_RUNNING)}")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.check(types[0])
        if not 0 <= self.axis < types[0].rank:
            raise GraphError(f"int_cumulate along axis {self.axis} of {types[0]}")
        return types

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x = np.flip(arrays[0], self.axis) if self.reverse else arrays[0]
        if self.exclusive:
            neutral = np.full_like(x.take([0] if x.shape[self.axis] else [], axis=self.axis), 1 if self.function == "prod" else 0)
            before = x.take(range(max(x.shape[self.axis] - 1, 0)), axis=self.axis)
            x = np.concatenate([neutral, before], axis=self.axis)
        running = _RUNNING[self.function](x, axis=self.axis, dtype=x.dtype)
        return (np.flip(running, self.axis) if self.reverse else running,)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.array([[100, 100, 100], [-3, 5, 7]], np.int8)
        yield example(cls("sum", 1), x)
        yield example(cls("prod", 1, True), x)
        yield example(cls("sum", 0, False, True), x.astype(np.uint16))
        yield example(cls("prod", 1, True, True), x.astype(np.int64))
