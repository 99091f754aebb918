"""Meanings of element-wise ops: activations, and the functions that only the host computes."""

from __future__ import annotations

import math

import torch

from snnir.backends.torch.registry import meaning, meaning_of
from snnir.ir import ops
from snnir.ir.dims import concrete
from snnir.ir.ops.masks import FAR

__all__: list[str] = []

_Result = tuple[torch.Tensor]


@meaning(ops.Relu)
def _relu(op: ops.Relu, x: torch.Tensor) -> _Result:
    return (x.clamp(min=0),)


@meaning(ops.Clip)
def _clip(op: ops.Clip, x: torch.Tensor) -> _Result:
    return (x.clamp(op.low, op.high),)


@meaning(ops.PRelu)
def _prelu(op: ops.PRelu, x: torch.Tensor) -> _Result:
    slopes = torch.tensor(op.slopes, dtype=x.dtype, device=x.device).reshape(op.shape)
    return (torch.where(x >= 0, x, slopes * x),)


@meaning(ops.LeakyRelu)
def _leaky_relu(op: ops.LeakyRelu, x: torch.Tensor) -> _Result:
    return (torch.where(x >= 0, x, op.alpha * x),)


@meaning(ops.Sigmoid)
def _sigmoid(op: ops.Sigmoid, x: torch.Tensor) -> _Result:
    return (torch.sigmoid(x),)


@meaning(ops.Tanh)
def _tanh(op: ops.Tanh, x: torch.Tensor) -> _Result:
    return (torch.tanh(x),)


@meaning(ops.HardSigmoid)
def _hard_sigmoid(op: ops.HardSigmoid, x: torch.Tensor) -> _Result:
    return ((op.alpha * x + op.beta).clamp(0, 1),)


@meaning(ops.Elu)
def _elu(op: ops.Elu, x: torch.Tensor) -> _Result:
    return (op.gamma * torch.where(x > 0, x, op.alpha * torch.expm1(x.clamp(max=0) / op.beta)),)


@meaning(ops.Softplus)
def _softplus(op: ops.Softplus, x: torch.Tensor) -> _Result:
    return (torch.logaddexp(x, torch.zeros_like(x)),)


@meaning(ops.Softsign)
def _softsign(op: ops.Softsign, x: torch.Tensor) -> _Result:
    return (x / (1 + x.abs()),)


@meaning(ops.SignedSquare)
def _signed_square(op: ops.SignedSquare, x: torch.Tensor) -> _Result:
    return (x * x.abs(),)


@meaning(ops.ThresholdedRelu)
def _thresholded_relu(op: ops.ThresholdedRelu, x: torch.Tensor) -> _Result:
    return (torch.where(x > op.alpha, x, torch.zeros_like(x)),)


@meaning(ops.ScaledTanh)
def _scaled_tanh(op: ops.ScaledTanh, x: torch.Tensor) -> _Result:
    return (op.alpha * torch.tanh(op.beta * x),)


@meaning(ops.Affine)
def _affine(op: ops.Affine, x: torch.Tensor) -> _Result:
    return (op.alpha * x + op.beta,)


@meaning(ops.Exp)
def _exp(op: ops.Exp, x: torch.Tensor) -> _Result:
    return (torch.exp(x),)


@meaning(ops.Erf)
def _erf(op: ops.Erf, x: torch.Tensor) -> _Result:
    return (torch.erf(x),)


@meaning(ops.GeluGate)
def _gelu_gate(op: ops.GeluGate, x: torch.Tensor) -> _Result:
    cubic = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return (0.5 * (1 + (torch.tanh(cubic) if op.approximate else torch.erf(x / math.sqrt(2)))),)


@meaning(ops.Atan)
def _atan(op: ops.Atan, x: torch.Tensor) -> _Result:
    return (torch.atan(x),)


@meaning(ops.Sign)
def _sign(op: ops.Sign, x: torch.Tensor) -> _Result:
    return (torch.sign(x),)


@meaning(ops.Round)
def _round(op: ops.Round, x: torch.Tensor) -> _Result:
    return ({"floor": torch.floor, "ceil": torch.ceil, "even": torch.round}[op.mode](x),)


@meaning(ops.Sqrt)
def _sqrt(op: ops.Sqrt, x: torch.Tensor) -> _Result:
    return (torch.sqrt(x),)


@meaning(ops.Log)
def _log(op: ops.Log, x: torch.Tensor) -> _Result:
    return (torch.log(x),)


@meaning(ops.Abs)
def _abs(op: ops.Abs, x: torch.Tensor) -> _Result:
    return (x.abs(),)


@meaning(ops.Tan)
def _tan(op: ops.Tan, x: torch.Tensor) -> _Result:
    return (torch.tan(x),)


@meaning(ops.Reciprocal)
def _reciprocal(op: ops.Reciprocal, x: torch.Tensor) -> _Result:
    return (x.reciprocal(),)


@meaning(ops.Saturate)
def _saturate(op: ops.Saturate, x: torch.Tensor) -> _Result:
    return (x.clamp(op.low, op.high),)


@meaning(ops.Gated)
def _gated(op: ops.Gated, x: torch.Tensor) -> _Result:
    inner = op.scale * x + op.shift
    for gate in op.gates():
        (inner,) = meaning_of(gate)(gate, inner)
    return (x * inner,)


@meaning(ops.Sin)
def _sin(op: ops.Sin, x: torch.Tensor) -> _Result:
    return (torch.sin(x),)


@meaning(ops.Cos)
def _cos(op: ops.Cos, x: torch.Tensor) -> _Result:
    return (torch.cos(x),)


@meaning(ops.Pow)
def _pow(op: ops.Pow, x: torch.Tensor, y: torch.Tensor) -> _Result:
    return (torch.pow(x, y),)


@meaning(ops.Softmax)
def _softmax(op: ops.Softmax, x: torch.Tensor) -> _Result:
    # a line of which all is masked gives 0, where torch would give NaN
    return (torch.softmax(x, op.axis).masked_fill((x == -torch.inf).all(op.axis, True), 0.0),)


@meaning(ops.Masked)
def _masked(op: ops.Masked, x: torch.Tensor, keep: torch.Tensor) -> _Result:
    return (torch.where(2 * keep.abs() >= 1, x, torch.full((), -torch.inf, dtype=x.dtype, device=x.device)),)


@meaning(ops.LogSoftmax)
def _log_softmax(op: ops.LogSoftmax, x: torch.Tensor) -> _Result:
    return (torch.log_softmax(x, op.axis),)


@meaning(ops.ArgMax)
def _argmax(op: ops.ArgMax, x: torch.Tensor) -> _Result:
    if op.last:
        return (x.shape[op.axis] - 1 - x.flip(op.axis).argmax(op.axis, op.keep),)
    return (x.argmax(op.axis, op.keep),)


@meaning(ops.SequenceMask)
def _sequence_mask(op: ops.SequenceMask, lengths: torch.Tensor) -> _Result:
    exists = torch.arange(concrete(op.length), device=lengths.device) < lengths[:, None]
    return ((exists != op.padding).float()[:, :, None],)


@meaning(ops.IsFar)
def _is_far(op: ops.IsFar, x: torch.Tensor) -> _Result:
    return (x <= FAR,)


@meaning(ops.Shown)
def _shown(op: ops.Shown, x: torch.Tensor) -> _Result:
    return (torch.where(x <= FAR, torch.zeros((), dtype=x.dtype, device=x.device), x),)
