"""Arithmetic of two values: sums, differences, products, quotients and matrix products.

With integer weights and levels (or spikes) as input `add` and `mul` compute integers on an accumulator grid.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnir.errors import GraphError, SizeError
from snnir.ir.op import FLOAT, QUANTIZED, SPIKING, Example, Op, Trait, register
from snnir.ir.ops.affine import Weighted
from snnir.ir.ops.rules import broadcast, example, sum_dtype
from snnir.ir.types import Quantization, TensorType

__all__ = ["Add", "Div", "MatMul", "Mul", "Sub"]

_U2 = Quantization(0.5, 0, 3)


@register
@dataclass(frozen=True)
class MatMul(Op):
    """NumPy's `matmul` of two real values; canonicalised to `linear` where one side is constant."""

    name = "matmul"
    traits = frozenset({Trait.AFFINE, Trait.FINITE})
    operands = ("a", "b")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        a, b = types
        if a.rank < 1 or b.rank < 1:
            raise GraphError("matmul needs at least one axis on each side")
        left = a.shape if a.rank > 1 else (1, *a.shape)
        right = b.shape if b.rank > 1 else (*b.shape, 1)
        if left[-1] != right[-2]:
            raise SizeError(f"matmul: {left[-1]} columns meet {right[-2]} rows", [(left[-1], right[-2])])
        shape = broadcast(left[:-2], right[:-2])
        shape += ((left[-2],) if a.rank > 1 else ()) + ((right[-1],) if b.rank > 1 else ())
        return (TensorType(shape, sum_dtype(a, b)),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.asarray(arrays[0] @ arrays[1]),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        a = np.linspace(-1, 1, 12, dtype=np.float32)
        yield example(cls(), a.reshape(2, 2, 3), a.reshape(3, 4))
        yield example(cls(), a.reshape(4, 3), a[:3])


class _Broadcast(Op):
    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(broadcast(*(type_.shape for type_ in types)), sum_dtype(*types)),)


@register
@dataclass(frozen=True)
class Add(_Broadcast):
    """`a + b` with broadcasting; of two sums on one accumulator grid, or of a sum and an integer bias, at the lower levels."""

    name = "add"
    traits = frozenset({Trait.BROADCASTING, Trait.AFFINE, Trait.FINITE})
    operands = ("a", "b")
    levels = (FLOAT, QUANTIZED)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (result,) = super().infer(*types)
        if result.dtype == "acc" and any(type_.is_levels for type_ in types):
            raise GraphError("levels meet a sum without a weight that puts them on its grid")
        return (result,)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0] + arrays[1],)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        a = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
        yield example(cls(), a, a[0])
        yield example(cls(), (np.arange(6).reshape(2, 3), "acc"), np.array([1, -5, 100], np.int32))


@register
@dataclass(frozen=True)
class Sub(_Broadcast):
    """`a - b` with broadcasting."""

    name = "sub"
    traits = frozenset({Trait.BROADCASTING, Trait.AFFINE, Trait.FINITE})
    operands = ("a", "b")

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0] - arrays[1],)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        a = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
        yield example(cls(), a, a[:, :1])


@register
@dataclass(frozen=True)
class Mul(Weighted, _Broadcast):
    """`a * b` with broadcasting; with an integer weight `b`, a one-to-one synapse, whose gains are one for each weight."""

    name = "mul"
    traits = frozenset({Trait.BROADCASTING, Trait.AFFINE, Trait.FINITE})
    operands = ("a", "b")
    levels: ClassVar[tuple[str, ...]] = (FLOAT, QUANTIZED)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self._check_gain(types[1])
        return super().infer(*types)

    def gain_shape(self, weight: tuple[int, ...]) -> tuple[int, ...]:
        return weight

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0] * self.expanded(arrays[1]),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        a = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
        if FLOAT in cls.levels:
            yield example(cls(), a, a[0])
        dtype = "spike" if SPIKING in cls.levels else "int"
        levels, integers = np.arange(6).reshape(2, 3) % 4, np.array([1, -5, 100], np.int8)
        yield example(cls(), (levels, _U2, dtype), integers)
        yield example(cls(gain=(5, 0, 1)), (levels, _U2, dtype), integers)


@register
@dataclass(frozen=True)
class Div(_Broadcast):
    """`a / b` of real numbers with broadcasting."""

    name = "div"
    traits = frozenset({Trait.BROADCASTING, Trait.AFFINE})
    operands = ("a", "b")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (result,) = super().infer(*types)
        if not result.is_real:
            raise GraphError(f"div is defined for real numbers, not for {result.dtype}")
        return (result,)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0] / arrays[1],)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        a = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
        yield example(cls(), a, np.array([2.0, 4.0, -1.0], np.float32))
