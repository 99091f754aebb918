"""Synapses: what arrives through them, on integers in float64.

Sums of integers below 2^53 are exact in float64, in any order of summation: a matrix product gives the same bits on every
device. Convolutions are written as matrix products, because libraries may choose transforms that round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from snnir.backends.torch_spiking.parameters import Weights
from snnir.backends.torch_spiking.trains import Places
from snnir.machine.synapses import Synapse

__all__ = ["SynapsePart"]

_COLUMNS = 1 << 24
"""The most numbers that the windows of a convolution are copied to at once."""


class SynapsePart:
    """One synapse, whose weights are parameters."""

    def __init__(self, synapse: Synapse, weights: Weights, device: torch.device) -> None:
        self.synapse, self.weights = synapse, weights
        self.size = math.prod(synapse.outputs)
        self.spread = None if synapse.spread is None else Places(synapse.spread, device)
        self.weight_map = None if synapse.weight_map is None else Places(synapse.weight_map, device)
        self.rows, self.columns = (None if lists is None else torch.from_numpy(lists).to(device) for lists in _lists(synapse))

    def prepared(self) -> Tensor:
        """The weights as integers, laid out as `currents` takes them."""
        weights = self.weights.integers().reshape(self.synapse.weights.shape)
        if self.synapse.kind == "dense":
            return weights.T
        if self.synapse.kind == "conv":
            groups = self.synapse.groups
            return weights.reshape(groups, len(weights) // groups, math.prod(weights.shape[1:])).transpose(1, 2)
        return weights if self.weight_map is None else self.weight_map.of(weights)

    def currents(self, train: Tensor, weights: Tensor) -> Tensor:
        """The current [steps, N, neurons] of a train [steps, N, n]."""
        steps, batch, size = train.shape
        if self.synapse.kind == "one":
            found = train * weights
        else:
            flat = train.reshape(steps * batch, size)
            through = {"dense": self._dense, "conv": self._convolved}.get(self.synapse.kind, self._listed)
            found = through(flat, weights).reshape(steps, batch, self.size)
        return found if self.spread is None else self.spread.of(found)

    def _dense(self, x: Tensor, weights: Tensor) -> Tensor:
        return x.reshape(len(x) * self.synapse.groups, len(weights)) @ weights

    def _listed(self, x: Tensor, weights: Tensor) -> Tensor:
        assert self.rows is not None and self.columns is not None
        return x.new_zeros((len(x), self.size)).index_add(1, self.rows, x[:, self.columns] * weights)

    def _convolved(self, x: Tensor, weights: Tensor) -> Tensor:
        synapse, spatial = self.synapse, len(self.synapse.stride)
        kernel, positions = synapse.weights.shape[2:], synapse.outputs[1:]
        begins, ends = synapse.padding[:spatial], synapse.padding[spatial:]
        pads = [amount for pair in zip(reversed(begins), reversed(ends), strict=True) for amount in pair]
        groups, inner, maps = weights.shape
        count = math.prod(positions)
        order = (1, 0, *range(3, 3 + spatial), 2, *range(3 + spatial, 3 + 2 * spatial))
        x, parts = functional.pad(x.reshape(len(x), *synapse.inputs), pads), []
        for part in torch.split(x, max(1, _COLUMNS // max(1, inner * groups * count))):
            columns = _windows(part, kernel, synapse.stride, synapse.dilation, positions)
            columns = columns.reshape(len(part), groups, part.shape[1] // groups, *columns.shape[2:])
            columns = columns.permute(order).reshape(groups, len(part) * count, inner)
            sums = (columns @ weights).reshape(groups, len(part), count, maps)
            parts.append(sums.permute(1, 0, 3, 2).reshape(len(part), groups * maps * count))
        return torch.cat(parts)


def _lists(synapse: Synapse) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The targets and sources of listed weights."""
    if synapse.kind == "csr":
        assert synapse.columns is not None
        return synapse.rows, np.repeat(np.arange(len(synapse.columns) - 1), np.diff(synapse.columns))
    return synapse.rows, synapse.columns


def _windows(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], positions: Sequence[int]
) -> Tensor:
    """Windows [M, C, *positions, *kernel] of x[M, C, ...], which is padded already: a view, nothing is copied."""
    for axis, (size, step, apart, count) in enumerate(zip(kernel, stride, dilation, positions, strict=True)):
        x = x.unfold(2 + axis, apart * (size - 1) + 1, step).narrow(2 + axis, 0, count)[..., ::apart]
    return x
