"""The comparison of an import with the model itself: small outputs count, what float32 rounds does not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

import snnir
import snnir.compiler.importing
from snnir.errors import ImportMismatchError
from tests.models import model_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 6)).astype(np.float32)


def layer(scale: float, *nodes: onnx.NodeProto, bias: float = 0.0, last: str = "y") -> onnx.ModelProto:
    arrays = {
        "w": (RNG.normal(size=(6, 4)) * scale).astype(np.float32),
        "b": np.full(4, bias, np.float32),
    }
    return model_of([helper.make_node("Gemm", ["x", "w", "b"], [last], "layer"), *nodes], ["N", 6], arrays)


@pytest.mark.parametrize("scale", [1e-12, 1e-9, 1e-6, 1e-3, 1.0, 1e6])
def test_a_wrong_import_is_told_however_small_the_output(scale: float) -> None:
    model = layer(scale)
    assert snnir.compiler.importing.check_import(model, snnir.import_model(model), {"x": X}) < 1e-5
    wrong = layer(scale)
    with pytest.raises(ImportMismatchError, match="output y"):
        snnir.compiler.importing.check_import(model, snnir.import_model(wrong), {"x": X})


@pytest.mark.parametrize("bias", [-3.0, -12.0, -15.0])
def test_a_sigmoid_far_below_zero_is_off_by_the_rounding_of_numbers_near_one(bias: float) -> None:
    model = layer(0.1, helper.make_node("Sigmoid", ["a"], ["y"]), bias=bias, last="a")
    assert snnir.compiler.importing.check_import(model, snnir.import_model(model), {"x": X}) < 1e-4


@pytest.mark.parametrize("large", [1.0, 1e3, 1e6])
def test_what_is_left_of_large_numbers_is_off_by_their_rounding(large: float) -> None:
    arrays = {"w": RNG.normal(size=(6, 4)).astype(np.float32), "c": np.array([large], np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Add", ["a", "c"], ["b"]),
        helper.make_node("Sub", ["b", "c"], ["d"]),
        helper.make_node("Sub", ["d", "a"], ["y"]),
    ]
    model = model_of(nodes, ["N", 6], arrays)
    assert snnir.compiler.importing.check_import(model, snnir.import_model(model), {"x": X}) <= 1e-4
