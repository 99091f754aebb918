"""Fourier transforms of known length: matrices of cosines and sines. Complex numbers are pairs along the last axis."""

from __future__ import annotations

import numpy as np

from snnir.ir.dims import concrete
from snnir.ir.graph import Value
from snnir.ir.lowering.builder import Builder, RefusalError
from snnir.ir.lowering.compose import along_axis, reshaped, static, transposed
from snnir.ir.ops import Gather

__all__ = ["fourier_matrix", "fourier_transformed", "onesided_inverse", "short_time"]


def fourier_matrix(size: int, length: int, parts: int, inverse: bool, count: int) -> np.ndarray:
    """[count * 2, size * parts]: real and imaginary part of the first `count` frequencies of `length` from those of each of
    `size` elements, which are real (`parts` 1) or complex (2). The inverse is divided by `length`.
    """
    angle = (2 if inverse else -2) * np.pi * np.outer(np.arange(count), np.arange(size)) / length
    scale = 1 / length if inverse else 1.0
    matrix = np.zeros((count, 2, size, parts))
    matrix[:, 0, :, 0], matrix[:, 1, :, 0] = np.cos(angle) * scale, np.sin(angle) * scale
    if parts == 2:
        matrix[:, 0, :, 1], matrix[:, 1, :, 1] = -np.sin(angle) * scale, np.cos(angle) * scale
    matrix[:, :, length:] = 0
    return matrix.reshape(count * 2, size * parts)


def onesided_inverse(size: int, length: int) -> np.ndarray:
    """[length, size * 2]: real numbers from the first half of their spectrum, divided by `length`."""
    units = np.zeros((size * 2, size), np.complex128)
    for place in range(size):
        units[2 * place, place], units[2 * place + 1, place] = 1, 1j
    return np.fft.irfft(units, length, axis=1).T


def fourier_transformed(call: Builder, x: Value, axis: int, matrix: np.ndarray, gives: int, label: str = "") -> Value:
    """`x` [..., parts] with `matrix` [count * gives, size * parts] applied along `axis`: [..., gives]."""
    rank, part = x.type.rank, f"{label}." if label else ""
    front = [place for place in range(rank - 1) if place != axis]
    lines = transposed(call, x, [*front, axis, rank - 1], f"{part}lines")
    lead = lines.type.shape[: rank - 2]
    line = reshaped(call, lines, (*lead, matrix.shape[1]), f"{part}line")
    mapped = along_axis(call, line, rank - 2, matrix, f"{part}mapped")
    pairs = reshaped(call, mapped, (*lead, matrix.shape[0] // gives, gives), f"{part}pairs")
    order = [*front, axis, rank - 1]
    return transposed(call, pairs, [order.index(place) for place in range(rank)], label)


def short_time(call: Builder, x: Value, step: int, window: np.ndarray, onesided: bool, label: str = "") -> Value:
    """Frames of the signals x[N, samples, parts], as long as the window, each times one matrix: [N, frames, frequencies, 2].

    Raises `RefusalError` for signals of unknown length, or shorter than a frame.
    """
    (total,) = static((x.type.shape[1],), "a short-time Fourier transform")
    length = len(window)
    frames = (total - length) // step + 1
    if frames < 1:
        raise RefusalError(f"its frames of {length} elements are longer than the signal of {total}")
    places = np.arange(frames)[:, None] * step + np.arange(length)
    cut = call.emit(Gather(1, tuple(int(place) for place in places.reshape(-1)), places.shape), x, label="frames")
    parts = concrete(x.type.shape[2])
    count = length // 2 + 1 if onesided else length
    matrix = fourier_matrix(length, length, parts, False, count) * np.repeat(window, parts)
    return fourier_transformed(call, cut, 2, matrix, 2, label)
