"""Chains of NIR layers as synapses of a spiking graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from snnir.backends.nir.library import NirNode
from snnir.ir.dims import BATCH, concrete, dim
from snnir.ir.graph import Graph, Value
from snnir.ir.ops import Conv, Dense, Diagonal, Reshape, Sparse

__all__ = ["add_synapse", "pair"]


def add_synapse(graph: Graph, emitter: Value, layers: Sequence[NirNode], shape: tuple[int, ...], name: str) -> Value:
    """The current from `emitter` through `layers` into a population whose sample has `shape`.

    A matrix between populations of more than one axis is a list of synapses. Raises `ValueError` for layers that are no
    synapse, weights that are no integers, and currents of another shape.
    """
    kinds = [type(layer).__name__ for layer in layers]
    weighted = [layer for layer, kind in zip(layers, kinds, strict=True) if kind != "Flatten"]
    if len(weighted) != 1:
        raise ValueError(f"expected one layer of weights, perhaps with Flatten, found {', '.join(kinds) or 'none'}")
    layer, kind = weighted[0], type(weighted[0]).__name__
    sample = tuple(concrete(size) for size in emitter.type.shape[1:])
    if kind == "Linear":
        current = _matrix(graph, emitter, sample, _integers(layer.weight), shape, name)
    elif kind == "Scale":
        spikes = emitter if sample == shape else graph.add1(Reshape((dim(BATCH), *shape)), emitter, name=f"{name}.spikes")
        weight = graph.constant(f"{name}.weight", _integers(layer.scale).reshape(shape))
        current = graph.add1(Diagonal(), spikes, weight, name=f"{name}.current")
    elif kind in ("Conv1d", "Conv2d"):
        if np.any(layer.bias) or int(layer.groups) != 1 or isinstance(layer.padding, str):
            raise ValueError("a convolution here has no bias, one group and numbers for its padding")
        spatial = 1 if kind == "Conv1d" else 2
        stride, padding, dilation = (pair(option, spatial) for option in (layer.stride, layer.padding, layer.dilation))
        weight = graph.constant(f"{name}.weight", _integers(layer.weight))
        current = graph.add1(Conv(stride, (*padding, *padding), dilation), emitter, weight, name=f"{name}.current")
    else:
        raise ValueError(f"{kind} is no synapse")
    if tuple(current.type.shape[1:]) != shape:
        raise ValueError(f"they give {current.type}, but the population has the shape {list(shape)}")
    return current


def _matrix(
    graph: Graph, emitter: Value, sample: tuple[int, ...], weight: np.ndarray, shape: tuple[int, ...], name: str
) -> Value:
    inputs = math.prod(sample)
    if weight.ndim > 2:  # one matrix for each place, all alike
        first = weight.reshape(-1, *weight.shape[-2:])[0]
        if (weight != first).any():
            raise ValueError("matrices that differ from place to place are no dense layer")
        return graph.add1(Dense(), emitter, graph.constant(f"{name}.weight", first), name=f"{name}.current")
    if weight.shape != (math.prod(shape), inputs):
        raise ValueError(f"a matrix of {list(weight.shape)} between {inputs} and {math.prod(shape)} neurons")
    if len(shape) == 1:
        spikes = emitter
        if len(sample) != 1:
            spikes = graph.add1(Reshape((dim(BATCH), inputs)), emitter, name=f"{name}.spikes")
        return graph.add1(Dense(), spikes, graph.constant(f"{name}.weight", weight), name=f"{name}.current")
    rows, columns = np.nonzero(weight)
    lists = [("weight", weight[rows, columns]), ("rows", rows.astype(np.int64)), ("columns", columns.astype(np.int64))]
    constants = [graph.constant(f"{name}.{what}", array) for what, array in lists]
    return graph.add1(Sparse(shape), emitter, *constants, name=f"{name}.current")


def pair(option: Any, spatial: int) -> tuple[int, ...]:
    """A stride, padding or dilation as one number for each axis."""
    values = np.atleast_1d(np.asarray(option)).astype(np.int64).tolist()
    return tuple(values if len(values) == spatial else values * spatial)


def _integers(array: np.ndarray) -> np.ndarray:
    wide = np.asarray(array, np.float64)
    if not np.isfinite(wide).all() or (wide != np.floor(wide)).any() or np.abs(wide).max(initial=0) >= 2**31:
        raise ValueError("a weight is no integer of 32 bits")
    least = np.int8 if np.abs(wide).max(initial=0) < 128 else np.int16 if np.abs(wide).max(initial=0) < 1 << 15 else np.int32
    return wide.astype(least)
