"""Batches sorted by length and unsorted again, as `pack_padded_sequence(enforce_sorted=False)` exports them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import snnir
from snnir.errors import UnsupportedError
from snnir.frontends.onnx.sorted_batches import in_given_order

RNG = np.random.default_rng(0)


def packed(unsorted: bool = True) -> onnx.ModelProto:
    """An LSTM behind TopK and Gather; its sequence perhaps in the order of the input again."""
    node = helper.make_node
    nodes = [
        node("Shape", ["n"], ["shape"]),
        node("Gather", ["shape", "zero"], ["count"]),
        node("TopK", ["n", "count"], ["lengths", "order"], "sort", axis=-1),
        node("Cast", ["order"], ["places"], to=TensorProto.INT64),
        node("Gather", ["x", "places"], ["s"], axis=0),
        node("Transpose", ["s"], ["t"], perm=[1, 0, 2]),
        node("Cast", ["lengths"], ["l"], to=TensorProto.INT32),
        node("Shape", ["places"], ["size"]),
        node("ReduceProd", ["size"], ["samples"], keepdims=0),
        node("Range", ["start", "samples", "step"], ["counted"]),
        node("ConstantOfShape", ["size"], ["zeros"], value=numpy_helper.from_array(np.array([0]))),
        node("ScatterElements", ["zeros", "places", "counted"], ["back"], axis=0),
        node("LSTM", ["t", "W", "R", "", "l"], ["Y"], "lstm", hidden_size=4),
        node("Squeeze", ["Y", "axis"], ["q"]),
        node("Transpose", ["q"], ["u"], perm=[1, 0, 2]),
        *([node("Gather", ["u", "back"], ["g"], axis=0)] if unsorted else [node("Identity", ["u"], ["g"])]),
        node("MatMul", ["g", "V"], ["y"]),
    ]
    arrays = {
        "W": RNG.normal(size=(1, 16, 3)).astype(np.float32),
        "R": RNG.normal(size=(1, 16, 4)).astype(np.float32) * 0.5,
        "V": RNG.normal(size=(4, 2)).astype(np.float32),
        "zero": np.array([0]),
        "axis": np.array([1]),
        "start": np.array(0),
        "step": np.array(1),
    }
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "T", 3])
    n = helper.make_tensor_value_info("n", TensorProto.INT64, ["N"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 3)
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "packed", [x, n], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_samples_stay_in_the_order_in_which_they_came() -> None:
    data: dict[str, np.ndarray] = {"x": RNG.normal(size=(9, 6, 3)).astype(np.float32), "n": RNG.integers(1, 7, size=9)}
    program = snnir.compile(packed(), calibration=data, bits=6)  # compares with ONNX Runtime, which sorts
    assert program.verify(data).ok
    assert not {node.op_type for node in in_given_order(packed()).graph.node} & {"TopK", "ScatterElements", "Range"}


def test_what_leaves_the_model_sorted_is_refused() -> None:
    model = packed(unsorted=False)
    assert in_given_order(model) is model
    with pytest.raises(UnsupportedError, match=r"sort \(TopK\)"):
        snnir.import_model(model)
