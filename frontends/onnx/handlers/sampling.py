"""Sampling at known places (`snnir.ir.lowering.sampling`); the weights are asked of ONNX's reference evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import largest_over, real, reshaped, spread_from
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir.lowering.sampling import grid_of, sampled, sparse, units

__all__: list[str] = []


def _respond(call: Call, operands: dict[str, np.ndarray]) -> np.ndarray:
    """What the node gives for other operands."""
    from onnx.reference import ReferenceEvaluator

    node = onnx.NodeProto()
    node.CopyFrom(call.node)
    for attribute in node.attribute:
        if attribute.s in (b"bilinear", b"bicubic"):  # names of opset 16, which the evaluator does not know
            attribute.s = attribute.s.removeprefix(b"bi")
    del node.input[:], node.output[1:]
    node.input.extend(operands)
    infos = [onnx.helper.make_empty_tensor_value_info(name) for name in (*operands, node.output[0])]
    graph = onnx.helper.make_graph([node], "response", infos[:-1], infos[-1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", call.opset)])
    found: Any = ReferenceEvaluator(model).run(None, operands)
    return np.asarray(found[0], np.float64)


@handler("GridSample", "sparse_linear", "reshape")
def grid_sample(call: Call) -> list[Result]:
    """A known grid: each result is a sum with known weights, in every mode."""
    x, grid = real(call, 0), spread_from(call.operands[1])
    if not isinstance(grid, np.ndarray) or grid.shape[1:] != call.type(1).shape[1:]:
        raise RefusalError("the grid changes with the input; it must be constant")
    return [sampled(call, x, grid.astype(np.float32), lambda images, one: _respond(call, {"x": images, "grid": one}))]


@handler("AffineGrid", "linear", "reshape")
def affine_grid(call: Call) -> list[Result]:
    """A known size: the grid is a linear map of the matrices."""
    theta, size = real(call, 0), call.known_integers(1, "the size")

    def respond(known: np.ndarray) -> np.ndarray:
        return _respond(call, {"theta": known, "size": np.array([len(known), *size[1:]], np.int64)})

    return [grid_of(call, theta, int(np.prod(size[2:])), respond)]


@handler("RoiAlign", "sparse_linear", "max_pool", "reshape")
def roi_align(call: Call) -> list[Result]:
    """Known boxes, in a model of a fixed batch: boxes choose among the samples. Means (mode avg) are sums with known weights;
    mode max is the largest of weighted elements.
    """
    x = real(call, 0)
    boxes, chosen = call.known(1, "the boxes").astype(np.float32), call.known(2, "the samples of the boxes").astype(np.int64)
    samples, channels, *sizes = call.static(x.type.shape, "boxes that choose among samples")
    places, count = (call.integer("output_height", 1), call.integer("output_width", 1)), int(np.prod(sizes))
    mode = call.word("mode", "avg")
    if mode not in ("avg", "max"):
        raise RefusalError(f"mode {mode} is not one of avg and max")
    each, terms = (_means if mode == "avg" else _largest)(call, boxes, tuple(sizes), places)
    outputs = int(np.prod(places)) * terms
    rows, cols, weights = [], [], []
    for box, (row, col, weight) in enumerate(each):
        for channel in range(channels):
            rows.append((box * channels + channel) * outputs + row)
            cols.append((int(chosen[box]) * channels + channel) * count + col)
            weights.append(weight)
    whole = reshaped(call, x, (1, samples * channels * count), "whole")
    flat = (len(boxes) * channels * outputs,)
    found = sparse(call, whole, np.concatenate(rows), np.concatenate(cols), np.concatenate(weights), flat)
    if terms > 1:
        stacked = reshaped(call, found, (1, flat[0] // terms, terms), "terms")
        found = largest_over(call, stacked, (2,), False, "largest")
    return [reshaped(call, found, (len(boxes), channels, *places))]


_Entries = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Rows, columns and weights of a matrix."""


def _means(call: Call, boxes: np.ndarray, sizes: tuple[int, ...], places: tuple[int, int]) -> tuple[list[_Entries], int]:
    """For each box the matrix from an image to its results, and how many rows each result has."""
    count = int(np.prod(sizes))
    images = units(sizes, len(boxes) * int(np.prod(places)))
    response = _respond(call, {"x": images, "boxes": boxes, "samples": np.zeros(len(boxes), np.int64)})
    found = []
    for matrix in response.reshape(len(boxes), count, -1):
        col, row = np.nonzero(matrix)
        found.append((row, col, matrix[col, row]))
    return found, 1


def _largest(call: Call, boxes: np.ndarray, sizes: tuple[int, ...], places: tuple[int, int]) -> tuple[list[_Entries], int]:
    """The same, with a row for each of the weighted elements of which the result is the largest; results with fewer repeat one.

    At each sampled point these are the four elements around it, each times its bilinear weight, as ONNX Runtime and ONNX's
    reference evaluator have it; beyond the image they are 0.
    """
    outputs, scale = int(np.prod(places)), np.float32(call.number("spatial_scale", 1.0))
    half = call.word("coordinate_transformation_mode", "half_pixel" if call.opset >= 16 else "output_half_pixel") == "half_pixel"
    ratio = call.integer("sampling_ratio", 0)
    terms: list[list[list[tuple[int, float]]]] = []
    for left, top, right, bottom in boxes * scale - np.float32(0.5 if half else 0):
        lines = []
        for start, end, size, cells in ((top, bottom, sizes[0], places[0]), (left, right, sizes[1], places[1])):
            length = end - start if half else max(end - start, np.float32(1))
            points = ratio if ratio > 0 else int(np.ceil(length / cells))
            steps = np.float32(length / cells)
            lines.append(
                [
                    [_around(start + cell * steps + np.float32(point + 0.5) * steps / points, size) for point in range(points)]
                    for cell in range(cells)
                ]
            )
        terms.append([_corners(rows, columns, sizes[1]) for rows in lines[0] for columns in lines[1]])
    most = max((len(cell) for box in terms for cell in box), default=1)
    found = []
    for box in terms:
        padded = [cell + cell[:1] * (most - len(cell)) for cell in box]
        matrix = np.array([term for cell in padded for term in cell]).reshape(outputs * most, 2)
        kept = np.flatnonzero(matrix[:, 1])
        found.append((kept, matrix[kept, 0].astype(np.int64), matrix[kept, 1]))
    return found, most


def _around(place: np.float32, size: int) -> tuple[tuple[int, float], tuple[int, float]]:
    """The two elements around a place along one axis, and their weights; 0 for both beyond the axis."""
    if place < -1 or place > size:
        return (0, 0.0), (0, 0.0)
    place = max(place, np.float32(0))
    low = int(place)
    if low >= size - 1:
        return (size - 1, 1.0), (size - 1, 0.0)
    return (low, float(1 - (place - low))), (low + 1, float(place - low))


def _corners(rows: list[Any], columns: list[Any], width: int) -> list[tuple[int, float]]:
    """Every different (element, weight) of a cell; those of weight 0 as one."""
    found: dict[tuple[int, float], None] = {}
    for row in rows:
        for column in columns:
            for (y, down), (x, across) in ((first, second) for first in row for second in column):
                weight = float(np.float32(down) * np.float32(across))
                found[(y * width + x, weight) if weight else (0, 0.0)] = None
    return list(found)
