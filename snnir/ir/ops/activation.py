"""Element-wise activations. All of these increase, so a staircase of integer thresholds can stand for them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnir.errors import GraphError
from snnir.ir.op import Example, Op, Trait, register
from snnir.ir.ops.rules import broadcast, example, sum_dtype
from snnir.ir.types import TensorType

__all__ = [
    "Affine",
    "Atan",
    "Clip",
    "Elementwise",
    "Elu",
    "Erf",
    "Exp",
    "GeluGate",
    "HardSigmoid",
    "LeakyRelu",
    "PRelu",
    "Relu",
    "Round",
    "ScaledTanh",
    "Sigmoid",
    "Sign",
    "SignedSquare",
    "Softplus",
    "Softsign",
    "Tanh",
    "ThresholdedRelu",
]


@dataclass(frozen=True)
class Elementwise(Op):
    """Base: a non-decreasing function of one real number."""

    operands = ("x",)
    traits = frozenset({Trait.ELEMENTWISE, Trait.MONOTONE, Trait.PER_SAMPLE})

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
    traits = Elementwise.traits | {Trait.FINITE}

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.maximum(x, 0))


@register
@dataclass(frozen=True)
class Clip(Elementwise):
    """`min(max(x, low), high)`; either end may be infinite."""

    name = "clip"
    traits = Elementwise.traits | {Trait.FINITE}

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
    traits = Elementwise.traits | {Trait.FINITE}

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
    traits = Elementwise.traits | {Trait.FINITE}

    def function(self, x: np.ndarray) -> np.ndarray:
        return 0.5 * (1 + np.tanh(0.5 * x))


@register
@dataclass(frozen=True)
class Tanh(Elementwise):
    """Hyperbolic tangent."""

    name = "tanh"
    traits = Elementwise.traits | {Trait.FINITE}

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.tanh(x))


@register
@dataclass(frozen=True)
class PRelu(Elementwise):
    """`x` where positive, else `slopes x`: one slope of 0 or more for each channel (He et al., arXiv:1502.01852).

    `slopes`, of the shape `shape`, spread over the last axes of a sample.
    """

    name = "prelu"

    slopes: tuple[float, ...] = (0.25,)
    shape: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        if math.prod(self.shape) != len(self.slopes) or not all(slope >= 0 for slope in self.slopes):
            raise GraphError(f"prelu needs slopes of 0 or more, {math.prod(self.shape)} of them, to increase")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if broadcast(types[0].shape[1:], self.shape) != types[0].shape[1:]:
            raise GraphError(f"prelu: slopes of shape {self.shape} do not spread over samples of shape {types[0].shape[1:]}")
        return super().infer(*types)

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.where(x >= 0, x, np.array(self.slopes).reshape(self.shape) * x)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls((0.5, 0.0), (2, 1)), np.linspace(-4, 4, 12, dtype=np.float32).reshape(2, 2, 3))


@register
@dataclass(frozen=True)
class HardSigmoid(Elementwise):
    """`min(max(alpha x + beta, 0), 1)`; `alpha >= 0`."""

    name = "hard_sigmoid"
    traits = Elementwise.traits | {Trait.FINITE}

    alpha: float = 0.2
    beta: float = 0.5

    def __post_init__(self) -> None:
        if not self.alpha >= 0:
            raise GraphError(f"hard_sigmoid with alpha {self.alpha} decreases; alpha must be 0 or more")

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip(self.alpha * x + self.beta, 0, 1))


@register
@dataclass(frozen=True)
class Elu(Elementwise):
    """`gamma x` where positive, else `gamma alpha (exp(x/beta) - 1)`: ONNX Elu, Selu (gamma) and Celu (beta = alpha)."""

    name = "elu"

    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 1.0

    def __post_init__(self) -> None:
        if not (self.alpha >= 0 and self.beta > 0 and self.gamma >= 0):
            raise GraphError(f"elu with alpha {self.alpha}, beta {self.beta}, gamma {self.gamma} decreases; none may be negative")

    def function(self, x: np.ndarray) -> np.ndarray:
        return self.gamma * np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0) / self.beta))


@register
@dataclass(frozen=True)
class Softplus(Elementwise):
    """`log(1 + exp(x))`."""

    name = "softplus"

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.logaddexp(x, 0))


@register
@dataclass(frozen=True)
class SignedSquare(Elementwise):
    """`x |x|`."""

    name = "signed_square"

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x * np.abs(x))


@register
@dataclass(frozen=True)
class Softsign(Elementwise):
    """`x / (1 + |x|)`."""

    name = "softsign"

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x / (1 + np.abs(x)))


@register
@dataclass(frozen=True)
class ThresholdedRelu(Elementwise):
    """`x` where it exceeds `alpha`, else 0; `alpha >= 0`."""

    name = "thresholded_relu"

    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not self.alpha >= 0:
            raise GraphError(f"thresholded_relu with alpha {self.alpha} decreases; alpha must be 0 or more")

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.where(x > self.alpha, x, np.zeros_like(x))


@register
@dataclass(frozen=True)
class ScaledTanh(Elementwise):
    """`alpha tanh(beta x)`; `alpha beta >= 0`."""

    name = "scaled_tanh"

    alpha: float = 1.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        if not self.alpha * self.beta >= 0:
            raise GraphError(f"scaled_tanh with alpha {self.alpha} and beta {self.beta} decreases")

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.alpha * np.tanh(self.beta * x))


@register
@dataclass(frozen=True)
class Affine(Elementwise):
    """`alpha x + beta`, as an activation of a recurrent cell; `alpha >= 0`."""

    name = "affine"

    alpha: float = 1.0
    beta: float = 0.0

    def __post_init__(self) -> None:
        if not self.alpha >= 0:
            raise GraphError(f"affine with alpha {self.alpha} decreases; alpha must be 0 or more")

    def function(self, x: np.ndarray) -> np.ndarray:
        return self.alpha * x + self.beta


@register
@dataclass(frozen=True)
class Exp(Elementwise):
    """`exp(x)`."""

    name = "exp"

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(x))


@register
@dataclass(frozen=True)
class Erf(Elementwise):
    """The error function."""

    name = "erf"
    traits = Elementwise.traits | {Trait.FINITE}

    def function(self, x: np.ndarray) -> np.ndarray:
        return _erf(x)


@register
@dataclass(frozen=True)
class GeluGate(Elementwise):
    """What GELU multiplies `x` by (arXiv:1606.08415): `(1 + erf(x / sqrt 2)) / 2`, or its `approximate` form,
    `(1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2`.
    """

    name = "gelu_gate"

    approximate: bool = False

    def function(self, x: np.ndarray) -> np.ndarray:
        inner = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)) if self.approximate else _erf(x / math.sqrt(2))
        return np.asarray(0.5 * (1 + inner))


def _erf(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), dtype=np.float64)


@register
@dataclass(frozen=True)
class Atan(Elementwise):
    """The arc tangent."""

    name = "atan"

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.arctan(x))


@register
@dataclass(frozen=True)
class Sign(Elementwise):
    """-1, 0 or 1."""

    name = "sign"

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.sign(x))


@register
@dataclass(frozen=True)
class Round(Elementwise):
    """To whole numbers: `mode` floor, ceil, or even (to the nearest, halves to the even one, as ONNX Round does)."""

    name = "round"

    mode: str = "even"

    MODES: ClassVar[tuple[str, ...]] = ("floor", "ceil", "even")

    def __post_init__(self) -> None:
        if self.mode not in self.MODES:
            raise GraphError(f"round by {self.mode!r}; choose floor, ceil or even")

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray({"floor": np.floor, "ceil": np.ceil, "even": np.rint}[self.mode](x))
