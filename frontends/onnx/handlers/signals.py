"""Fourier transforms, which are matrices of cosines and sines, and patches put back into images."""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import along_axis, constant, real, reshaped, transposed
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Value
from snnir.ir.ops import Gather, SparseLinear

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
    parts = int(str(x.type.shape[-1]))
    if inverse and onesided:
        matrix, gives = _onesided_inverse(size, length), 1
    else:
        matrix, gives = _fourier(size, length, parts, inverse, length // 2 + 1 if onesided else length), 2
    return [_transformed(call, x, axis, matrix, gives)]


def _fourier(size: int, length: int, parts: int, inverse: bool, count: int) -> np.ndarray:
    """[count * 2, size * parts]: real and imaginary part of each frequency from those of each element."""
    angle = (2 if inverse else -2) * np.pi * np.outer(np.arange(count), np.arange(size)) / length
    scale = 1 / length if inverse else 1.0
    matrix = np.zeros((count, 2, size, parts))
    matrix[:, 0, :, 0], matrix[:, 1, :, 0] = np.cos(angle) * scale, np.sin(angle) * scale
    if parts == 2:
        matrix[:, 0, :, 1], matrix[:, 1, :, 1] = -np.sin(angle) * scale, np.cos(angle) * scale
    matrix[:, :, length:] = 0
    return matrix.reshape(count * 2, size * parts)


def _onesided_inverse(size: int, length: int) -> np.ndarray:
    """[length, size * 2]: real numbers from the first half of their spectrum."""
    units = np.zeros((size * 2, size), np.complex128)
    for place in range(size):
        units[2 * place, place], units[2 * place + 1, place] = 1, 1j
    return np.fft.irfft(units, length, axis=1).T


def _transformed(call: Call, x: Value, axis: int, matrix: np.ndarray, gives: int) -> Value:
    rank = x.type.rank
    front = [place for place in range(rank - 1) if place != axis]
    lines = transposed(call, x, [*front, axis, rank - 1], "lines")
    lead = lines.type.shape[: rank - 2]
    line = reshaped(call, lines, (*lead, matrix.shape[1]), "line")
    mapped = along_axis(call, line, rank - 2, matrix, "mapped")
    pairs = reshaped(call, mapped, (*lead, matrix.shape[0] // gives, gives), "pairs")
    order = [*front, axis, rank - 1]
    return transposed(call, pairs, [order.index(place) for place in range(rank)])


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
    frames = (total - length) // step + 1
    if frames < 1:
        raise RefusalError(f"its frames of {length} elements are longer than the signal of {total}")
    places = np.arange(frames)[:, None] * step + np.arange(length)
    cut = call.emit(Gather(1, tuple(int(place) for place in places.reshape(-1)), places.shape), x, label="frames")
    parts = int(str(x.type.shape[2]))
    count = length // 2 + 1 if call.integer("onesided", 1) else length
    matrix = _fourier(length, length, parts, False, count) * np.repeat(window, parts)
    return [_transformed(call, cut, 2, matrix, 2)]


@handler("Col2Im", "sparse_linear")
def columns_to_image(call: Call) -> list[Result]:
    """Each column's elements added up at their places in the image, any number of axes."""
    x = real(call, 0)
    image, block = call.known_integers(1, "the image's shape"), call.known_integers(2, "the block's shape")
    ones, count = (1,) * len(image), len(image)
    stride, dilation = call.integers("strides", ones), call.integers("dilations", ones)
    pads = call.integers("pads", (0,) * (2 * count))
    channels, columns = call.static(x.type.shape[1:], "putting columns into an image")
    spots = []
    for axis in range(count):
        span = dilation[axis] * (block[axis] - 1) + 1
        number = (image[axis] + pads[axis] + pads[axis + count] - span) // stride[axis] + 1
        spots.append(np.arange(block[axis])[:, None] * dilation[axis] + np.arange(number) * stride[axis] - pads[axis])
    area = int(np.prod(block))
    depth = channels // area
    if depth * area != channels or int(np.prod([spot.shape[1] for spot in spots])) != columns:
        raise RefusalError(f"columns {x.type} do not fill an image of {image} with blocks of {block}")
    places = [grid.reshape(-1) for grid in np.meshgrid(*(np.arange(spot.size) for spot in spots), indexing="ij")]
    where = [spot.reshape(-1)[place] for spot, place in zip(spots, places, strict=True)]
    inside = np.all([(spot >= 0) & (spot < size) for spot, size in zip(where, image, strict=True)], axis=0)
    sizes = [spot.shape for spot in spots]
    blocks = [place // size[1] for place, size in zip(places, sizes, strict=True)]
    numbers = [place % size[1] for place, size in zip(places, sizes, strict=True)]
    source = np.ravel_multi_index(blocks, block) * columns + np.ravel_multi_index(numbers, [size[1] for size in sizes])
    target = np.ravel_multi_index([spot[inside] for spot in where], image)
    rows = (np.arange(depth)[:, None] * int(np.prod(image)) + target).reshape(-1)
    cols = (np.arange(depth)[:, None] * area * columns + source[inside]).reshape(-1)
    order = np.lexsort((cols, rows))
    operands = [constant(call, x, "weight", np.ones(len(rows)))]
    operands += [call.constant(f"{call.name()}.{name}", array[order]) for name, array in (("rows", rows), ("cols", cols))]
    return [call.emit(SparseLinear((depth, *image)), x, *operands)]
