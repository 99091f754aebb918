"""Meanings of the hyperbolic functions, the inverse trigonometric ones and shrink."""

from __future__ import annotations

import torch

from snnir.backends.torch.registry import meaning
from snnir.ir import ops

__all__: list[str] = []

_Result = tuple[torch.Tensor]


@meaning(ops.Sinh)
def _sinh(op: ops.Sinh, x: torch.Tensor) -> _Result:
    return (torch.sinh(x),)


@meaning(ops.Asinh)
def _asinh(op: ops.Asinh, x: torch.Tensor) -> _Result:
    return (torch.asinh(x),)


@meaning(ops.Asin)
def _asin(op: ops.Asin, x: torch.Tensor) -> _Result:
    return (torch.asin(x.clamp(-1, 1)),)


@meaning(ops.Atanh)
def _atanh(op: ops.Atanh, x: torch.Tensor) -> _Result:
    return (torch.atanh(x.clamp(-1, 1)),)


@meaning(ops.Acosh)
def _acosh(op: ops.Acosh, x: torch.Tensor) -> _Result:
    return (torch.acosh(x.clamp(min=1)),)


@meaning(ops.Step)
def _step(op: ops.Step, x: torch.Tensor) -> _Result:
    return ((x >= 0 if op.zero else x > 0).to(x.dtype),)


@meaning(ops.Shrink)
def _shrink(op: ops.Shrink, x: torch.Tensor) -> _Result:
    low = torch.where(x < -op.threshold, x + op.bias, torch.zeros_like(x))
    return (torch.where(x > op.threshold, x - op.bias, low),)
