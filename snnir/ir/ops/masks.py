"""Elements that a softmax must not see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from snnir.ir.op import FLOAT, QUANTIZED, SPIKING, Example, Op, Trait, register
from snnir.ir.ops.questions import Question
from snnir.ir.ops.rules import broadcast, example, sum_dtype
from snnir.ir.types import TensorType

__all__ = ["FAR", "IsFar", "Masked", "Shown"]

FAR = -1e4
"""What is added to a score and is this or less hides it from a softmax, whose exponential of it is 0."""


@register
@dataclass(frozen=True)
class Masked(Op):
    """`x` where `keep` is true, minus infinity elsewhere: what a softmax turns into 0.

    `keep` is 1 or 0, but for the rounding of levels: a magnitude of 1/2 or more is true. Only the host takes it: constants of a
    graph are finite, and so is every level.
    """

    name = "masked"
    traits = frozenset({Trait.BROADCASTING})
    operands = ("x", "keep")
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(broadcast(types[0].shape, types[1].shape), sum_dtype(types[0])),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, keep = arrays
        return (np.where(2 * np.abs(keep) >= 1, x, x.dtype.type(-np.inf)),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.sin(np.arange(12, dtype=np.float32)).reshape(2, 2, 3)
        yield example(cls(), x, np.array([[1, 1, 0], [1, 0, 0]], np.float32))
        yield example(cls(), x, np.ones((1, 3), np.float32))
        yield example(cls(), x, np.array([[0.98, -0.02, 0.5]], np.float32))


@register
@dataclass(frozen=True)
class IsFar(Question):
    """Whether a number, added to a score, hides it: -10000 or less, minus infinity included."""

    name = "is_far"

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0] <= FAR,)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(), np.array([[0.5, -np.inf, -9999], [-1e4, -3.4e38, 2]], np.float32))


@register
@dataclass(frozen=True)
class Shown(Op):
    """`x`, and 0 where it hides a score (`is_far`): minus infinity among it."""

    name = "shown"
    traits = frozenset({Trait.ELEMENTWISE})
    operands = ("x",)
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(types[0].shape, sum_dtype(types[0])),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.where(arrays[0] <= FAR, arrays[0].dtype.type(0), arrays[0]),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(), np.array([[0.5, -np.inf, -9999], [-1e4, -3.4e38, 2]], np.float32))
