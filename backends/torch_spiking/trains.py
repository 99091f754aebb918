"""Trains as dense tensors: float64 [steps, N, n], what each address emits at each step, as integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from snnir.machine.addresses import IndexMap

__all__ = ["Places", "as_long", "bit_planes", "lengthen", "raised", "unary"]


def lengthen(train: Tensor, steps: int) -> Tensor:
    """A train with silent steps after its end, so that it has `steps` or more."""
    missing = steps - len(train)
    return train if missing <= 0 else torch.cat([train, train.new_zeros((missing, *train.shape[1:]))])


def as_long(trains: Sequence[Tensor]) -> list[Tensor]:
    """Trains of one length."""
    steps = max(len(train) for train in trains)
    return [lengthen(train, steps) for train in trains]


def raised(train: Tensor, levels: Tensor) -> Tensor:
    """A train with levels [N, n] added to its events of step 0; nothing is added where all are 0."""
    if not bool(levels.any()):
        return train
    longer = lengthen(train, 1).clone()
    longer[0] += levels
    return longer


def unary(levels: Tensor, steps: int) -> Tensor:
    """Levels [N, n] as single spikes of their sign from step 0, one a step: [steps, N, n]."""
    at = torch.arange(steps, dtype=levels.dtype, device=levels.device)[:, None, None]
    return levels.sign() * (levels.abs() > at)


def bit_planes(levels: Tensor, bits: int) -> Tensor:
    """The bits of levels [N, n] with their values and signs, most significant first: [bits, N, n]. Gradients go through the
    last one, as if the levels did."""
    size = levels.detach().abs().to(torch.int64)
    planes = [(size & 1 << k).to(levels.dtype) * levels.detach().sign() for k in range(bits - 1, -1, -1)]
    if levels.requires_grad and planes:
        planes[-1] = planes[-1] + (levels - levels.detach())
    return torch.stack(planes) if planes else levels.new_zeros((0, *levels.shape))


class Places:
    """An index map on the last axis of tensors: entry i of a result is entry map[i] of a tensor, or 0 where that is -1."""

    def __init__(self, map_: IndexMap, device: torch.device) -> None:
        self.size, self.offset = map_.size, map_.offset
        # PyTorch has no negative strides
        self.dims = map_.dims if map_.table is None and all(stride >= 0 for _, stride in map_.dims) and map_.offset >= 0 else None
        self.index = self.kept = None
        if self.dims is None:
            places = map_.array()
            self.index = torch.from_numpy(np.maximum(places, 0)).to(device)
            if (places < 0).any():
                self.kept = torch.from_numpy(places >= 0).to(device)

    def of(self, x: Tensor) -> Tensor:
        """A tensor [..., n] as [..., size]; a view of it where that can be."""
        if self.index is not None:
            found = x.index_select(-1, self.index)
            return found if self.kept is None else found * self.kept
        assert self.dims is not None
        if not self.dims:
            return x[..., self.offset : self.offset + 1]
        if len(self.dims) == 1 and self.dims[0][1] == 1:
            return x if self.size == x.shape[-1] else x[..., self.offset : self.offset + self.size]
        x = x.contiguous()
        sizes, strides = zip(*self.dims, strict=True)
        found = x.as_strided((*x.shape[:-1], *sizes), (*x.stride()[:-1], *strides), x.storage_offset() + self.offset)
        return found.reshape(*x.shape[:-1], self.size)
