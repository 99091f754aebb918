"""Features of ai.onnx.ml: categories and missing values, against ONNX Runtime and as spikes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

import snnir
from snnir.errors import UnsupportedError
from snnir.frontends.onnx import import_onnx, run_onnxruntime
from snnir.ir.execute import execute

RNG = np.random.default_rng(0)


def model_of(operator: str, width: int, shape: list[str | int], **attributes: Any) -> ModelProto:
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"], domain="ai.onnx.ml", **attributes)],
        "features",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8
    )


def test_categories_become_vectors() -> None:
    model = model_of("OneHotEncoder", 2, ["N", 2, 3], cats_int64s=[1, 4, 2])
    x = RNG.integers(0, 5, (12, 2)).astype(np.float32)
    np.testing.assert_array_equal(execute(import_onnx(model), {"x": x})["y"], run_onnxruntime(model, {"x": x})["y"])
    assert snnir.compile(model, calibration=x).verify(x).ok
    with pytest.raises(UnsupportedError, match="its categories are words"):
        import_onnx(model_of("OneHotEncoder", 2, ["N", 2, 1], cats_strings=["a"]))
    with pytest.raises(UnsupportedError, match="zeros=0"):
        import_onnx(model_of("OneHotEncoder", 2, ["N", 2, 1], cats_int64s=[1], zeros=0))


@pytest.mark.parametrize("missing", [-1.0, float("nan")])
@pytest.mark.parametrize("imputed", [[5.0], [5.0, 6.0, 7.0]])
def test_missing_values_are_replaced(missing: float, imputed: list[float]) -> None:
    model = model_of("Imputer", 3, ["N", 3], replaced_value_float=missing, imputed_value_floats=imputed)
    x = RNG.normal(size=(12, 3)).astype(np.float32)
    x[RNG.random(x.shape) < 0.3] = -1
    np.testing.assert_allclose(execute(import_onnx(model), {"x": x})["y"], run_onnxruntime(model, {"x": x})["y"], rtol=1e-6)
    assert snnir.compile(model, calibration=x).verify(x).ok
