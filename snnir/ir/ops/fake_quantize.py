"""The quantizer that a model brings with it, between real numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from snnir.ir.op import Example, register
from snnir.ir.ops.activation import Elementwise
from snnir.ir.ops.rules import example
from snnir.ir.rounding_modes import check_rounding
from snnir.ir.types import Quantization

__all__ = ["NOISE", "FakeQuantize"]

NOISE = 1e-12
"""How far sums in float64 may be from a tie that they are, relative to it."""


@register
@dataclass(frozen=True)
class FakeQuantize(Elementwise):
    """`scale clip(round(x/scale), lo, hi)`: a quantizer of the model itself, and the real numbers of its levels.

    `rounding` is one of `rounding_modes.py`. With `single`, `x/scale` is computed in float32, as ONNX does for real inputs. Else,
    where x is float64, a quotient within 1e-12 of a whole or half number is that number: the mean of 9 levels may be a tie,
    and 1/9 is no float64. `zero` is the integer that the file stores for level 0.
    """

    name = "fake_quantize"

    quantization: Quantization = Quantization(1.0, 0, 15)
    rounding: str = "even"
    single: bool = False
    zero: int = 0

    def __post_init__(self) -> None:
        check_rounding(self.rounding)

    def levels_of(self, x: np.ndarray) -> np.ndarray:
        """Levels of real `x`, int64."""
        levels = self.quantization
        if self.single or x.dtype != np.float64:
            return levels.round(x, self.rounding, self.single)
        ratio = x / levels.scale
        halves = np.rint(2 * ratio) / 2
        near = np.abs(ratio - halves) <= NOISE * np.maximum(np.abs(halves), 1)
        return Quantization(1.0, levels.lo, levels.hi).round(np.where(near, halves, ratio), self.rounding)

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.levels_of(x) * self.quantization.scale)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.linspace(-3, 3, 13, dtype=np.float32).reshape(1, 13)
        yield example(cls(Quantization(0.5, -4, 3)), x)
        yield example(cls(Quantization(0.25, 0, 7), "floor", True, 8), x)
