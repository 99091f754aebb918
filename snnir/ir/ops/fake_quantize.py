"""The quantizer that a model brings with it, between real numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from snnir.ir.op import Example, register
from snnir.ir.ops.activation import Elementwise
from snnir.ir.ops.rules import example
from snnir.ir.ties import check_rounding
from snnir.ir.types import Quantization

__all__ = ["FakeQuantize"]


@register
@dataclass(frozen=True)
class FakeQuantize(Elementwise):
    """`scale clip(round(x/scale), lo, hi)`: a quantizer of the model itself, and what its levels are worth.

    `rounding` is one of `snnir.ir.ties`. With `single`, `x/scale` is computed in float32, as ONNX does for real inputs.
    `zero` is the integer that the file stores for level 0.
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
        return self.quantization.round(x, self.rounding, self.single)

    def function(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.levels_of(x) * self.quantization.scale)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.linspace(-3, 3, 13, dtype=np.float32).reshape(1, 13)
        yield example(cls(Quantization(0.5, -4, 3)), x)
        yield example(cls(Quantization(0.25, 0, 7), "floor", True, 8), x)
