"""Meanings of the ops between real numbers, levels and accumulator grids.

Integers may come as int64 or, in modules that train, as float64 tensors that hold integers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from snnir.backends.torch.registry import meaning
from snnir.ir import ops
from snnir.ir.ops.fake_quantize import NOISE
from snnir.ir.types import Quantization

__all__ = ["rounded", "staircase", "uniform"]

_Result = tuple[torch.Tensor]
_FEW = 32


_ROUNDINGS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "half-up": lambda x: torch.floor(x + 0.5),
    "half-down": lambda x: torch.ceil(x - 0.5),
    "even": torch.round,
    "odd": lambda x: torch.where(x - x.floor() == 0.5, x.floor() + (x.floor() % 2 == 0), x.round()),
    "half-away": lambda x: torch.floor(x.abs() + 0.5) * x.sign(),
    "half-to-zero": lambda x: torch.ceil(x.abs() - 0.5) * x.sign(),
    "floor": torch.floor,
    "ceil": torch.ceil,
    "to-zero": torch.trunc,
    "away": lambda x: torch.ceil(x.abs()) * x.sign(),
    "bipolar": lambda x: torch.where(x >= 0, 1.0, -1.0).to(x.dtype),
}


def rounded(x: torch.Tensor, quantization: Quantization, rounding: str = "half-up", single: bool = False) -> torch.Tensor:
    """Levels of real `x`: `clip(round(x/scale), lo, hi)`, in float64; with `single` the quotient is float32."""
    scale = torch.tensor(quantization.scale, dtype=torch.float32 if single else torch.float64)
    ratio = x.to(scale.dtype) / scale.to(x.device)
    return _ROUNDINGS[rounding](ratio).double().clamp(quantization.lo, quantization.hi)


def uniform(sums: torch.Tensor, theta: torch.Tensor, quantization: Quantization) -> torch.Tensor:
    """`clip((sums + theta//2) // theta, lo, hi)` in float64: exact for sums below 2^52."""
    theta = theta.double()
    return torch.floor((sums.double() + torch.floor(theta / 2)) / theta).clamp(quantization.lo, quantization.hi)


def staircase(sums: torch.Tensor, table: torch.Tensor, quantization: Quantization) -> torch.Tensor:
    """`lo + #{j : sums >= table[j]}` in float64, for sums[N, ...] and a sorted table [hi - lo, ...]."""
    sums, table = sums.double(), table.double()
    sample = sums.shape[1:]
    table = table.reshape(len(table), *([1] * (len(sample) - table.ndim + 1)), *table.shape[1:])
    if len(table) <= _FEW:
        count = torch.zeros_like(sums)
        for threshold in table:
            count += sums >= threshold
        return count + quantization.lo
    sorted_table = torch.broadcast_to(table, (len(table), *sample)).movedim(0, -1).contiguous()
    found = torch.searchsorted(sorted_table, sums.movedim(0, -1).contiguous(), right=True)
    return found.movedim(-1, 0).double() + quantization.lo


@meaning(ops.Observe)
def _observe(op: ops.Observe, x: torch.Tensor) -> _Result:
    return (x,)


@meaning(ops.Quantize)
def _quantize(op: ops.Quantize, x: torch.Tensor) -> _Result:
    return (rounded(x, op.quantization, op.rounding, op.single),)


@meaning(ops.FakeQuantize)
def _fake_quantize(op: ops.FakeQuantize, x: torch.Tensor) -> _Result:
    levels = op.quantization
    if op.single or x.dtype != torch.float64:
        return ((rounded(x, levels, op.rounding, op.single) * levels.scale).to(x.dtype),)
    ratio = x / levels.scale
    halves = torch.round(2 * ratio) / 2
    near = (ratio - halves).abs() <= NOISE * halves.abs().clamp(min=1)
    units = rounded(torch.where(near, halves, ratio), Quantization(1.0, levels.lo, levels.hi), op.rounding)
    return (units * levels.scale,)


def _truncated(levels: torch.Tensor, omitted: int) -> torch.Tensor:
    """Levels without their last `omitted` bits."""
    return torch.trunc(levels / 2**omitted) * 2**omitted if omitted else levels


@meaning(ops.Requantize)
def _requantize(op: ops.Requantize, x: torch.Tensor, theta: torch.Tensor) -> _Result:
    return (_truncated(uniform(x, theta, op.quantization), op.omitted),)


@meaning(ops.MultiThreshold)
def _multi_threshold(op: ops.MultiThreshold, x: torch.Tensor, table: torch.Tensor) -> _Result:
    return (_truncated(staircase(x, table, op.quantization), op.omitted),)


@meaning(ops.Dequantize)
def _dequantize(op: ops.Dequantize, x: torch.Tensor, scale: torch.Tensor) -> _Result:
    return ((x.double() * scale).float(),)
