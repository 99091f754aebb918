"""A ReLU with a ceiling, for networks that are to become spikes: none of its activations is rare and large."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from snnir.errors import UsageError

__all__ = ["ClippedReLU"]


class ClippedReLU(nn.Module):
    """`min(max(x, 0), ceiling)` element by element, the clipped ReLU of Deng and Gu (ICLR 2021).

    Trained with it, the largest activation of a layer is its ceiling, and thresholds there (`method="minmax"`) cut
    nothing off. It exports as a `clip`, whose end becomes the highest level: with `levels=T` or `neuron="if", steps=T` a level
    is exactly ceiling / T.
    """

    def __init__(self, ceiling: float = 1.0) -> None:
        """Raises `UsageError` unless `ceiling` is positive and finite."""
        super().__init__()
        if not (ceiling > 0 and math.isfinite(ceiling)):
            raise UsageError(f"ceiling={ceiling} must be positive and finite")
        self.ceiling = float(ceiling)

    def forward(self, x: Tensor) -> Tensor:
        """As x, cut at 0 and at the ceiling."""
        return torch.clamp(x, 0.0, self.ceiling)

    def extra_repr(self) -> str:
        """Its ceiling."""
        return f"ceiling={self.ceiling}"
