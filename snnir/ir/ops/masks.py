"""Elements that a softmax must not see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from snnir.ir.op import FLOAT, QUANTIZED, SPIKING, Example, Op, Trait, register
from snnir.ir.ops.rules import broadcast, example, sum_dtype
from snnir.ir.types import TensorType

__all__ = ["Masked"]


@register
@dataclass(frozen=True)
class Masked(Op):
    """`x` where `keep` is not 0, minus infinity elsewhere: what a softmax turns into 0.

    Only the host takes it: constants of a graph are finite, and so is every level.
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
        return (np.where(keep != 0, x, x.dtype.type(-np.inf)),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.sin(np.arange(12, dtype=np.float32)).reshape(2, 2, 3)
        yield example(cls(), x, np.array([[1, 1, 0], [1, 0, 0]], np.float32))
        yield example(cls(), x, np.ones((1, 3), np.float32))
