"""Integer arithmetic, which only the host computes: exact, at the width of the element type, with ONNX's meaning.

Sums and products keep their lowest bits (two's complement). No result passes through floating point. Where ONNX leaves a
result open it is stated here, so that it is the same on every machine; a division by 0 is an `InputError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnir.errors import GraphError, InputError
from snnir.ir.op import FLOAT, QUANTIZED, SPIKING, Example, Op, Trait, register
from snnir.ir.ops.rules import broadcast, example
from snnir.ir.types import TensorType

__all__ = [
    "IntAbs",
    "IntAdd",
    "IntAnd",
    "IntDiv",
    "IntEqual",
    "IntGreater",
    "IntLeast",
    "IntMod",
    "IntMost",
    "IntMul",
    "IntNeg",
    "IntNot",
    "IntOr",
    "IntPow",
    "IntRemainder",
    "IntShiftLeft",
    "IntShiftRight",
    "IntSign",
    "IntSub",
    "IntWhere",
    "IntXor",
    "Integer",
]


@dataclass(frozen=True)
class Integer(Op):
    """Base: ops on plain integers, on truth where `truth`, and on words where `words`."""

    traits = frozenset({Trait.BROADCASTING})
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    truth: ClassVar[bool] = False
    words: ClassVar[bool] = False

    def check(self, *types: TensorType) -> str:
        """The one element type of `types`. Raises `GraphError`."""
        kinds, others = {type_.dtype for type_ in types}, {"bool": self.truth, "str": self.words}
        wanted = " or ".join(("integers", *("truth" for _ in range(self.truth)), *("words" for _ in range(self.words))))
        if len(kinds) != 1 or not all(type_.is_weight or others.get(type_.dtype, False) for type_ in types):
            raise GraphError(f"{self.name} takes {wanted} of one type, found {', '.join(map(str, types))}")
        return types[0].dtype


@dataclass(frozen=True)
class _Unary(Integer):
    operands = ("x",)

    compute: ClassVar[Callable[..., object]]
    """What it computes, in NumPy: what is wider than the type keeps its lowest bits."""

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        self.check(types[0])
        return types

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        with np.errstate(all="ignore"):
            return (np.asarray(self.compute(*arrays), arrays[0].dtype),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(), np.array([[-128, -1, 0], [1, 5, 127]], np.int8))
        yield example(cls(), np.array([0, 1, 2**64 - 1], np.uint64))
        if cls.truth:
            yield example(cls(), np.array([True, False]))


@dataclass(frozen=True)
class _Binary(Integer):
    operands = ("x", "y")

    compares: ClassVar[bool] = False
    """Whether the result is truth."""
    compute: ClassVar[Callable[..., object]]
    """What it computes, in NumPy: what is wider than the type keeps its lowest bits."""

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        kind = self.check(*types)
        return (TensorType(broadcast(types[0].shape, types[1].shape), "bool" if self.compares else kind),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        with np.errstate(all="ignore"):
            return (np.asarray(self.compute(*arrays), np.bool_ if self.compares else arrays[0].dtype),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(), np.array([[-128, -7, 0], [7, 100, 127]], np.int8), np.array([3, -2, -1], np.int8))
        yield example(cls(), np.array([2**63 + 1, 5], np.uint64), np.array(2, np.uint64))
        if cls.truth:
            yield example(cls(), np.array([True, False]), np.array([[True], [False]]))


@register
@dataclass(frozen=True)
class IntAdd(_Binary):
    """`x + y`."""

    name = "int_add"
    compute = np.add


@register
@dataclass(frozen=True)
class IntSub(_Binary):
    """`x - y`."""

    name = "int_sub"
    compute = np.subtract


@register
@dataclass(frozen=True)
class IntMul(_Binary):
    """`x y`."""

    name = "int_mul"
    compute = np.multiply


def _divisor(y: np.ndarray) -> None:
    if not np.all(y):
        raise InputError("an integer is divided by 0; give the model data for which its divisor is none")


def _quotient(x: np.ndarray, y: np.ndarray) -> object:
    _divisor(y)
    quotient = np.floor_divide(x, y)
    rest = np.subtract(x, np.multiply(quotient, y))
    upwards = (rest != 0) & ((x < 0) != (y < 0))
    return np.add(quotient, upwards.astype(x.dtype))


def _modulo(x: np.ndarray, y: np.ndarray) -> object:
    _divisor(y)
    return np.mod(x, y)


def _remainder(x: np.ndarray, y: np.ndarray) -> object:
    _divisor(y)
    return np.fmod(x, y)


def _power(x: np.ndarray, y: np.ndarray) -> object:
    x, y = np.broadcast_arrays(x, y)
    negative = y < 0
    if np.any(negative & (x == 0)):
        _divisor(np.zeros(1))
    # of |x| > 1 nothing is left; 1 and -1 are their own inverses, so that only the parity of y counts
    power = np.power(x, np.where(negative, y & y.dtype.type(1), y))
    return np.where(negative & (x != 1) & (x != x.dtype.type(0) - x.dtype.type(1)), x.dtype.type(0), power)


@register
@dataclass(frozen=True)
class IntDiv(_Binary):
    """`x / y`, truncated towards 0."""

    name = "int_div"
    compute = staticmethod(_quotient)


@register
@dataclass(frozen=True)
class IntMod(_Binary):
    """The remainder of `x / y` with the sign of `y`, as in Python (ONNX `Mod` with fmod=0)."""

    name = "int_mod"
    compute = staticmethod(_modulo)


@register
@dataclass(frozen=True)
class IntRemainder(_Binary):
    """The remainder of `x / y` with the sign of `x`, as in C (ONNX `Mod` with fmod=1)."""

    name = "int_remainder"
    compute = staticmethod(_remainder)


@register
@dataclass(frozen=True)
class IntPow(_Binary):
    """`x` to the power `y`; with a negative `y`, 1 / x^-y truncated towards 0. 0 to a negative power is divided by 0."""

    name = "int_pow"
    compute = staticmethod(_power)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(), np.array([[-2, -1, 3], [1, 5, 127]], np.int8), np.array([3, -2, 5], np.int8))
        yield example(cls(), np.array([2**63 + 1, 5], np.uint64), np.array(2, np.uint64))


@register
@dataclass(frozen=True)
class IntLeast(_Binary):
    """The lesser of both."""

    name = "int_least"
    compute = np.minimum


@register
@dataclass(frozen=True)
class IntMost(_Binary):
    """The greater of both."""

    name = "int_most"
    compute = np.maximum


@register
@dataclass(frozen=True)
class IntEqual(_Binary):
    """Whether both are the same."""

    name = "int_equal"
    truth = compares = words = True
    compute = np.equal

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield from super().examples()
        yield example(cls(), np.array(["a", "bc", ""]), np.array([["bc"], ["a"]]))


@register
@dataclass(frozen=True)
class IntGreater(_Binary):
    """Whether `x` is greater than `y`."""

    name = "int_greater"
    compares = True
    compute = np.greater


@register
@dataclass(frozen=True)
class IntAnd(_Binary):
    """The bits that both have; of truth, whether both hold."""

    name = "int_and"
    truth = True
    compute = np.bitwise_and


@register
@dataclass(frozen=True)
class IntOr(_Binary):
    """The bits that either has; of truth, whether either holds."""

    name = "int_or"
    truth = True
    compute = np.bitwise_or


@register
@dataclass(frozen=True)
class IntXor(_Binary):
    """The bits that one has and the other has not; of truth, whether exactly one holds."""

    name = "int_xor"
    truth = True
    compute = np.bitwise_xor


@register
@dataclass(frozen=True)
class IntShiftLeft(_Binary):
    """`x` shifted by `y` bits towards the highest; 0 where `y` is negative, or the width of the type or more."""

    name = "int_shift_left"
    compute = np.left_shift


@register
@dataclass(frozen=True)
class IntShiftRight(_Binary):
    """`x` shifted by `y` bits towards the lowest, its sign repeated; all of them where `y` is negative or too large."""

    name = "int_shift_right"
    compute = np.right_shift


@register
@dataclass(frozen=True)
class IntNeg(_Unary):
    """`-x`; the least integer of a type stays what it is."""

    name = "int_neg"
    compute = np.negative


@register
@dataclass(frozen=True)
class IntAbs(_Unary):
    """The magnitude; the least integer of a type stays what it is."""

    name = "int_abs"
    compute = np.abs


@register
@dataclass(frozen=True)
class IntSign(_Unary):
    """-1, 0 or 1."""

    name = "int_sign"
    compute = np.sign


@register
@dataclass(frozen=True)
class IntNot(_Unary):
    """Every bit the other way round; of truth, whether it does not hold."""

    name = "int_not"
    truth = True
    compute = np.invert


@register
@dataclass(frozen=True)
class IntWhere(Integer):
    """`x` where `condition` (bool) holds, else `y`."""

    name = "int_where"
    operands = ("condition", "x", "y")
    truth = True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if types[0].dtype != "bool":
            raise GraphError(f"int_where takes truth as its condition, found {types[0]}")
        return (TensorType(broadcast(*(type_.shape for type_ in types)), self.check(*types[1:])),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.asarray(np.where(*arrays)),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        condition = np.array([[True], [False]])
        yield example(cls(), condition, np.array([1, -5, 2**60 + 1]), np.array(7))
        yield example(cls(), condition, condition, np.array([True, False]))
