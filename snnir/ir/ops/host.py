"""Ops without a spiking form, which a spiking program leaves to the host: before the network, or after the readouts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from snnir.errors import GraphError
from snnir.ir.dims import Dimension, concrete, substitute
from snnir.ir.op import FLOAT, QUANTIZED, SPIKING, Example, Op, Trait, register
from snnir.ir.ops.rules import broadcast, example, sum_dtype
from snnir.ir.types import TensorType

__all__ = [
    "Abs",
    "ArgMax",
    "Cos",
    "ElementFunction",
    "Log",
    "LogSoftmax",
    "Pow",
    "Reciprocal",
    "Remainder",
    "SequenceMask",
    "Sin",
    "Softmax",
    "Sqrt",
    "Tan",
]


@dataclass(frozen=True)
class _Host(Op):
    operands = ("x",)
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    axis: int = -1

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if not -types[0].rank <= self.axis < types[0].rank:
            raise GraphError(f"{self.name} along axis {self.axis} of {types[0].rank} axes")
        return (TensorType(types[0].shape, sum_dtype(types[0])),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.sin(np.arange(24, dtype=np.float32)).reshape(2, 3, 4)
        yield example(cls(1), x)
        yield example(cls(-1), x)


@register
@dataclass(frozen=True)
class Softmax(_Host):
    """`exp(x) / sum(exp(x))` along `axis`; 0 where all of a line is masked (minus infinity), as ONNX's Attention has it."""

    name = "softmax"
    traits = frozenset({Trait.ALONG_AXIS, Trait.FINITE})

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        largest = arrays[0].max(axis=self.axis, keepdims=True)
        exponential = np.exp(arrays[0] - np.where(largest == -np.inf, 0, largest).astype(largest.dtype))
        total = exponential.sum(axis=self.axis, keepdims=True)
        return (exponential / np.where(total == 0, 1, total).astype(total.dtype),)


@register
@dataclass(frozen=True)
class LogSoftmax(_Host):
    """The logarithm of `softmax` along `axis`."""

    name = "log_softmax"
    traits = frozenset({Trait.ALONG_AXIS})

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        shifted = arrays[0] - arrays[0].max(axis=self.axis, keepdims=True)
        return (shifted - np.log(np.exp(shifted).sum(axis=self.axis, keepdims=True)),)


@register
@dataclass(frozen=True)
class ArgMax(_Host):
    """The index of the largest element along `axis`; of equal ones the first, or the last with `last`."""

    name = "argmax"
    traits = frozenset({Trait.ALONG_AXIS})

    keep: bool = True
    last: bool = False

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        (x,) = super().infer(*types)
        axis = self.axis % x.rank
        sizes = tuple(1 if index == axis else size for index, size in enumerate(x.shape) if self.keep or index != axis)
        return (TensorType(sizes, "i64"),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x = arrays[0]
        last = x.shape[self.axis] - 1
        index = last - np.flip(x, self.axis).argmax(axis=self.axis) if self.last else x.argmax(axis=self.axis)
        return (np.asarray(np.expand_dims(index, self.axis) if self.keep else index, dtype=np.int64),)


@dataclass(frozen=True)
class ElementFunction(Op):
    """Base: a function of each element that does not increase, or is not defined, everywhere."""

    operands = ("x",)
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(types[0].shape, sum_dtype(types[0])),)

    def takes_any(self) -> bool:
        return True

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(), np.linspace(0.25, 4, 10, dtype=np.float32).reshape(2, 5))


@register
@dataclass(frozen=True)
class Sqrt(ElementFunction):
    """The square root."""

    name = "sqrt"
    traits = frozenset({Trait.ELEMENTWISE})

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.sqrt(arrays[0]),)


@register
@dataclass(frozen=True)
class Log(ElementFunction):
    """The natural logarithm."""

    name = "log"
    traits = frozenset({Trait.ELEMENTWISE})

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.log(arrays[0]),)


