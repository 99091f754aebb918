"""Fourier transforms (`snnir.ir.lowering.fourier`), and patches put back into images."""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import real, reshaped
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir.dims import concrete
from snnir.ir.lowering.columns import columns_to_image as lowered
from snnir.ir.lowering.fourier import fourier_matrix, fourier_transformed, onesided_inverse, short_time

__all__: list[str] = []


@handler("DFT", "linear", "reshape", "transpose")
def dft(call: Call) -> list[Result]:
    """Along a known axis of known length, of real or complex numbers, and back."""
    x = real(call, 0)
    rank = x.type.rank
    if call.opset >= 20:
        axis = call.axis(call.known_integers(2, "the axis")[0] if call.has(2) else -2, rank)
    else:
        axis = call.axis(call.integer("axis", 1), rank)
    if x.type.shape[-1] not in (1, 2) or axis == rank - 1:
        raise RefusalError(f"its last axis must hold real numbers (size 1) or complex ones (2), found {x.type}")
    (size,) = call.static((x.type.shape[axis],), "a Fourier transform")
    inverse, onesided = bool(call.integer("inverse", 0)), bool(call.integer("onesided", 0))
    whole = 2 * (size - 1) if inverse and onesided else size
    length = call.known_integers(1, "the length")[0] if call.has(1) else whole
    parts = concrete(x.type.shape[-1])
    if inverse and onesided:
        matrix, gives = onesided_inverse(size, length), 1
    else:
        matrix, gives = fourier_matrix(size, length, parts, inverse, length // 2 + 1 if onesided else length), 2
    return [fourier_transformed(call, x, axis, matrix, gives)]


@handler("STFT", "gather", "linear", "reshape", "transpose")
def stft(call: Call) -> list[Result]:
    """A known window, step and length: frames of the signal, each times one matrix."""
    x = real(call, 0)
    if x.type.rank == 2:
        x = reshaped(call, x, (*x.type.shape, 1), "signal")
    (total,) = call.static((x.type.shape[1],), "a short-time Fourier transform")
    (step,) = call.known_integers(1, "the step")
    window = call.known(2, "the window").astype(np.float64) if call.has(2) else None
    given = call.known_integers(3, "the frame length")[0] if call.has(3) else None
    length = given if given is not None else (total if window is None else len(window))
    window = np.ones(length) if window is None else window
    if len(window) != length:
        raise RefusalError(f"its window has {len(window)} elements, and a frame {length}")
    return [short_time(call, x, step, window, bool(call.integer("onesided", 1)))]


@handler("Col2Im", "sparse_linear")
def columns_to_image(call: Call) -> list[Result]:
    """Each column's elements added up at their places in the image, any number of axes."""
    x = real(call, 0)
    image, block = call.known_integers(1, "the image's shape"), call.known_integers(2, "the block's shape")
    ones, count = (1,) * len(image), len(image)
    stride, dilation = call.integers("strides", ones), call.integers("dilations", ones)
    pads = call.integers("pads", (0,) * (2 * count))
    return [lowered(call, x, image, block, stride, dilation, pads)]
