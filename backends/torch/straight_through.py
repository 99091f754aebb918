"""Functions whose value and whose gradient are chosen apart: what trains through rounding."""

from __future__ import annotations

import torch
from torch import autograd

__all__ = ["learned_scale", "straight_through"]


class _Straight(autograd.Function):
    @staticmethod
    def forward(ctx: object, smooth: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient, None


class _LearnedScale(autograd.Function):
    @staticmethod
    def forward(ctx: autograd.function.FunctionCtx, logarithm: torch.Tensor, value: float, share: float) -> torch.Tensor:
        ctx.factor = value * share  # type: ignore[attr-defined]
        return torch.full_like(logarithm, value)

    @staticmethod
    def backward(ctx: autograd.function.FunctionCtx, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradient * ctx.factor, None, None  # type: ignore[attr-defined]


def straight_through(smooth: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Exactly `value`, with the gradient of `smooth`: the straight-through estimator (Bengio et al., arXiv:1308.3432)."""
    result: torch.Tensor = _Straight.apply(smooth, value)  # type: ignore[no-untyped-call]
    return result


def learned_scale(logarithm: torch.Tensor, value: float, share: float) -> torch.Tensor:
    """Exactly `value`, with the gradient of `exp(logarithm)`, times `share`: LSQ's gradient scale (arXiv:1902.08153)."""
    result: torch.Tensor = _LearnedScale.apply(logarithm, value, share)  # type: ignore[no-untyped-call]
    return result
