"""Fourier transforms over axes of known length (`snnir.ir.lowering.fourier`), and patches of images as columns."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from snnir.frontends.torch.call import Call, to_array
from snnir.frontends.torch.complex_value import Complex, is_complex
from snnir.frontends.torch.registry import Entry, RefusalError, handler
from snnir.ir import Value
from snnir.ir.dims import concrete
from snnir.ir.lowering.columns import columns_to_image, image_to_columns
from snnir.ir.lowering.compose import reshaped, transposed
from snnir.ir.lowering.fourier import fourier_matrix, fourier_transformed, onesided_inverse, short_time
from snnir.ir.ops import Gather

__all__: list[str] = []

_BECOMES = ("linear", "reshape", "transpose")


def _operand(call: Call) -> Value:
    """`self` with its one or two parts along a last axis."""
    entry = call.given("self")
    if is_complex(entry):
        return Complex.of(call, entry, "self").pairs(call)
    x = call.value("self")
    return reshaped(call, x, (*x.type.shape, 1), "real")


def _scale(norm: str | None, length: int, inverse: bool) -> float:
    """What PyTorch's `norm` multiplies a transform by that divides its inverse by `length`."""
    if norm == "ortho":
        return math.sqrt(length) if inverse else 1 / math.sqrt(length)
    return length if inverse and norm == "forward" else 1 / length if norm == "forward" else 1.0


