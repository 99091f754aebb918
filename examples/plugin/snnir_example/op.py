"""An op: the third power of each element."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnir.ir.op import register
from snnir.ir.ops import Elementwise

__all__ = ["Cube"]


@register
@dataclass(frozen=True)
class Cube(Elementwise):
    """`x^3`, which does not decrease."""

    name = "cube"

    def function(self, x: np.ndarray) -> np.ndarray:
        """The function itself, element by element."""
        return x * x * x
