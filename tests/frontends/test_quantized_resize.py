"""Resize of the integers of a quantized model: ONNX Runtime cuts off what follows the point, whatever the zero point."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import snnir
from snnir.compiler.quantized_models import compare_with_runtime
from snnir.frontends.onnx import import_onnx


def _model(dtype: type[np.integer[Any]], zero: int, scales: tuple[float, ...], mode: str, way: str) -> onnx.ModelProto:
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"], "in"),
        node("Transpose", ["q"], ["t"], "turned", perm=[0, 1, 3, 2]),
        node("Resize", ["t", "", "scales"], ["r"], "resize", mode=mode, coordinate_transformation_mode=way),
        node("DequantizeLinear", ["r", "s", "z"], ["d"], "real"),
        node("Conv", ["d", "w"], ["c"], "conv"),
        node("QuantizeLinear", ["c", "cs", "z"], ["cq"], "sum"),
        node("DequantizeLinear", ["cq", "cs", "z"], ["y"], "out"),
    ]
    given = {
        "s": np.array(0.5, np.float32),
        "z": np.array(zero, dtype),
        "cs": np.array(0.75, np.float32),
        "scales": np.array([1, 1, *scales], np.float32),
        "w": np.array([[0.5, -0.25], [1, 0.125]], np.float32).reshape(2, 2, 1, 1),
    }
    constants = [numpy_helper.from_array(array, name) for name, array in given.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 4, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2, "h", "w"])
    graph = helper.make_graph(nodes, "resize", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("mode", "scales", "way"),
    [("linear", (2, 2), "half_pixel"), ("linear", (1, 3), "align_corners"), ("nearest", (2, 3), "asymmetric")],
)
@pytest.mark.parametrize(("dtype", "zero"), [(np.uint8, 0), (np.uint8, 131), (np.int8, 0), (np.int8, -7), (np.int8, 8)])
def test_integers_are_cut_off_as_onnx_runtime_does(
    dtype: type[np.integer[Any]], zero: int, mode: str, scales: tuple[float, ...], way: str
) -> None:
    model = _model(dtype, zero, scales, mode, way)
    ends = np.iinfo(dtype)
    integers = np.random.default_rng(0).integers(ends.min, ends.max + 1, (16, 2, 4, 3))
    x = ((integers - zero) * 0.5).astype(np.float32)
    counts, _ = compare_with_runtime(model, import_onnx(model), {"x": x})
    assert {item.name for item in counts} >= {"q", "cq"}
    assert sum(item.alone for item in counts) == 0
    if scales == (2, 2) and way != "align_corners":  # whose weights float32 holds
        assert all(item.differ == 0 for item in counts)
    program = snnir.compile(model)  # no value is left to calibrate
    assert program.verify(x[:4]).ok
