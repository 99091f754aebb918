"""What `linear` and `conv` get and give at some places, as rows of matrices: calibration data for fitting weights."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from snnir.errors import GraphError
from snnir.ir import Op
from snnir.ir.dims import concrete
from snnir.ir.ops import Conv, Linear
from snnir.ir.ops.rules import pad_amounts, window_size

__all__ = ["layer_inputs", "layer_outputs"]


def layer_inputs(op: Op, x: np.ndarray, weight: tuple[int, ...], most: int) -> np.ndarray:
    """Inputs at up to `most` places, evenly spaced over samples and positions: `[groups, places, inputs]`, of the dtype of x.

    `weight` is the shape of the weight.
    """
    if isinstance(op, Linear):
        flat = x.reshape(-1, x.shape[-1])
        return np.asarray(flat[_chosen(len(flat), most)][np.newaxis])
    if not isinstance(op, Conv):
        raise GraphError(f"op {op.name} has no layer inputs; only linear and conv have")
    spatial, kernel = x.ndim - 2, weight[2:]
    pads = pad_amounts(op.padding, spatial)
    places = [
        concrete(window_size(size, kernel[axis], op.stride[axis], op.dilation[axis], pads[axis]))
        for axis, size in enumerate(x.shape[2:])
    ]
    chosen = _chosen(x.shape[0] * int(np.prod(places)), most)
    batch, *where = np.unravel_index(chosen, (x.shape[0], *places))
    if any(op.padding):
        x = np.pad(x, [(0, 0), (0, 0), *pads])
    span = tuple(op.dilation[axis] * (kernel[axis] - 1) + 1 for axis in range(spatial))
    windows = sliding_window_view(x, span, axis=tuple(range(2, x.ndim)))
    windows = windows[(*[slice(None)] * (2 + spatial), *(slice(None, None, step) for step in op.dilation))]
    corners = tuple(place * step for place, step in zip(where, op.stride, strict=True))
    taken = np.moveaxis(windows, 1, 1 + spatial)[(batch, *corners)]
    return np.asarray(taken.reshape(len(chosen), op.groups, -1).transpose(1, 0, 2))


def layer_outputs(op: Op, y: np.ndarray, groups: int, most: int) -> np.ndarray:
    """Outputs at the same places: `[groups, places, outputs]`."""
    if isinstance(op, Linear):
        flat = y.reshape(-1, y.shape[-1])
        return np.asarray(flat[_chosen(len(flat), most)][np.newaxis])
    flat = np.moveaxis(y, 1, -1).reshape(-1, y.shape[1])
    chosen = _chosen(len(flat), most)
    return np.asarray(flat[chosen].reshape(len(chosen), groups, -1).transpose(1, 0, 2))


def _chosen(count: int, most: int) -> np.ndarray:
    return np.asarray(np.unique(np.linspace(0, count - 1, max(min(count, most), 1)).astype(np.int64)))
