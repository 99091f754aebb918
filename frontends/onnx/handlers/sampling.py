"""Sampling at known places (`snnir.ir.lowering.sampling`); the weights are asked of ONNX's reference evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import real, reshaped, spread_from
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


@handler("RoiAlign", "sparse_linear", "reshape")
def roi_align(call: Call) -> list[Result]:
    """Known boxes and averages (mode avg), in a model of a fixed batch: boxes choose among the samples."""
    x = real(call, 0)
    boxes, chosen = call.known(1, "the boxes").astype(np.float32), call.known(2, "the samples of the boxes").astype(np.int64)
    if call.word("mode", "avg") != "avg":
        raise RefusalError("mode max takes the largest of weighted elements; supported is avg")
    samples, channels, *sizes = call.static(x.type.shape, "boxes that choose among samples")
    count = int(np.prod(sizes))
    images = units(tuple(sizes), len(boxes) * call.integer("output_height", 1) * call.integer("output_width", 1))
    response = _respond(call, {"x": images, "boxes": boxes, "samples": np.zeros(len(boxes), np.int64)})
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
    found = sparse(call, whole, np.concatenate(rows), np.concatenate(cols), np.concatenate(weights), flat)
    return [reshaped(call, found, (len(boxes), channels, *places))]
