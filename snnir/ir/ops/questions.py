"""Questions for NaN and infinities, which the host answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from snnir.errors import GraphError
from snnir.ir.op import FLOAT, QUANTIZED, SPIKING, Example, Op, Trait, register
from snnir.ir.ops.rules import example, is_number
from snnir.ir.types import TensorType

__all__ = ["IsInf", "IsNan", "Question"]

_X = np.array([[0.0, np.nan, -1.5], [np.inf, -np.inf, 3.4e38]], np.float32)


@dataclass(frozen=True)
class Question(Op):
    """Base: truth about each real number."""

    operands = ("x",)
    traits = frozenset({Trait.ELEMENTWISE})
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if not is_number(types[0]):
            raise GraphError(f"{self.name} takes real numbers, found {types[0]}")
        return (TensorType(types[0].shape, "bool"),)

    def takes_any(self) -> bool:
        return True


@register
@dataclass(frozen=True)
class IsNan(Question):
    """Whether elements are NaN."""

    name = "is_nan"

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.isnan(arrays[0]),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(), _X)


@register
@dataclass(frozen=True)
class IsInf(Question):
    """Whether elements are an infinity: the `positive` one, the `negative` one, or either."""

    name = "is_inf"

    positive: bool = True
    negative: bool = True

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x = arrays[0]
        return (np.isinf(x) & (((x > 0) & self.positive) | ((x < 0) & self.negative)),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        for positive, negative in ((True, True), (True, False), (False, True), (False, False)):
            yield example(cls(positive, negative), _X)
