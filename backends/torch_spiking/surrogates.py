"""Surrogate gradients of the spike function: what stands in, backward, for the derivative of a step.

`x` is the distance from a threshold in thresholds (0 at it, 1 one spike's worth above it); each has its peak 1 there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snnir.errors import UsageError

__all__ = ["SURROGATES", "spike", "surrogate_gradient"]

Surrogate = Callable[[Tensor], Tensor]


def _arctan(x: Tensor) -> Tensor:
    return 1 / (1 + (torch.pi * x) ** 2)


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def _fast_sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + 10 * x.abs()) ** 2


SURROGATES: dict[str, Surrogate] = {"arctan": _arctan, "triangle": _triangle, "fast_sigmoid": _fast_sigmoid}
"""By name: `1 / (1 + (pi x)^2)` (arctan, Fang et al., arXiv:2007.05785, alpha = 2), `max(0, 1 - |x|)` (triangle, Bellec
et al., arXiv:1803.09574) and `1 / (1 + 10 |x|)^2` (fast_sigmoid, SuperSpike, Zenke and Ganguli, arXiv:1705.11146)."""


def surrogate_gradient(name: str) -> Surrogate:
    """The surrogate of that name. Raises `UsageError` naming the choices."""
    if name not in SURROGATES:
        raise UsageError(f"surrogate {name!r} is unknown; choose one of {', '.join(SURROGATES)}")
    return SURROGATES[name]


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, above: Tensor, below: Tensor, up: Tensor, down: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(above, below, up, down)
        ctx.surrogate = surrogate
        return ((above >= 0) & up).to(above.dtype) - ((below < 0) & down).to(above.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        above, below, up, down = ctx.saved_tensors
        (gradient,) = gradients
        return gradient * ctx.surrogate(above) * up, gradient * ctx.surrogate(below) * down, None, None, None


def spike(above: Tensor, below: Tensor, up: Tensor, down: Tensor, surrogate: Surrogate) -> Tensor:
    """The bipolar spike `[above >= 0 and up] - [below < 0 and down]`, and its surrogate gradient.

    `above` is the distance from the threshold of a positive spike, `below` from that of a negative one, both in
    thresholds; `up` and `down` say which neurons may fire at all. Backward, the derivative by `above` is `g(above)`
    where `up`, that by `below` is `g(below)` where `down`. All of one shape; the result too, as -1, 0 and 1.
    """
    result: Tensor = _Spike.apply(above, below, up, down, surrogate)  # type: ignore[no-untyped-call]
    return result
