"""`h_k = f(z_k + u * h_{k-1})` over a whole sequence as one step of autograd.

On the CPU one compiled loop goes over each sequence, whose tanh is a quotient of polynomials that the compiler turns into
vector instructions (float32; the tanh of float64 stays PyTorch's); elsewhere each element costs two operators on buffers
made once. The backward pass is the same loop the other way round:

    d_k = f'(h_k) (g_k + u * d_{k+1}),   dz_k = d_k,   du = sum over k and n of d_k * h_{k-1},   dh_0 = u * d_1.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch

__all__ = ["recurrence"]


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _relu_forward(z: np.ndarray, u: np.ndarray, first: np.ndarray, y: np.ndarray) -> None:
    batch, length, hidden = z.shape
    zero = z.dtype.type(0)
    for n in range(batch):
        before = first[n]
        for k in range(length):
            given, row = z[n, k], y[n, k]
            for j in range(hidden):
                row[j] = max(given[j] + u[j] * before[j], zero)
            before = row


@numba.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _tanh_forward(z: np.ndarray, u: np.ndarray, first: np.ndarray, y: np.ndarray) -> None:
    """In float32. tanh as Eigen and XLA compute it: odd over even polynomial within +-7.90531, a few units in the last place
    from the exact value; below 0.0004 it is x.
    """
    batch, length, hidden = z.shape
    most, least = np.float32(7.90531110763549805), np.float32(0.0004)
    a1, a3, a5 = np.float32(4.89352455891786e-03), np.float32(6.37261928875436e-04), np.float32(1.48572235717979e-05)
    a7, a9, a11 = np.float32(5.12229709037114e-08), np.float32(-8.60467152213735e-11), np.float32(2.00018790482477e-13)
    a13 = np.float32(-2.76076847742355e-16)
    b0, b2 = np.float32(4.89352518554385e-03), np.float32(2.26843463243900e-03)
    b4, b6 = np.float32(1.18534705686654e-04), np.float32(1.19825839466702e-06)
    for n in range(batch):
        before = first[n]
        for k in range(length):
            given, row = z[n, k], y[n, k]
            for j in range(hidden):
                total = given[j] + u[j] * before[j]
                x = min(max(total, -most), most)
                s = x * x
                odd = x * (a1 + s * (a3 + s * (a5 + s * (a7 + s * (a9 + s * (a11 + s * a13))))))
                even = b0 + s * (b2 + s * (b4 + s * b6))
                row[j] = total if abs(total) < least else odd / even
            before = row


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _backward(
    y: np.ndarray,
    u: np.ndarray,
    first: np.ndarray,
    gradient: np.ndarray,
    relu: bool,
    dz: np.ndarray,
    dh: np.ndarray,
    du: np.ndarray,
) -> None:
    batch, length, hidden = y.shape
    zero, one = y.dtype.type(0), y.dtype.type(1)
    for n in range(batch):
        back, total = dh[n], du[n]
        for step in range(length):
            k = length - 1 - step
            row, given, result = y[n, k], gradient[n, k], dz[n, k]
            before = y[n, k - 1] if k else first[n]
            if relu:
                for j in range(hidden):
                    both = given[j] + back[j]
                    result[j] = both if row[j] > zero else zero
            else:
                for j in range(hidden):
                    result[j] = (one - row[j] * row[j]) * (given[j] + back[j])
            for j in range(hidden):
                back[j] = u[j] * result[j]
            for j in range(hidden):
                total[j] += result[j] * before[j]


def _array(tensor: torch.Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().contiguous().numpy()
    return array


def _compiled(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64)


class _Recurrence(torch.autograd.Function):
    """z[N, T, H], u[H] and first[N, H] give h[N, T, H]."""

    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, u: torch.Tensor, first: torch.Tensor, relu: bool) -> torch.Tensor:
        z = z.contiguous()
        y = torch.empty_like(z)
        if _compiled(z) and (relu or z.dtype == torch.float32):
            (_relu_forward if relu else _tanh_forward)(_array(z), _array(u), _array(first), y.numpy())
        else:
            before, total = first, torch.empty_like(y[:, 0])
            for k in range(z.shape[1]):
                torch.addcmul(z[:, k], before, u, out=total)
                before = y[:, k]
                torch.clamp_min(total, 0, out=before) if relu else torch.tanh(total, out=before)
        ctx.save_for_backward(y, u, first)
        ctx.relu = relu
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        y, u, first = ctx.saved_tensors
        dz = torch.empty_like(y)
        if _compiled(y):
            dh, du = torch.zeros_like(first), torch.zeros_like(first, memory_format=torch.contiguous_format)
            dh = dh.contiguous()
            arrays = (_array(y), _array(u), _array(first), _array(gradient), ctx.relu, dz.numpy(), dh.numpy(), du.numpy())
            _backward(*arrays)
            return dz, du.sum(0), dh, None
        slope = (y > 0).to(y.dtype) if ctx.relu else 1 - y * y
        after = torch.zeros_like(first)
        for k in range(y.shape[1] - 1, -1, -1):
            after = torch.addcmul(gradient[:, k], after, u).mul_(slope[:, k])
            dz[:, k] = after
        du = (dz[:, 0] * first).sum(0) + (dz[:, 1:] * y[:, :-1]).sum((0, 1))
        return dz, du, after * u, None


def recurrence(z: torch.Tensor, u: torch.Tensor, first: torch.Tensor, nonlinearity: str) -> torch.Tensor:
    """h[N, T, H] for z[N, T, H], u[H], the states first[N, H] and `relu` or `tanh`; differentiable once in all three."""
    result: torch.Tensor = _Recurrence.apply(z, u, first, nonlinearity == "relu")  # type: ignore[no-untyped-call]
    return result
