"""Fourier transforms, complex numbers, patches of images: torch module == IR."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import snnir
from snnir.errors import UnsupportedError
from tests.frontends.torch_modules import Function, check

fft = torch.fft
FILTER = torch.randn(5, dtype=torch.complex64, generator=torch.Generator().manual_seed(3))


def pairs(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return tuple(torch.view_as_real(value) for value in values)


def complex_arithmetic(x: torch.Tensor) -> Any:
    f, g = fft.rfft(x), fft.fft(x)[:, :5]
    return pairs(f * g, f * FILTER, 2.0 * f / 3.0, f * 1j, 1.0 - f + g - x[:, :5], -f.conj(), torch.complex(x, x * x))


def complex_movement(x: torch.Tensor) -> Any:
    f = fft.fft(x, dim=1)
    halves = torch.stack(f.chunk(2, 1), -1).transpose(1, 2)
    return pairs(torch.cat([f, fft.rfft(x)], 1), halves.reshape(-1, 8), f[:, 1:6:2], f[..., None].sum(-1), f.flip(1))


CASES: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "forth": (
        lambda x: pairs(fft.rfft(x, dim=1, norm="ortho"), fft.rfft(x, n=6), fft.fft(x, norm="forward"), fft.fft(x, n=9)),
        [(2, 8)],
    ),
    "back": (
        lambda x: (
            fft.irfft(fft.rfft(x, dim=1), n=9, dim=1),
            fft.irfft(x[:, 0], norm="ortho"),
            fft.ifft(fft.fft(x, norm="ortho"), norm="ortho").real,
            fft.ifft(x, norm="forward").imag,
        ),
        [(2, 8, 3)],
    ),
    "hermitian": (lambda x: (fft.hfft(fft.ihfft(x), n=8), fft.hfft(fft.fft(x), n=9, norm="ortho"), fft.hfft(x)), [(2, 8)]),
    "several_axes": (
        lambda x: (
            *pairs(fft.rfft2(x, s=(3, 5)), fft.fft2(x), fft.ifft2(x, norm="ortho")),
            fft.irfft2(fft.rfft2(x, norm="forward"), norm="forward"),
            fft.irfftn(fft.rfftn(x, dim=(1, 2)), s=(4, 7), dim=(1, 2)),
        ),
        [(2, 4, 6)],
    ),
    "shifted": (lambda x: (fft.fftshift(x, dim=1) + fft.ifftshift(x, dim=(1,)), fft.fftshift(fft.fft(x), dim=1).abs()), [(2, 7)]),
    "arithmetic": (complex_arithmetic, [(2, 8)]),
    "movement": (complex_movement, [(2, 8)]),
    "pairs_in": (lambda x: (fft.ifft(torch.view_as_complex(x), dim=1).imag, torch.view_as_complex(x).real), [(2, 8, 2)]),
    "magnitudes": (lambda x: fft.rfft(x, dim=2).abs(), [(2, 3, 8)]),
    "stft": (
        lambda x: (
            *pairs(
                torch.stft(x, 6, 2, win_length=4, window=torch.hamming_window(4), normalized=True, return_complex=True),
                torch.stft(x, 4, center=False, onesided=False, window=torch.ones(4), return_complex=True),
            ),
            torch.stft(x, 4, 3, window=torch.hann_window(4), return_complex=True).abs() ** 2,
        ),
        [(2, 16)],
    ),
    "unfold": (lambda x: (F.unfold(x, (2, 3), 1, 1, (1, 2)), F.unfold(x, (2, 3), (1, 2), (1, 0), (1, 2))), [(2, 3, 5, 6)]),
    "fold": (nn.Fold((4, 5), (2, 2)), [(2, 12, 12)]),
    "fold_strided": (nn.Fold((4, 5), (2, 2), (2, 1), (1, 2), (1, 2)), [(2, 8, 16)]),
}


@pytest.mark.parametrize("name", CASES)
def test_signals(name: str) -> None:
    made, shapes = CASES[name]
    check(made if isinstance(made, nn.Module) else Function(made), *shapes)


def test_a_program_of_core_operators_holds_the_same_transforms() -> None:
    """`aten.fft_rfft` and its like taken apart into `aten._fft_r2c`, `_fft_c2c` and `_fft_c2r`."""
    made = Function(lambda x: (fft.irfft(fft.fft(fft.rfft(x, norm="ortho"), norm="forward")), fft.fft2(x[:, None]).abs())).eval()
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(made, (x,)).run_decompositions()
    assert any("_fft_c2r" in str(node.target) for node in program.graph.nodes)
    graph = snnir.import_model(program)
    found = snnir.ir.execute.execute(graph, {graph.inputs[0].name: x.numpy()})
    for ours, theirs in zip(found.values(), made(x), strict=True):
        assert abs(ours - theirs.numpy()).max() <= 1e-5 * theirs.abs().max()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: fft.fft(x).angle(), "aten.angle.default in Function / .*arc tangent of two values"),
        (lambda x: (x / fft.fft(x)).abs(), "aten.div.Tensor in Function / .*divides by complex numbers"),
        (lambda x: torch.relu(torch.view_as_real(fft.fft(x).exp())), "aten.exp.default in Function / .*complex numbers"),
        (lambda x: fft.fft(x), "output of model Function: its value holds complex numbers.*view_as_real"),
    ],
)
def test_complex_numbers_that_no_op_computes_are_refused(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        snnir.import_model(Function(function).eval(), example_inputs=torch.randn(2, 4))
