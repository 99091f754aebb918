"""Trains as dense tensors: float64 [steps, N, ...], what each element emits at each step, as whole numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["aligned", "bit_planes", "lengthen", "raised", "spread", "stack", "unary"]


def lengthen(train: Tensor, steps: int) -> Tensor:
    """A train [T, N, ...] with silent steps after its end, so that it has `steps` or more."""
    missing = steps - len(train)
    return train if missing <= 0 else torch.cat([train, train.new_zeros((missing, *train.shape[1:]))])


def aligned(trains: Sequence[Tensor]) -> list[Tensor]:
    """Trains of one length and one rank: axes of size 1 go in after the steps, as NumPy broadcasts single steps."""
    steps, rank = max(len(train) for train in trains), max(train.ndim for train in trains)
    longer = [lengthen(train, steps) for train in trains]
    return [train.reshape(steps, *([1] * (rank - train.ndim)), *train.shape[1:]) for train in longer]


def raised(train: Tensor, levels: Tensor) -> Tensor:
    """A train with levels [N, ...] added to its events of step 0; nothing is added where all are 0."""
    if not bool(levels.any()):
        return train
    longer = lengthen(train, 1).clone()
    longer[0] += levels
    return longer


def spread(train: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A train whose samples spread over those of `shape` [N, ...]."""
    steps, batch, *sample = train.shape
    return train.reshape(steps, batch, *([1] * (len(shape) - 1 - len(sample))), *sample).expand(steps, *shape)


def stack(rows: Sequence[Tensor], empty: Tensor) -> Tensor:
    """Trains of elements [T, N, ...] side by side as [T, N, K, ...]; `empty` where there is none."""
    if not rows:
        return empty
    steps = max(len(row) for row in rows)
    return torch.stack([lengthen(row, steps) for row in rows], dim=2)


def unary(levels: Tensor, steps: int) -> Tensor:
    """Levels [N, ...] as single spikes of their sign from step 0, one a step: [steps, N, ...]."""
    at = torch.arange(steps, dtype=levels.dtype, device=levels.device).reshape(-1, *([1] * levels.ndim))
    return levels.sign() * (levels.abs() > at)


def bit_planes(levels: Tensor, bits: int) -> Tensor:
    """The bits of levels [N, ...] with their worth and sign, most significant first: [bits, N, ...]. Gradients go through the
    last one, as if the levels did."""
    size = levels.detach().abs().to(torch.int64)
    worth = [1 << k for k in range(bits - 1, -1, -1)]
    planes = [(size & bit).to(levels.dtype) * levels.detach().sign() for bit in worth]
    if levels.requires_grad and planes:
        planes[-1] = planes[-1] + (levels - levels.detach())
    return torch.stack(planes) if planes else levels.new_zeros((0, *levels.shape))
