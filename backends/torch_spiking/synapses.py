"""Synapses as modules: dense, conv, diagonal and sparse, on whole numbers in float64.

Sums of whole numbers below 2^53 are exact in float64, in any order of summation: a matrix product gives the same bits
on every device. Convolutions are written as matrix products, because libraries may choose transforms that round.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from snnir.backends.torch_spiking.movement import windows
from snnir.errors import UnsupportedError
from snnir.ir.graph import Node
from snnir.ir.ops import Conv, Dense, Diagonal, Sparse
from snnir.ir.ops.rules import pad_amounts

__all__ = ["Synapse", "whole"]

_LARGEST = 2**50
"""The most that one synapse node may add up: whole numbers are exact up to 2^53, and several nodes meet in a population."""

_COLUMNS = 1 << 24
"""The most numbers that the windows of a convolution are copied to at once."""


def whole(real: Tensor, unit: Tensor) -> Tensor:
    """Real parameters as whole multiples of `unit`; backward, rounding is passed over (straight-through estimator)."""
    exact = real / unit
    return exact + (exact.round() - exact).detach() if torch.is_grad_enabled() else exact.round()


class Synapse(nn.Module):
    """One synapse node: `weight` and `bias` are parameters in real units, `whole number * grid / source scale`.

    `grid` is what one unit of the sum is worth where the current goes, an array that spreads over a sample of it. The
    weight is then that of the real network (arXiv:2408.09403), and gradients are as large as there.
    """

    def __init__(self, node: Node, arrays: list[np.ndarray], grid: np.ndarray, sample: tuple[int, ...]) -> None:
        super().__init__()
        op = node.op
        if not isinstance(op, Dense | Conv | Diagonal | Sparse):
            raise UnsupportedError(f"{node.describe()}: the torch backend has no synapse {op.name}")
        quantization = node.operands[0].type.quantization
        assert quantization is not None
        self.op = op
        weight, *rest = arrays
        outer, inner = _units(op, weight, rest, grid, sample)
        factor = np.exp2(op.gains(weight).astype(np.float64))
        bias = rest[0] if rest and not isinstance(op, Sparse) else None
        largest = _fan_in(op, op.expanded(weight), rest) * (quantization.hi - quantization.lo)
        largest += float(np.abs(bias.astype(np.float64)).max(initial=0)) if bias is not None else 0.0
        if largest >= _LARGEST:
            raise UnsupportedError(f"{node.describe()}: its sums may reach {largest:.3g}; float64 holds them exactly below 2^50")
        self.register_buffer("unit", torch.tensor(outer * factor / quantization.scale, dtype=torch.float64), persistent=False)
        self.register_buffer("factor", torch.tensor(factor, dtype=torch.float64), persistent=False)
        self.register_buffer("bias_unit", torch.tensor(inner, dtype=torch.float64), persistent=False)
        self.unit: Tensor
        self.factor: Tensor
        self.bias_unit: Tensor
        self.weight = nn.Parameter(torch.tensor(weight.astype(np.float64)) * self.unit)
        self.bias = None if bias is None else nn.Parameter(torch.tensor(bias.astype(np.float64)) * self.bias_unit)
        if isinstance(op, Sparse):
            self.register_buffer("rows", torch.tensor(rest[0], dtype=torch.int64), persistent=False)
            self.register_buffer("columns", torch.tensor(rest[1], dtype=torch.int64), persistent=False)
        self.rows: Tensor
        self.columns: Tensor

    def start(self) -> Tensor | None:
        """The bias as whole numbers, shaped to spread over a sample; None where there is none."""
        if self.bias is None:
            return None
        bias = whole(self.bias, self.bias_unit)
        return bias.reshape(-1, *([1] * len(self.op.stride))) if isinstance(self.op, Conv) else bias

    def integers(self) -> Tensor:
        """What a level of the source adds, in units of the grid: the weight as whole numbers, times 2^gain."""
        return whole(self.weight, self.unit) * self.factor

    def forward(self, train: Tensor, weight: Tensor) -> Tensor:
        """The current [T, N, ...] of a train [T, N, ...] through `integers()`, without the bias."""
        steps, batch = train.shape[:2]
        if isinstance(self.op, Dense):
            return train @ weight.T
        if isinstance(self.op, Diagonal):
            return train * weight
        flat = train.reshape(steps * batch, *train.shape[2:])
        current = self._convolved(flat, weight) if isinstance(self.op, Conv) else self._scattered(flat, weight)
        return current.reshape(steps, batch, *current.shape[1:])

    def _scattered(self, x: Tensor, weight: Tensor) -> Tensor:
        assert isinstance(self.op, Sparse)
        products = x.reshape(len(x), int(np.prod(x.shape[1:])))[:, self.columns] * weight
        sums = x.new_zeros((len(x), int(np.prod(self.op.shape))))
        return sums.index_add(1, self.rows, products).reshape(len(x), *self.op.shape)

    def _convolved(self, x: Tensor, weight: Tensor) -> Tensor:
        op = self.op
        assert isinstance(op, Conv)
        spatial, kernel = x.ndim - 2, tuple(weight.shape[2:])
        pads = [amount for pair in reversed(pad_amounts(op.padding, spatial)) for amount in pair]
        x = functional.pad(x, pads)
        spans = [apart * (size - 1) + 1 for size, apart in zip(kernel, op.dilation, strict=True)]
        positions = [(size - span) // step + 1 for size, span, step in zip(x.shape[2:], spans, op.stride, strict=True)]
        groups, maps, inner = op.groups, len(weight) // op.groups, int(np.prod(weight.shape[1:]))
        matrix = weight.reshape(groups, maps, inner).transpose(1, 2)
        order = (1, 0, *range(3, 3 + spatial), 2, *range(3 + spatial, 3 + 2 * spatial))
        parts = []
        for part in torch.split(x, max(1, _COLUMNS // max(1, inner * groups * int(np.prod(positions))))):
            columns = windows(part, kernel, op.stride, op.dilation, positions)
            columns = columns.reshape(len(part), groups, part.shape[1] // groups, *columns.shape[2:])
            columns = columns.permute(order).reshape(groups, len(part) * int(np.prod(positions)), inner)
            sums = (columns @ matrix).reshape(groups, len(part), *positions, maps)
            sums = sums.permute(1, 0, 2 + spatial, *range(2, 2 + spatial))
            parts.append(sums.reshape(len(part), groups * maps, *positions))
        return torch.cat(parts)


def _fan_in(op: Dense | Conv | Diagonal | Sparse, weight: np.ndarray, rest: list[np.ndarray]) -> float:
    """The largest sum of |weight| that any output adds up."""
    sizes = np.abs(weight.astype(np.float64))
    if isinstance(op, Sparse):
        return float(np.bincount(rest[0], sizes).max(initial=0)) if len(sizes) else 0.0
    if isinstance(op, Diagonal):
        return float(sizes.max(initial=0))
    return float(sizes.reshape(len(sizes), -1).sum(axis=1).max(initial=0)) if sizes.size else 0.0


def _units(
    op: Dense | Conv | Diagonal | Sparse, weight: np.ndarray, rest: list[np.ndarray], grid: np.ndarray, sample: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The grid as it spreads over the weight and over the bias; its mean where it differs within one weight's reach."""
    if isinstance(op, Dense) and grid.size == weight.shape[0] == (grid.shape or (0,))[-1]:
        return grid.reshape(-1, 1), grid.reshape(-1)
    if isinstance(op, Conv) and grid.ndim == weight.ndim - 1 and grid.size == weight.shape[0] == grid.shape[0]:
        return grid.reshape(-1, *([1] * (weight.ndim - 1))), grid.reshape(-1)
    if isinstance(op, Diagonal) and grid.ndim <= weight.ndim and np.broadcast_shapes(grid.shape, weight.shape) == weight.shape:
        return grid, grid
    if isinstance(op, Sparse) and op.shape == sample:
        return np.broadcast_to(grid, sample).reshape(-1)[rest[0]], grid
    mean = np.asarray(grid.mean())
    return mean, mean
