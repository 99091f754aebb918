"""Populations and readouts as modules.

With A the sum of all that came in and q(A) the level it settles to, the rules of the ST-BIF neuron (arXiv:2406.03470) say
"+1 if S < q(A), -1 if S > q(A)": the thresholds t[j] increase with j, so `A >= t[S+1]` and `S < hi` hold exactly where
S < q(A). Levels are therefore found for all steps at once, and what is left of a step is a sign and a sum.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from snnir.backends.torch_spiking.surrogates import Surrogate, spike
from snnir.backends.torch_spiking.synapses import whole
from snnir.backends.torch_spiking.trains import bit_planes, lengthen, unary
from snnir.ir import ops
from snnir.ir.graph import Node
from snnir.ir.ops import Fs

__all__ = ["FewSpikes", "Population", "Summing", "grid_of"]

_BEYOND = 2.0**53
"""Stands for thresholds that no sum reaches: exact sums are smaller."""


def grid_of(node: Node, first: np.ndarray) -> np.ndarray:
    """What one unit of a population's or readout's sum is worth, given its first operand: thresholds or a scale."""
    if not isinstance(node.op, ops.Population):
        return first.astype(np.float64)
    return np.asarray(node.op.quantization.scale / _theta(first, node.op.staircase))


def _theta(thresholds: np.ndarray, staircase: bool) -> np.ndarray:
    """Theta, float64; of a staircase the mean distance of those thresholds that a sum can reach, 1 or more."""
    if not staircase:
        return thresholds.astype(np.float64)
    rows = thresholds.astype(np.float64)
    reached = np.abs(rows) < _BEYOND / 2
    low = np.where(reached, rows, np.inf).min(axis=0, initial=np.inf)
    high = np.where(reached, rows, -np.inf).max(axis=0, initial=-np.inf)
    count = reached.sum(axis=0)
    return np.where(count > 1, np.maximum(np.where(count > 1, high - low, 1.0) / np.maximum(count - 1, 1), 1.0), 1.0)


class Summing(nn.Module):
    """A readout, or what a population sums up: `bias` is a parameter in real units, `whole number * grid`."""

    def __init__(self, node: Node, first: np.ndarray, bias: np.ndarray) -> None:
        super().__init__()
        grid = grid_of(node, first)
        # a bias may be shared by neurons whose grids differ: it is then kept on their mean grid
        own = grid if np.broadcast_shapes(grid.shape, bias.shape) == bias.shape else np.asarray(grid.mean())
        self.register_buffer("grid", torch.tensor(grid, dtype=torch.float64), persistent=False)
        self.register_buffer("unit", torch.tensor(own, dtype=torch.float64), persistent=False)
        self.grid: Tensor
        self.unit: Tensor
        self.bias = nn.Parameter(torch.tensor(bias.astype(np.float64)) * self.unit)

    def start(self) -> Tensor:
        """The bias as whole numbers, shaped to spread over a sample."""
        return whole(self.bias, self.unit)


class Population(Summing):
    """A population of neurons with levels lo..hi: those of `Bif`, whose tracers settle to them, or of a subclass."""

    def __init__(self, node: Node, thresholds: np.ndarray, bias: np.ndarray) -> None:
        super().__init__(node, thresholds, bias)
        op = node.op
        assert isinstance(op, ops.Population)
        self.staircase = op.staircase
        self.lo, self.hi = op.quantization.lo, op.quantization.hi
        table = np.clip(thresholds.astype(np.float64), -_BEYOND, _BEYOND)
        self.register_buffer("thresholds", torch.tensor(table, dtype=torch.float64), persistent=False)
        self.register_buffer("theta", torch.tensor(_theta(thresholds, op.staircase), dtype=torch.float64), persistent=False)
        self.thresholds: Tensor
        self.theta: Tensor

    def levels(self, sums: Tensor) -> Tensor:
        """The level that each sum [T, N, ...] settles to; `sums` may be overwritten."""
        if not self.staircase:
            half = torch.div(self.thresholds, 2, rounding_mode="floor")
            return sums.add_(half).div_(self.thresholds, rounding_mode="floor").clamp_(self.lo, self.hi)
        own = self.thresholds.shape[1:]
        own = torch.Size([1] * (sums.ndim - len(own)) + list(own))
        # axes along which tables differ go first, for a search in one table each
        differ = [axis for axis, size in enumerate(own) if size > 1]
        order = [*differ, *(axis for axis in range(sums.ndim) if axis not in differ)]
        moved = sums.permute(order)
        count = int(np.prod(own))
        tables = self.thresholds.reshape(len(self.thresholds), count).T.contiguous()
        flat = moved.reshape(count, sums.numel() // max(count, 1)).contiguous()
        found = torch.searchsorted(tables, flat, right=True).to(sums.dtype).reshape(moved.shape)
        return found.permute([order.index(axis) for axis in range(sums.ndim)]) + self.lo

    def settle(self, start: Tensor, tracer: Tensor, currents: Tensor, cap: int | None) -> tuple[Tensor, Tensor]:
        """The spikes [steps, N, ...] of currents [T, N, ...], exactly, and the number of neurons that could go on firing.

        `start` and `tracer` [N, ...] are the sum and the tracer at first. Without a cap the train ends when no neuron can fire.
        """
        levels = self.levels(torch.cat([start[None], currents]).cumsum_(0))
        train = []
        for level in levels[1:]:
            spikes = (level - tracer).sign()
            tracer = tracer + spikes
            train.append(spikes)
        # no input is left: each neuron goes straight to its level, one spike a step
        rest = levels[-1] - tracer
        steps = int(rest.abs().max()) if rest.numel() else 0
        if cap is not None:
            steps = min(steps, cap - len(train))
        after = unary(rest, steps)
        return torch.cat([torch.stack(train), after]) if train else after, (rest.abs() > steps).sum()

    def fire(self, start: Tensor, currents: Tensor, steps: int, surrogate: Surrogate) -> Tensor:
        """The same spikes for a fixed number of steps, one step after another, with surrogate gradients.

        Backward, A reaches a spike through its distances from both thresholds, in thetas; the tracer does so too, with
        t[S] read as theta S.
        """
        sums = start + lengthen(currents, steps)[:steps].cumsum(0)
        tracer, train = torch.zeros_like(start), []
        for total in sums:
            above, below = self._borders(tracer.detach(), total)
            change = self.theta * (tracer - tracer.detach())
            spikes = spike(
                (total - above - change) / self.theta,
                (total - below - change) / self.theta,
                tracer < self.hi,
                tracer > self.lo,
                surrogate,
            )
            tracer = tracer + spikes
            train.append(spikes)
        return torch.stack(train)

    def _borders(self, tracer: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """The thresholds t[S+1] and t[S]."""
        if not self.staircase:
            below = self.theta * tracer - torch.div(self.theta, 2, rounding_mode="floor")
            return below + self.theta, below
        own = self.thresholds.shape[1:]
        edge = self.thresholds.new_full((1, *own), _BEYOND)
        table = torch.cat([-edge, self.thresholds, edge]).reshape(-1)
        count = int(np.prod(own))
        place = torch.arange(count, device=total.device).reshape(own)
        index = (tracer - self.lo).to(torch.int64) * count + place
        return table[index + count], table[index]


class FewSpikes(Population):
    """A population of few-spike neurons: the bits of the level, most significant first."""

    def __init__(self, node: Node, thresholds: np.ndarray, bias: np.ndarray) -> None:
        super().__init__(node, thresholds, bias)
        assert isinstance(node.op, Fs)
        self.bits, self.omitted = node.op.quantization.magnitude_bits, node.op.omitted

    def tell(self, total: Tensor, surrogate: Surrogate | None) -> Tensor:
        """The events [bits, N, ...] of complete sums [N, ...]; with a surrogate, bit after bit, with gradients.

        Backward, A reaches the event of bit k through its distance from the threshold, in steps of 2^k thetas, and so do the bits
        before it, with t[S] read as theta S.
        """
        if surrogate is None:
            return bit_planes(self.levels(total[None].clone())[0], self.bits)[: self.bits - self.omitted]
        negative = total < self._threshold(torch.zeros_like(total)) if self.lo < 0 else torch.zeros_like(total, dtype=torch.bool)
        tracer, train = torch.zeros_like(total), [total.new_zeros((0, *total.shape))]
        for k in range(self.bits - 1, self.omitted - 1, -1):
            bit, known = 2.0**k, tracer.detach()
            change, unit = self.theta * (tracer - known), bit * self.theta
            spikes = bit * spike(
                (total - self._threshold(known + bit) - change) / unit,
                (total - self._threshold(known - bit + 1) - change) / unit,
                ~negative & (known + bit <= self.hi),
                negative & (known - bit >= self.lo),
                surrogate,
            )
            tracer = tracer + spikes
            train.append(spikes[None])
        return torch.cat(train)

    def _threshold(self, level: Tensor) -> Tensor:
        """t[level]; of levels outside of lo+1..hi, which are never asked for, any number."""
        if not self.staircase:
            return self.theta * level - torch.div(self.theta, 2, rounding_mode="floor")
        own = self.thresholds.shape[1:]
        count = int(np.prod(own))
        place = torch.arange(count, device=level.device).reshape(own)
        row = (level - self.lo - 1).clamp(0, self.hi - self.lo - 1).to(torch.int64)
        return self.thresholds.reshape(-1)[row * count + place]
