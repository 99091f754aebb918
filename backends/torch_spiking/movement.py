"""Movement, max and product on dense trains [T, N, ...]: what the ops of the same names do to the spikes of one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from snnir.backends.torch_spiking.trains import aligned, lengthen
from snnir.errors import UnsupportedError
from snnir.ir.dims import concrete
from snnir.ir.ops import Concat, Expand, Extend, Gather, MaxPool, Movement, Pad, Product, Reshape, Slice, Transpose
from snnir.ir.ops.rules import pad_amounts, window_size

__all__ = ["COMBINED", "combine", "move", "windows"]


def move(op: Movement, operands: Sequence[Tensor], sizes: Mapping[str, int]) -> Tensor:
    """A movement op on tensors [T, ...] of one length. Raises `UnsupportedError` for an op that is not known here."""
    op, x = op.bind(sizes), operands[0]
    if isinstance(op, Reshape):
        return x.reshape(len(x), *(concrete(size) for size in op.shape))
    if isinstance(op, Transpose):
        return x.permute(0, *(axis + 1 for axis in op.perm))
    if isinstance(op, Slice):
        # an index instead of a slice: PyTorch has no negative steps
        places = list(range(*slice(op.start, op.stop, op.step).indices(x.shape[op.axis + 1])))
        return x.index_select(op.axis + 1, torch.tensor(places, dtype=torch.int64, device=x.device))
    if isinstance(op, Gather):
        axis = op.axis + 1
        places = [index % x.shape[axis] for index in op.indices]
        taken = x.index_select(axis, torch.tensor(places, dtype=torch.int64, device=x.device))
        return taken.reshape(*x.shape[:axis], *op.shape, *x.shape[axis + 1 :])
    if isinstance(op, Concat):
        return torch.cat(list(operands), dim=op.axis + 1)
    if isinstance(op, Pad):
        rank = x.ndim - 1
        pairs = [(concrete(op.padding[axis]), concrete(op.padding[axis + rank])) for axis in range(rank)]
        amounts = [amount for pair in reversed(pairs) for amount in pair]
        return functional.pad(x, amounts)
    if isinstance(op, Extend):
        rank = x.ndim - 1
        for axis in range(rank):
            places = np.pad(np.arange(x.shape[axis + 1]), tuple(map(concrete, op.padding[axis::rank])), mode=op.mode)  # type: ignore[call-overload]
            x = x.index_select(axis + 1, torch.from_numpy(places).to(x.device))
        return x
    if isinstance(op, Expand):
        shape = [concrete(size) for size in op.shape]
        return x.reshape(len(x), *([1] * (len(shape) - x.ndim + 1)), *x.shape[1:]).expand(len(x), *shape)
    raise UnsupportedError(f"the torch backend does not know the movement {op.name}")


COMBINED = (MaxPool, Product)
"""The ops that combine tracers."""


def combine(
    op: MaxPool | Product, trains: Sequence[Tensor], before: Sequence[Tensor] | None = None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The change, step by step, of the largest tracer of each window of a max, or of the product of two tracers.

    Also what is kept for a window that goes on: the last result, and the tracers [N, ...]. `before` is what was kept.
    """
    trains = _together(trains)
    held = [torch.zeros_like(train[:1]).sum(dim=0) for train in trains] if before is None else list(before[1:])
    # the tracers before the first step come first, so that a train without steps needs no case of its own
    tracers = [torch.cat([own[None], own + train.cumsum(0)]) for own, train in zip(held, trains, strict=True)]
    if isinstance(op, Product):
        left, right = aligned(tracers)
        results = left * right
    else:
        (train,) = tracers
        steps, batch = train.shape[:2]
        seen = _pooled(op, train.reshape(steps * batch, *train.shape[2:]))
        results = seen.reshape(steps, batch, *seen.shape[1:])
    return results.diff(dim=0), (results[-1], *(tracer[-1] for tracer in tracers))


def _together(trains: Sequence[Tensor]) -> list[Tensor]:
    steps = max(len(train) for train in trains)
    return [lengthen(train, steps) for train in trains]


def _pooled(op: MaxPool, x: Tensor) -> Tensor:
    """The largest element of each window of x[M, C, ...]; padding, and what `ceil` reaches beyond it, never wins."""
    spatial = x.ndim - 2
    pads = pad_amounts(op.padding, spatial)
    positions, amounts = [], []
    for axis, size in enumerate(x.shape[2:]):
        kernel, stride, dilation = op.kernel[axis], op.stride[axis], op.dilation[axis]
        count = concrete(window_size(size, kernel, stride, dilation, pads[axis], op.ceil))
        needed = (count - 1) * stride + dilation * (kernel - 1) + 1
        positions.append(count)
        amounts.append((pads[axis][0], pads[axis][1] + max(needed - size - sum(pads[axis]), 0)))
    flat = [amount for pair in reversed(amounts) for amount in pair]
    padded = functional.pad(x, flat, value=-torch.inf)
    return windows(padded, op.kernel, op.stride, op.dilation, positions).amax(dim=tuple(range(-spatial, 0)))


def windows(x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], positions: Sequence[int]) -> Tensor:
    """Windows [M, C, *positions, *kernel] of x[M, C, ...], which is padded already: a view, nothing is copied."""
    for axis, (size, step, apart, count) in enumerate(zip(kernel, stride, dilation, positions, strict=True)):
        x = x.unfold(2 + axis, apart * (size - 1) + 1, step).narrow(2 + axis, 0, count)[..., ::apart]
    return x
