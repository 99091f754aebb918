"""The thresholds of neurons, uniform or a staircase."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from snnir.backends.torch_spiking.parameters import BEYOND, mean_distance
from snnir.backends.torch_spiking.trains import Places
from snnir.machine.addresses import IndexMap
from snnir.machine.emitters import FewSpikes, Population

__all__ = ["Thresholds"]


class Thresholds:
    """The thresholds t[lo + 1] .. t[hi] of every neuron of a population; `theta` [n] or [] is the distance of two of them."""

    def __init__(self, op: Population | FewSpikes, device: torch.device) -> None:
        self.lo, self.hi, self.staircase = op.train.lo, op.train.hi, op.staircase
        distances = mean_distance(op.theta.T) if op.staircase else op.theta.astype(np.float64)
        rows = torch.tensor(distances, dtype=torch.float64, device=device)
        self.theta = rows.reshape(()) if rows.numel() == 1 else Places(op.theta_map, device).of(rows)
        self.half = torch.div(self.theta, 2, rounding_mode="floor")
        if op.staircase:
            table = np.clip(op.theta.astype(np.float64), -BEYOND, BEYOND)
            self.sizes, self.first, chosen = _layout(op.theta_map)
            self.tables = torch.tensor(table[chosen], dtype=torch.float64, device=device)
            edges = np.full((len(table), 1), BEYOND)
            self.entries = torch.tensor(np.concatenate([-edges, table, edges], axis=1).reshape(-1), device=device)
            self.places = torch.from_numpy(op.theta_map.array() * (self.hi - self.lo + 2) - self.lo).to(device)

    def levels(self, sums: Tensor) -> Tensor:
        """The level that each sum [..., n] settles to; `sums` may be overwritten."""
        if not self.staircase:
            return sums.add_(self.half).div_(self.theta, rounding_mode="floor").clamp_(self.lo, self.hi)
        # addresses apart whose tables differ go first, for a search in one table each
        split = sums.reshape(-1, *self.sizes)
        order = [1 + axis for axis in self.first] + [axis for axis in range(split.ndim) if axis - 1 not in self.first]
        moved = split.permute(order)
        flat = moved.reshape(len(self.tables), split.numel() // max(len(self.tables), 1)).contiguous()
        found = torch.searchsorted(self.tables, flat, right=True).to(sums.dtype).reshape(moved.shape)
        return found.permute([order.index(axis) for axis in range(split.ndim)]).reshape(sums.shape) + self.lo

    def at(self, level: Tensor) -> Tensor:
        """t[level] of every neuron, for levels [..., n] in lo..hi + 1; those that are no thresholds are never asked for."""
        if not self.staircase:
            return self.theta * level - self.half
        return self.entries[self.places + level.to(torch.int64)]


def _layout(map_: IndexMap) -> tuple[tuple[int, ...], tuple[int, ...], np.ndarray]:
    """Addresses as axes, those of them along which tables differ, and the tables in the order of these."""
    if map_.table is not None:
        one = len(np.unique(map_.table)) <= 1
        return (map_.size,), () if one else (0,), map_.table[:1] if one else map_.table
    sizes = tuple(size for size, _ in map_.dims)
    first = tuple(axis for axis, (_, stride) in enumerate(map_.dims) if stride)
    chosen = IndexMap(tuple(map_.dims[axis] for axis in first), map_.offset).array()
    assert len(chosen) == math.prod(sizes[axis] for axis in first)
    return sizes, first, chosen
