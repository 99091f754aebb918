"""Sampling at known places: a sum over elements with known weights, so a linear map.

A frontend computes the weights: its model's own response to each element of an image, all of them at once as channels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from snnir.ir.dims import concrete, product
from snnir.ir.graph import Value
from snnir.ir.lowering.builder import Builder, RefusalError
from snnir.ir.lowering.compose import constant, reshaped, static
from snnir.ir.ops import Linear, SparseLinear

__all__ = ["grid_of", "sampled", "sparse", "units"]

LARGEST = 1 << 26
"""Numbers that the responses to all elements may hold."""


def units(sizes: tuple[int, ...], results: int) -> np.ndarray:
    """Every unit element of an image, float32, as the channels of one image. Raises `RefusalError` where the `results` numbers
    that each element gives are too many.
    """
    count = int(np.prod(sizes))
    if count * results > LARGEST:
        raise RefusalError(f"the responses to all elements are {count * results} numbers; supported are {LARGEST}")
    return np.eye(count, dtype=np.float32).reshape(1, count, *sizes)


def sparse(call: Builder, x: Value, rows: np.ndarray, cols: np.ndarray, weights: np.ndarray, shape: tuple[int, ...]) -> Value:
    """The linear map of samples of `x` to `shape` with these entries, in any order."""
    order = np.lexsort((cols, rows))
    weight = constant(call, x, "weight", weights[order])
    places = (call.array(name, array[order].astype(np.int64)) for name, array in (("rows", rows), ("cols", cols)))
    return call.emit(SparseLinear(shape), x, weight, *places, label="sampled")


def _mapped(call: Builder, x: Value, maps: np.ndarray, channels: int, shape: tuple[int, ...]) -> Value:
    """`maps` [samples, out, in] applied to the positions of each channel; samples stay apart where there is one map."""
    rows, cols, weights = [], [], []
    outputs, inputs = maps.shape[1:]
    for sample, matrix in enumerate(maps):
        row, col = np.nonzero(matrix)
        for channel in range(channels):
            place = sample * channels + channel
            rows.append(place * outputs + row)
            cols.append(place * inputs + col)
            weights.append(matrix[row, col])
    return sparse(call, x, np.concatenate(rows), np.concatenate(cols), np.concatenate(weights), shape)


def sampled(call: Builder, x: Value, grid: np.ndarray, respond: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Value:
    """`x` [N, C, ...] at the places of `grid` [samples, ..., axes]; `respond` samples one image at one grid.

    A grid that is the same for all samples takes any batch. Raises `RefusalError` for open sizes, or another batch than the
    grid's.
    """
    channels, *sizes = static(x.type.shape[1:], "sampling")
    count, places = int(np.prod(sizes)), grid.shape[1:-1]
    alike = bool((grid == grid[:1]).all())
    samples = 1 if alike else len(grid)
    images = units(tuple(sizes), samples * int(np.prod(places)))
    maps = np.stack([respond(images, grid[n : n + 1])[0].reshape(count, -1).T for n in range(samples)])
    shape = (channels, *places)
    if alike:
        return reshaped(call, _mapped(call, x, maps, channels, shape), (x.type.shape[0], *shape))
    if x.type.shape[0] != len(grid):
        raise RefusalError(f"its grid differs from sample to sample of {len(grid)}, and the batch is {x.type.shape[0]}")
    whole = reshaped(call, x, (1, product(x.type.shape)), "whole")
    found = _mapped(call, whole, maps, channels, (len(grid) * int(np.prod(shape)),))
    return reshaped(call, found, (len(grid), *shape))


def grid_of(call: Builder, theta: Value, places: int, respond: Callable[[np.ndarray], np.ndarray]) -> Value:
    """The affine grids of matrices `theta` [N, axes, axes + 1], of `places` places: linear in the matrices. `respond` gives the
    grids of known ones.
    """
    entries = concrete(product(theta.type.shape[1:]))
    shape = static(theta.type.shape[1:], "an affine grid")
    response = respond(units(shape, entries * places).reshape(entries, *shape))
    flat = reshaped(call, theta, (theta.type.shape[0], entries), "flat")
    matrix = constant(call, theta, "matrix", response.reshape(entries, -1).T)
    return reshaped(call, call.emit(Linear(), flat, matrix, label="grid"), (theta.type.shape[0], *response.shape[1:]))