def _forward(call: Call, x: Value, axis: int, length: int | None, kind: str, norm: str | None, label: str = "") -> Value:
    """One axis of `x`[..., parts] transformed; `kind` is fft, ifft, rfft, irfft, hfft or ihfft."""
    (size,) = call.static((x.type.shape[axis],), "a Fourier transform")
    parts, inverse = concrete(x.type.shape[-1]), kind in ("ifft", "irfft", "ihfft")
    back = kind in ("irfft", "hfft")
    count = length if length is not None else 2 * (size - 1) if back else size
    if count < 1:
        raise RefusalError(f"a Fourier transform of {count} elements")
    if not back:
        matrix = fourier_matrix(size, count, parts, inverse, count // 2 + 1 if kind in ("rfft", "ihfft") else count)
    elif parts == 1:
        matrix = onesided_inverse(size, count)[:, ::2]
    else:
        matrix = onesided_inverse(size, count)
    if kind == "hfft":
        matrix = matrix * count * np.resize([1.0, -1.0] if parts == 2 else [1.0], matrix.shape[1])
    label = "whole" if back and not label else label
    return fourier_transformed(call, x, axis, matrix * _scale(norm, count, inverse), 1 if back else 2, label)


def _result(call: Call, found: Value) -> Entry:
    """Real numbers, or complex ones, as PyTorch gives them."""
    if found.type.shape[-1] == 2:
        return Complex(call.name(), found)
    return reshaped(call, found, found.type.shape[:-1])


def _single(kind: str) -> None:
    @handler(f"aten.fft_{kind}", *_BECOMES, complex=True)
    def transform(call: Call) -> Entry:
        """Along an axis of known length, of real or complex numbers."""
        x = _operand(call)
        axis = call.axis(call.integer("dim", -1), x.type.rank - 1)
        length = call.integer("n") if call.has("n") else None
        return _result(call, _forward(call, x, axis, length, kind, call.given("norm")))


for _kind in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"):
    _single(_kind)


def _several(operator: str, kind: str) -> None:
    @handler(f"aten.fft_{operator}", *_BECOMES, complex=True)
    def transform(call: Call) -> Entry:
        """Along axes of known length, one after another."""
        x = _operand(call)
        lengths, rank = call.integers("s"), x.type.rank - 1
        dims = call.integers("dim") or tuple(range(-len(lengths), 0) if lengths else range(rank))
        sizes = [length if length >= 0 else None for length in lengths] or [None] * len(dims)
        return _result(call, _over(call, x, [call.axis(axis, rank) for axis in dims], sizes, kind, call.given("norm")))


def _over(call: Call, x: Value, axes: Sequence[int], lengths: Sequence[int | None], kind: str, norm: str | None) -> Value:
    """Real transforms take the last axis as real numbers: forth first of all, back last of all."""
    steps = list(zip(axes, lengths, [kind.lstrip("r").replace("irfft", "ifft")] * (len(axes) - 1) + [kind], strict=True))
    steps = steps[::-1] if kind == "rfft" else steps
    for place, (axis, length, step) in enumerate(steps):
        x = _forward(call, x, axis, length, step, norm, "" if place == len(steps) - 1 else f"axis{axis}")
    return x


for _dims in ("2", "n"):
    for _kind in ("fft", "ifft", "rfft", "irfft"):
        _several(f"{_kind}{_dims}", _kind)

_NORMS = {0: (None, "forward"), 1: ("ortho", "ortho"), 2: ("forward", None)}
"""PyTorch's numbers for: undivided, by the root of the length, by the length; as `norm` of transforms forth and back."""


@handler("aten._fft_r2c", *_BECOMES)
def real_to_complex(call: Call) -> Entry:
    """Of real numbers, as a program with core operators only holds it."""
    x = _operand(call)
    axes = [call.axis(axis, x.type.rank - 1) for axis in call.integers("dim")]
    kind = "rfft" if call.flag("onesided") else "fft"
    return _result(call, _over(call, x, axes, [None] * len(axes), kind, _NORMS[call.integer("normalization")][0]))


@handler("aten._fft_c2c", *_BECOMES, real=False, complex=True)
def complex_to_complex(call: Call) -> Entry:
    """Of complex numbers, forth or back."""
    x, forward = _operand(call), call.flag("forward")
    axes = [call.axis(axis, x.type.rank - 1) for axis in call.integers("dim")]
    norm = _NORMS[call.integer("normalization")][0 if forward else 1]
    return _result(call, _over(call, x, axes, [None] * len(axes), "fft" if forward else "ifft", norm))


@handler("aten._fft_c2r", *_BECOMES, real=False, complex=True)
def complex_to_real(call: Call) -> Entry:
    """Real numbers from half of their spectrum."""
    x = _operand(call)
    axes = [call.axis(axis, x.type.rank - 1) for axis in call.integers("dim")]
    lengths = [None] * (len(axes) - 1) + [call.integer("last_dim_size")]
    return _result(call, _over(call, x, axes, lengths, "irfft", _NORMS[call.integer("normalization")][1]))


def _shift(operator: str, sign: int) -> None:
    @handler(f"aten.fft_{operator}", "gather")
    def shift(call: Call) -> Value:
        """Halves of axes of known length exchanged."""
        x = call.value("self")
        axes = call.axes("dim")
        for axis in axes:
            (size,) = call.static((x.type.shape[axis],), "exchanging halves")
            indices = np.roll(np.arange(size), sign * (size // 2))
            op = Gather(axis, tuple(int(index) for index in indices), (size,))
            x = call.emit(op, x, label="" if axis == axes[-1] else f"axis{axis}")
        return x


_shift("fftshift", 1)
_shift("ifftshift", -1)


@handler("aten.stft", "gather", "linear", "reshape", "transpose")
def stft(call: Call) -> Entry:
    """A signal of known length, and a known window: frames, each times one matrix."""
    x, size = call.value("self"), call.integer("n_fft")
    if call.flag("center") or call.flag("align_to_window"):
        raise RefusalError("it pads the signal itself; call torch.stft, which exports the padding as an operator of its own")
    width = call.integer("win_length", size)
    known = to_array(call.known("window", "the window"), "the window") if call.has("window") else np.ones(width)
    window = np.zeros(size)
    begin = (size - width) // 2
    window[begin : begin + width] = known
    alone = x.type.rank == 1
    shape = (*((1,) if alone else ()), *x.type.shape, 1)
    onesided = call.flag("onesided") if call.has("onesided") else True
    step = call.integer("hop_length", size // 4)
    scale = 1 / math.sqrt(size) if call.flag("normalized") else 1.0
    frames = short_time(call, reshaped(call, x, shape, "signal"), step, window * scale, onesided, "transformed")
    found = transposed(call, frames, (0, 2, 1, 3), "spectrum" if alone else "")
    found = reshaped(call, found, found.type.shape[1:]) if alone else found
    return Complex(call.name(), found) if call.flag("return_complex") else found


@handler("aten.im2col", "pad", "gather", "transpose", "reshape")
def im2col(call: Call) -> Value:
    """The patches of an image of known size as columns."""
    x = call.value("self")
    if x.type.rank != 4:
        raise RefusalError(f"its input {x.type} has no batch; give x[N, C, H, W]")
    block, stride, dilation, padding = _window(call)
    return image_to_columns(call, x, block, stride, dilation, padding)


@handler("aten.col2im", "sparse_linear")
def col2im(call: Call) -> Value:
    """Each column's elements added up at their places in the image."""
    x = call.value("self")
    if x.type.rank != 3:
        raise RefusalError(f"its input {x.type} has no batch; give x[N, C, L]")
    block, stride, dilation, padding = _window(call)
    return columns_to_image(call, x, call.integers("output_size"), block, stride, dilation, padding * 2)


def _window(call: Call) -> tuple[tuple[int, ...], ...]:
    pairs = [call.integers(name) for name in ("kernel_size", "stride", "dilation", "padding")]
    return tuple(pair * 2 if len(pair) == 1 else pair for pair in pairs)
