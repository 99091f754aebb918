"""Sampling at known places: a sum over elements with known weights, so a linear map.

The weights are asked of ONNX's reference evaluator: its response to each element, all of them at once as channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import constant, real, reshaped
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Value
from snnir.ir.dims import product
from snnir.ir.ops import Linear, SparseLinear

__all__: list[str] = []

LARGEST = 1 << 26
"""Numbers that the responses to all elements may hold."""


def _respond(call: Call, operands: dict[str, np.ndarray]) -> np.ndarray:
    """What the node gives for other operands."""
    from onnx.reference import ReferenceEvaluator

    node = onnx.NodeProto()
    node.CopyFrom(call.node)
    del node.input[:], node.output[1:]
    node.input.extend(operands)
    infos = [onnx.helper.make_empty_tensor_value_info(name) for name in (*operands, node.output[0])]
    graph = onnx.helper.make_graph([node], "response", infos[:-1], infos[-1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", call.opset)])
    found: Any = ReferenceEvaluator(model).run(None, operands)
    return np.asarray(found[0], np.float64)


def _units(sizes: tuple[int, ...]) -> np.ndarray:
    """Every unit element of an image, as the channels of one image."""
    count = int(np.prod(sizes))
    return np.eye(count, dtype=np.float32).reshape(1, count, *sizes)


def _mapped(call: Call, x: Value, maps: np.ndarray, channels: int, shape: tuple[int, ...]) -> Value:
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
    return _sparse(call, x, np.concatenate(rows), np.concatenate(cols), np.concatenate(weights), shape)


def _sparse(call: Call, x: Value, rows: np.ndarray, cols: np.ndarray, weights: np.ndarray, shape: tuple[int, ...]) -> Value:
    order = np.lexsort((cols, rows))
    weight = constant(call, x, "weight", weights[order])
    places = (call.array(name, array[order].astype(np.int64)) for name, array in (("rows", rows), ("cols", cols)))
    return call.emit(SparseLinear(shape), x, weight, *places, label="sampled")


def _checked(count: int) -> None:
    if count > LARGEST:
        raise RefusalError(f"the responses to all elements are {count} numbers; supported are {LARGEST}")


@handler("GridSample", "sparse_linear", "reshape")
def grid_sample(call: Call) -> list[Result]:
    """A known grid: each result is a sum with known weights, in every mode."""
    x, grid = real(call, 0), call.known(1, "the grid").astype(np.float32)
    channels, *sizes = call.static(x.type.shape[1:], "sampling")
    count, places = int(np.prod(sizes)), grid.shape[1:-1]
    alike = bool((grid == grid[:1]).all())
    samples = 1 if alike else len(grid)
    _checked(samples * count * int(np.prod(places)))
    units = _units(tuple(sizes))
    maps = np.stack([_respond(call, {"x": units, "grid": grid[n : n + 1]})[0].reshape(count, -1).T for n in range(samples)])
    shape = (channels, *places)
    if alike:
        return [reshaped(call, _mapped(call, x, maps, channels, shape), (x.type.shape[0], *shape))]
    if x.type.shape[0] != len(grid):
        raise RefusalError(f"its grid differs from sample to sample of {len(grid)}, and the batch is {x.type.shape[0]}")
    whole = reshaped(call, x, (1, product(x.type.shape)), "whole")
    found = _mapped(call, whole, maps, channels, (len(grid) * int(np.prod(shape)),))
    return [reshaped(call, found, (len(grid), *shape))]


@handler("AffineGrid", "linear", "reshape")
def affine_grid(call: Call) -> list[Result]:
    """A known size: the grid is a linear map of the matrices."""
    theta, size = real(call, 0), call.known_integers(1, "the size")
    entries = int(str(product(theta.type.shape[1:])))
    _checked(entries * entries * int(np.prod(size[2:])))
    units = np.eye(entries, dtype=np.float32).reshape(entries, *call.static(theta.type.shape[1:], "an affine grid"))
    response = _respond(call, {"theta": units, "size": np.array([entries, *size[1:]], np.int64)})
    flat = reshaped(call, theta, (theta.type.shape[0], entries), "flat")
    matrix = constant(call, theta, "matrix", response.reshape(entries, -1).T)
    return [reshaped(call, call.emit(Linear(), flat, matrix, label="grid"), (theta.type.shape[0], *response.shape[1:]))]


@handler("RoiAlign", "sparse_linear", "reshape")
def roi_align(call: Call) -> list[Result]:
    """Known boxes and averages (mode avg), in a model of a fixed batch: boxes choose among the samples."""
    x = real(call, 0)
    boxes, chosen = call.known(1, "the boxes").astype(np.float32), call.known(2, "the samples of the boxes").astype(np.int64)
    if call.word("mode", "avg") != "avg":
        raise RefusalError("mode max takes the largest of weighted elements; supported is avg")
    samples, channels, *sizes = call.static(x.type.shape, "boxes that choose among samples")
    count = int(np.prod(sizes))
    _checked(len(boxes) * count * call.integer("output_height", 1) * call.integer("output_width", 1))
    response = _respond(call, {"x": _units(tuple(sizes)), "boxes": boxes, "samples": np.zeros(len(boxes), np.int64)})
    places = response.shape[2:]
    outputs = int(np.prod(places))
    rows, cols, weights = [], [], []
    for box, matrix in enumerate(response.reshape(len(boxes), count, outputs)):
        col, row = np.nonzero(matrix)
        for channel in range(channels):
            rows.append((box * channels + channel) * outputs + row)
            cols.append((int(chosen[box]) * channels + channel) * count + col)
            weights.append(matrix[col, row])
    whole = reshaped(call, x, (1, samples * channels * count), "whole")
    flat = (len(boxes) * channels * outputs,)
    found = _sparse(call, whole, np.concatenate(rows), np.concatenate(cols), np.concatenate(weights), flat)
    return [reshaped(call, found, (len(boxes), channels, *places))]