@register
@dataclass(frozen=True)
class Abs(ElementFunction):
    """The magnitude."""

    name = "abs"
    traits = frozenset({Trait.ELEMENTWISE, Trait.FINITE})

    def takes_any(self) -> bool:
        return False  # in the network it is a sum

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.abs(arrays[0]),)


@register
@dataclass(frozen=True)
class Reciprocal(ElementFunction):
    """`1 / x`."""

    name = "reciprocal"
    traits = frozenset({Trait.ELEMENTWISE})

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.reciprocal(arrays[0]),)


@register
@dataclass(frozen=True)
class Sin(ElementFunction):
    """The sine."""

    name = "sin"
    traits = frozenset({Trait.ELEMENTWISE, Trait.FINITE})

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.sin(arrays[0]),)


@register
@dataclass(frozen=True)
class Cos(ElementFunction):
    """The cosine."""

    name = "cos"
    traits = frozenset({Trait.ELEMENTWISE, Trait.FINITE})

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.cos(arrays[0]),)


@register
@dataclass(frozen=True)
class Tan(ElementFunction):
    """The tangent."""

    name = "tan"
    traits = frozenset({Trait.ELEMENTWISE})

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.tan(arrays[0]),)


@register
@dataclass(frozen=True)
class Pow(Op):
    """`x` to the power `y`, element by element, with NumPy's broadcasting."""

    name = "pow"
    traits = frozenset({Trait.BROADCASTING})
    operands = ("x", "y")
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(broadcast(types[0].shape, types[1].shape), sum_dtype(*types)),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.power(arrays[0], arrays[1]).astype(arrays[0].dtype, copy=False),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.linspace(0.25, 4, 10, dtype=np.float32).reshape(2, 5)
        yield example(cls(), x, np.array(2.0, np.float32))
        yield example(cls(), x, np.linspace(-1, 2, 5, dtype=np.float32))


@register
@dataclass(frozen=True)
class Remainder(Op):
    """The remainder of `x / y` of real numbers, with the sign of the divisor, or with `dividend` that of the dividend (C's fmod).

    By 0, and of an infinity: NaN. By an infinity: `x`, or that infinity where the signs differ and the divisor's counts.
    """

    name = "remainder"
    traits = frozenset({Trait.BROADCASTING})
    operands = ("x", "y")
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    dividend: bool = False

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(broadcast(types[0].shape, types[1].shape), sum_dtype(*types)),)

    def takes_any(self) -> bool:
        return True

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        with np.errstate(invalid="ignore"):
            return ((np.fmod if self.dividend else np.mod)(*arrays),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.linspace(-4, 4, 10, dtype=np.float32).reshape(2, 5)
        yield example(cls(), x, np.array(1.5, np.float32))
        yield example(cls(True), x, np.linspace(-2, 1, 5, dtype=np.float32))


@register
@dataclass(frozen=True)
class SequenceMask(Op):
    """1 where element k of a sequence exists (k < lengths), else 0, as [N, length, 1] for lengths[N].

    With `padding`, 0 where it exists and 1 where it does not.
    """

    name = "sequence_mask"
    operands = ("lengths",)
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    length: Dimension = 1
    padding: bool = False

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if types[0].rank != 1 or types[0].dtype == "str":
            raise GraphError(f"sequence_mask needs lengths[N], found {types[0]}")
        return (TensorType((*types[0].shape, self.length, 1), "f32"),)

    def bind(self, sizes: Mapping[str, int]) -> Op:
        return SequenceMask(substitute(self.length, dict(sizes)), self.padding)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        exists = np.arange(concrete(self.length)) < arrays[0][:, np.newaxis]
        return ((exists != self.padding).astype(np.float32)[:, :, np.newaxis],)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(4), np.array([3, 1], np.float32))
        yield example(cls(2, True), np.array([3, 1], np.float32))
