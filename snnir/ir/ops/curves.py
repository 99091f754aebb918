"""More increasing functions: hyperbolic and inverse ones, shrinkage, a step. Outside its domain one keeps its end value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from snnir.errors import GraphError
from snnir.ir.op import Example, Trait, register
from snnir.ir.ops.activation import Elementwise
from snnir.ir.ops.rules import example

__all__ = ["Acosh", "Asin", "Asinh", "Atanh", "Shrink", "Sinh", "Step"]


@register
@dataclass(frozen=True)
class Sinh(Elementwise):
    """The hyperbolic sine."""

    name = "sinh"

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.sinh(x))


@register
@dataclass(frozen=True)
class Asinh(Elementwise):
    """The inverse hyperbolic sine."""

    name = "asinh"

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.arcsinh(x))


@register
@dataclass(frozen=True)
class Asin(Elementwise):
    """The arc sine of `min(max(x, -1), 1)`."""

    name = "asin"

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.arcsin(np.clip(x, -1, 1)))


@register
@dataclass(frozen=True)
class Atanh(Elementwise):
    """The inverse hyperbolic tangent of `min(max(x, -1), 1)`; infinite at the ends."""

    name = "atanh"

    def function(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.asarray(np.arctanh(np.clip(x, -1, 1)))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(), np.linspace(-0.9, 0.9, 10, dtype=np.float32).reshape(2, 5))


@register
@dataclass(frozen=True)
class Acosh(Elementwise):
    """The inverse hyperbolic cosine of `max(x, 1)`."""

    name = "acosh"

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.arccosh(np.maximum(x, 1)))


@register
@dataclass(frozen=True)
class Shrink(Elementwise):
    """`x - bias` above `threshold`, `x + bias` below `-threshold`, else 0; `threshold >= bias`, `threshold >= 0`."""

    name = "shrink"

    threshold: float = 0.5
    bias: float = 0.0

    def __post_init__(self) -> None:
        if self.threshold < max(self.bias, 0.0):
            raise GraphError(f"shrink with threshold {self.threshold} and bias {self.bias} does not increase")

    def function(self, x: np.ndarray) -> np.ndarray:
        low = np.where(x < -self.threshold, x + self.bias, 0)
        return np.asarray(np.where(x > self.threshold, x - self.bias, low))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.linspace(-4, 4, 10, dtype=np.float32).reshape(2, 5)
        yield example(cls(), x)
        yield example(cls(1.5, 1.0), x)


@register
@dataclass(frozen=True)
class Step(Elementwise):
    """1 where `x > 0`, else 0; with `zero` also where `x` is 0. Comparisons and conditions are made of it."""

    name = "step"
    traits = Elementwise.traits | {Trait.FINITE}

    zero: bool = False

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.where(x >= 0 if self.zero else x > 0, 1.0, 0.0)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(), np.linspace(-4, 4, 10, dtype=np.float32).reshape(2, 5))
        yield example(cls(True), np.linspace(-4, 4, 9, dtype=np.float32))
