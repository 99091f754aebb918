"""Indices of max pools, and boxes whose largest weighted element counts: what ONNX Runtime computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import snnir
from snnir.errors import UnsupportedError
from snnir.frontends.onnx import import_onnx, run_onnxruntime
from snnir.ir.execute import execute


def pooled(shape: list[int | str], **attributes: Any) -> onnx.ModelProto:
    pool = helper.make_node("MaxPool", ["r"], ["y", "places"], "pool", **attributes)
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["r"], "relu"), pool],
        "pool",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info(name, kind, [None] * len(shape))
            for name, kind in (("y", TensorProto.FLOAT), ("places", TensorProto.INT64))
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_indices_of_a_max_pool(axes: int, order: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes, kernel = rng.integers(4, 7, axes).tolist(), rng.integers(1, 4, axes)
    x = np.round(rng.normal(size=(2, 3, *sizes)), 1).astype(np.float32)  # so that some windows hold equal elements
    model = pooled(
        [2, 3, *sizes],
        kernel_shape=kernel.tolist(),
        strides=rng.integers(1, 3, axes).tolist(),
        pads=[*(kernel // 2).tolist(), *((kernel - 1) // 2).tolist()],
        storage_order=order,
    )
    ours, theirs = execute(import_onnx(model, batch=False), {"x": x}), run_onnxruntime(model, {"x": x})
    for name, expected in theirs.items():
        np.testing.assert_array_equal(ours[name], expected)


def test_indices_of_a_network_are_the_hosts() -> None:
    x = np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype(np.float32)
    program = snnir.compile(pooled([1, 2, 4, 4], kernel_shape=[2, 2], strides=[2, 2]), calibration=x)
    assert program.verify(x).ok
    assert program.run(x).outputs["places"].dtype == np.int64
    assert "MaxPool pool" in str(program.facts["host_nodes"])


def test_indices_through_an_open_batch_are_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"pool \(MaxPool\): the Indices output, which counts through all samples, needs"):
        import_onnx(pooled(["N", 2, 4, 4], kernel_shape=[2, 2]))


@pytest.mark.parametrize("seed", range(12))
def test_boxes_of_which_the_largest_weighted_element_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples, channels, height, width = (int(size) for size in rng.integers((1, 1, 3, 3), (3, 3, 8, 8)))
    count = int(rng.integers(1, 4))
    corner = rng.uniform(-2, 9, (count, 2))
    known: dict[str, np.ndarray] = {
        "boxes": np.concatenate([corner, corner + rng.uniform(0.5, 7, (count, 2))], axis=1).astype(np.float32),
        "which": rng.integers(0, samples, count),
    }
    node = helper.make_node(
        "RoiAlign",
        ["x", "boxes", "which"],
        ["y"],
        mode="max",
        output_height=int(rng.integers(1, 4)),
        output_width=int(rng.integers(1, 4)),
        sampling_ratio=int(rng.integers(0, 3)),
        spatial_scale=float(rng.choice([1.0, 0.5])),
        coordinate_transformation_mode=("half_pixel", "output_half_pixel")[seed % 2],
    )
    graph = helper.make_graph(
        [node],
        "boxes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [samples, channels, height, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        [onnx.numpy_helper.from_array(array, name) for name, array in known.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    x = rng.normal(size=(samples, channels, height, width)).astype(np.float32)
    found = execute(import_onnx(model, batch=False), {"x": x})["y"]
    np.testing.assert_allclose(found, run_onnxruntime(model, {"x": x})["y"], atol=1e-5)
    assert snnir.compile(model, calibration=x).verify(x).ok
