"""Element-wise activations. All of these increase, so a staircase of integer thresholds can stand for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from snnir.errors import GraphError
from snnir.ir.op import Example, Op, register
from snnir.ir.ops.rules import example, sum_dtype
from snnir.ir.types import TensorType

__all__ = ["Clip", "Elementwise", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Tanh"]


@dataclass(frozen=True)
class Elementwise(Op):
    """Base: a non-decreasing function of one real number."""

    operands = ("x",)

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        return (TensorType(types[0].shape, sum_dtype(types[0])),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        with np.errstate(over="ignore"):
            return (self.function(arrays[0]).astype(arrays[0].dtype, copy=False),)

    def function(self, x: np.ndarray) -> np.ndarray:
        """The function itself, element by element."""
        raise GraphError(f"op {self.name} declares no function")

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(), np.linspace(-4, 4, 10, dtype=np.float32).reshape(2, 5))


@register
@dataclass(frozen=True)
class Relu(Elementwise):
    """`max(x, 0)`."""

    name = "relu"

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.maximum(x, 0))


@register
@dataclass(frozen=True)
class Clip(Elementwise):
    """`min(max(x, low), high)`; either end may be infinite."""

    name = "clip"

    low: float = float("-inf")
    high: float = float("inf")

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise GraphError(f"clip to {self.low}..{self.high} holds no number")

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.minimum(np.maximum(x, self.low), self.high))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(-1.0, 2.5), np.linspace(-4, 4, 10, dtype=np.float32).reshape(2, 5))
        yield example(cls(high=6.0), np.linspace(-4, 8, 10, dtype=np.float32))


@register
@dataclass(frozen=True)
class LeakyRelu(Elementwise):
    """`x` where positive, else `alpha x`; `alpha >= 0`."""

    name = "leaky_relu"

    alpha: float = 0.01

    def __post_init__(self) -> None:
        if not self.alpha >= 0:
            raise GraphError(f"leaky_relu with alpha {self.alpha} decreases; alpha must be 0 or more")

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.where(x >= 0, x, self.alpha * x)


@register
@dataclass(frozen=True)
class Sigmoid(Elementwise):
    """`1 / (1 + exp(-x))`, evaluated as `(1 + tanh(x/2)) / 2`, which cannot overflow."""

    name = "sigmoid"

    def function(self, x: np.ndarray) -> np.ndarray:
        return 0.5 * (1 + np.tanh(0.5 * x))


@register
@dataclass(frozen=True)
class Tanh(Elementwise):
    """Hyperbolic tangent."""

    name = "tanh"

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.tanh(x))


@register
@dataclass(frozen=True)
class HardSigmoid(Elementwise):
    """`min(max(alpha x + beta, 0), 1)`; `alpha >= 0`."""

    name = "hard_sigmoid"

    alpha: float = 0.2
    beta: float = 0.5

    def __post_init__(self) -> None:
        if not self.alpha >= 0:
            raise GraphError(f"hard_sigmoid with alpha {self.alpha} decreases; alpha must be 0 or more")

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip(self.alpha * x + self.beta, 0, 1))
