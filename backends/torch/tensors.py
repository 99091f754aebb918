"""Meanings of affine ops, data movement and pooling.

Integers (levels and sums) are summed in float64, which is exact below 2^53, and given back as integers.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from snnir.backends.torch.registry import meaning
from snnir.errors import UnsupportedError
from snnir.ir import ops
from snnir.ir.dims import concrete
from snnir.ir.ops.rules import pad_amounts, window_size

__all__: list[str] = []

_Result = tuple[torch.Tensor]


def _summing(x: torch.Tensor) -> torch.Tensor:
    return x if x.is_floating_point() else x.double()


def expanded(op: ops.Linear | ops.Conv | ops.SparseLinear | ops.Mul, weight: torch.Tensor) -> torch.Tensor:
    """`weight * 2^gain`, float64 where there is a gain: exact, for integers."""
    if not any(op.gain):
        return weight
    shape = op.gain_shape(tuple(weight.shape)) if len(op.gain) > 1 else ()
    gains = torch.tensor([2.0**gain for gain in op.gain], dtype=torch.float64, device=weight.device)
    return weight.double() * gains.reshape(shape)


@meaning(ops.Linear)
def _linear(op: ops.Linear, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> _Result:
    weight = expanded(op, weight)
    y = functional.linear(_summing(x), weight.to(_summing(x).dtype)).to(x.dtype)
    return (y if bias is None else y + bias,)


@meaning(ops.Conv)
def _conv(op: ops.Conv, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> _Result:
    spatial = x.ndim - 2
    if spatial > 3:
        raise UnsupportedError(f"torch has no convolution over {spatial} axes")
    pads = [amount for pair in reversed(pad_amounts(op.padding, spatial)) for amount in pair]
    padded = torch.constant_pad_nd(_summing(x), pads)
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[spatial - 1]
    y = convolve(padded, expanded(op, weight).to(padded.dtype), None, op.stride, 0, op.dilation, op.groups).to(x.dtype)
    return (y if bias is None else y + bias.reshape(-1, *([1] * spatial)),)


@meaning(ops.SparseLinear)
def _sparse_linear(
    op: ops.SparseLinear, x: torch.Tensor, weight: torch.Tensor, rows: torch.Tensor, cols: torch.Tensor
) -> _Result:
    products = x.reshape(x.shape[0], math.prod(x.shape[1:]))[:, cols] * expanded(op, weight).to(x.dtype)
    y = torch.zeros(x.shape[0], math.prod(op.shape), dtype=products.dtype, device=x.device).index_add(1, rows, products)
    return (y.reshape(x.shape[0], *op.shape),)


@meaning(ops.MatMul)
def _matmul(op: ops.MatMul, a: torch.Tensor, b: torch.Tensor) -> _Result:
    return (torch.matmul(_summing(a), _summing(b).to(_summing(a).dtype)).to(torch.promote_types(a.dtype, b.dtype)),)


@meaning(ops.Add)
def _add(op: ops.Add, a: torch.Tensor, b: torch.Tensor) -> _Result:
    return (a + b,)


@meaning(ops.Sub)
def _sub(op: ops.Sub, a: torch.Tensor, b: torch.Tensor) -> _Result:
    return (a - b,)


@meaning(ops.Mul)
def _mul(op: ops.Mul, a: torch.Tensor, b: torch.Tensor) -> _Result:
    return (a * expanded(op, b),)


@meaning(ops.Product)
def _product(op: ops.Product, a: torch.Tensor, b: torch.Tensor) -> _Result:
    return (a * b,)


@meaning(ops.Div)
def _div(op: ops.Div, a: torch.Tensor, b: torch.Tensor) -> _Result:
    return (a / b,)


@meaning(ops.BatchNorm)
def _batch_norm(op: ops.BatchNorm, x: torch.Tensor, *parameters: torch.Tensor) -> _Result:
    scale, bias, mean, variance = (parameter.double() for parameter in parameters)
    shape = (-1, *([1] * (x.ndim - 2)))
    a = scale / torch.sqrt(variance + op.epsilon)
    return ((x * a.reshape(shape) + (bias - a * mean).reshape(shape)).to(x.dtype),)


@meaning(ops.Reshape)
def _reshape(op: ops.Reshape, x: torch.Tensor) -> _Result:
    return (x.reshape([concrete(size) for size in op.shape]),)


@meaning(ops.Transpose)
def _transpose(op: ops.Transpose, x: torch.Tensor) -> _Result:
    return (x.permute(op.perm),)


@meaning(ops.Slice)
def _slice(op: ops.Slice, x: torch.Tensor) -> _Result:
    chosen = range(*slice(op.start, op.stop, op.step).indices(x.shape[op.axis]))
    if op.step == 1:
        return (x.narrow(op.axis, chosen.start, len(chosen)),)
    return (x.index_select(op.axis, torch.tensor(list(chosen), dtype=torch.int64, device=x.device)),)


@meaning(ops.Gather)
def _gather(op: ops.Gather, x: torch.Tensor) -> _Result:
    indices = torch.tensor([index % x.shape[op.axis] for index in op.indices], dtype=torch.int64, device=x.device)
    return (x.index_select(op.axis, indices).reshape(*x.shape[: op.axis], *op.shape, *x.shape[op.axis + 1 :]),)


@meaning(ops.Concat)
def _concat(op: ops.Concat, *parts: torch.Tensor) -> _Result:
    return (torch.cat(parts, op.axis),)


@meaning(ops.Pad)
def _pad(op: ops.Pad, x: torch.Tensor) -> _Result:
    amounts = [concrete(amount) for amount in op.padding]
    pairs = [(amounts[axis], amounts[axis + x.ndim]) for axis in range(x.ndim)]
    return (torch.constant_pad_nd(x, [amount for pair in reversed(pairs) for amount in pair]),)


@meaning(ops.Extend)
def _extend(op: ops.Extend, x: torch.Tensor) -> _Result:
    # by index, because torch's own padding wants certain ranks for each mode
    for axis in range(x.ndim):
        amounts = (concrete(op.padding[axis]), concrete(op.padding[axis + x.ndim]))
        if any(amounts):
            places = np.pad(np.arange(x.shape[axis]), amounts, mode=op.mode)  # type: ignore[call-overload]
            x = x.index_select(axis, torch.from_numpy(places).to(x.device))
    return (x,)


@meaning(ops.Expand)
def _expand(op: ops.Expand, x: torch.Tensor) -> _Result:
    return (torch.broadcast_to(x, [concrete(size) for size in op.shape]),)


@meaning(ops.MaxPool)
def _max_pool(op: ops.MaxPool, x: torch.Tensor) -> _Result:
    fill = float("-inf") if x.is_floating_point() else torch.iinfo(x.dtype).min
    return (_windows(op, x, fill, fill).amax(tuple(range(-len(op.kernel), 0))),)


@meaning(ops.AveragePool)
def _average_pool(op: ops.AveragePool, x: torch.Tensor) -> _Result:
    axes = tuple(range(-len(op.kernel), 0))
    ones = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype, device=x.device)
    counts = _windows(op, ones, 1 if op.count_padding else 0, 0).sum(axes)
    return (_windows(op, x, 0, 0).sum(axes) / counts,)


@meaning(ops.ReduceMean)
def _reduce_mean(op: ops.ReduceMean, x: torch.Tensor) -> _Result:
    return (x.mean(op.axes, op.keep) if op.axes else x,)


def _windows(op: ops.Pool, x: torch.Tensor, fill: float, extra: float) -> torch.Tensor:
    """x[N, C, ...] as windows [N, C, *positions, *kernel]; see the op's `windows`."""
    spatial = x.ndim - 2
    pads = pad_amounts(op.padding, spatial)
    spans = [d * (k - 1) + 1 for k, d in zip(op.kernel, op.dilation, strict=True)]
    counts = [
        concrete(window_size(size, op.kernel[axis], op.stride[axis], op.dilation[axis], pads[axis], op.ceil))
        for axis, size in enumerate(x.shape[2:])
    ]
    beyond = [
        (0, max((count - 1) * step + span - size - sum(pair), 0))
        for count, step, span, size, pair in zip(counts, op.stride, spans, x.shape[2:], pads, strict=True)
    ]
    for amounts, value in ((pads, fill), (beyond, extra)):
        x = torch.constant_pad_nd(x, [amount for pair in reversed(amounts) for amount in pair], value)
    for axis, (span, step, count) in enumerate(zip(spans, op.stride, counts, strict=True), 2):
        x = x.unfold(axis, span, step).narrow(axis, 0, count)
    kept = tuple(slice(None, None, step) for step in (*([1] * x.ndim), *op.dilation))
    return x[kept[-x.ndim :]]
