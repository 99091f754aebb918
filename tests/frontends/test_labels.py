"""Words as inputs and outputs: encoding labels, comparing words, and what is refused."""

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

RNG = np.random.default_rng(1)
KINDS: dict[str, tuple[int, str, list[Any], Any]] = {
    "int64s": (TensorProto.INT64, "default_int64", [7, -3, 0, 2**40, 5, 8], 99),
    "strings": (TensorProto.STRING, "default_string", ["a", "", "two words", "größer", "b", "long long long"], "none"),
    "floats": (TensorProto.FLOAT, "default_float", [0.5, -1.5, 0.0, 3.0, 8.25, 1e-3], -0.25),
}
NONE = {"int64s": -1, "strings": "_Unused", "floats": 0.0}


def model_of(node: onnx.NodeProto, takes: int, gives: int, inputs: int = 1) -> onnx.ModelProto:
    graph = helper.make_graph(
        [node],
        "labels",
        [helper.make_tensor_value_info(f"x{index}", takes, ["N", 3]) for index in range(inputs)],
        [helper.make_tensor_value_info("y", gives, ["N", 3])],
    )
    sets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 4)]
    return helper.make_model(graph, opset_imports=sets, ir_version=9)


def drawn(kind: str, rows: int = 8) -> np.ndarray:
    """Keys, and what is none."""
    listed = [*KINDS[kind][2], KINDS[kind][3]]
    return np.array(listed, np.float32 if kind == "floats" else None)[RNG.integers(0, len(listed), (rows, 3))]


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize("values", KINDS)
@pytest.mark.parametrize("keys", KINDS)
def test_labels_are_encoded(keys: str, values: str, default: bool) -> None:
    given: dict[str, Any] = {f"keys_{keys}": KINDS[keys][2][:-1], f"values_{values}": KINDS[values][2][1:]}
    if default:
        given[KINDS[values][1]] = KINDS[values][3]
    node = helper.make_node("LabelEncoder", ["x0"], ["y"], domain="ai.onnx.ml", **given)
    model = model_of(node, KINDS[keys][0], KINDS[values][0])
    x = drawn(keys)
    mapping = dict(zip(KINDS[keys][2][:-1], KINDS[values][2][1:], strict=True))
    missing = KINDS[values][3] if default else NONE[values]
    keyed = [{round(float(key), 5): value for key, value in mapping.items()} if keys == "floats" else mapping]
    wanted = [keyed[0].get(round(float(item), 5) if keys == "floats" else item, missing) for item in x.reshape(-1).tolist()]
    found = execute(import_onnx(model), {"x0": x})["y"]
    np.testing.assert_array_equal(found, np.array(wanted, found.dtype).reshape(x.shape))
    np.testing.assert_array_equal(found, run_onnxruntime(model, {"x0": x})["y"].astype(found.dtype))


def test_words_are_compared() -> None:
    model = model_of(helper.make_node("Equal", ["x0", "x1"], ["y"]), TensorProto.STRING, TensorProto.BOOL, 2)
    a, b = drawn("strings"), drawn("strings")
    b[::2] = a[::2]
    found = execute(import_onnx(model), {"x0": a, "x1": b})["y"]
    np.testing.assert_array_equal(found, a == b)
    np.testing.assert_array_equal(found, run_onnxruntime(model, {"x0": a.astype(object), "x1": b.astype(object)})["y"])


def test_classes_that_are_words_choose_rows_of_a_table() -> None:
    """Categories of text: encoded on the host, looked up, and then a network."""
    codes: dict[str, Any] = {"keys_strings": ["red", "green"], "values_int64s": [0, 1], "default_int64": 2}
    encode = helper.make_node("LabelEncoder", ["x0"], ["code"], domain="ai.onnx.ml", **codes)
    model = model_of(encode, TensorProto.STRING, TensorProto.FLOAT)
    table, weight = RNG.normal(size=(3, 4)).astype(np.float32), RNG.normal(size=(4, 5)).astype(np.float32)
    for name, array in (("table", table), ("weight", weight)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    rest = [("Gather", ["table", "code"], "row"), ("MatMul", ["row", "weight"], "sum"), ("Relu", ["sum"], "y")]
    model.graph.node.extend(helper.make_node(operator, takes, [gives]) for operator, takes, gives in rest)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3, 5]))
    x = np.array(["red", "green", "blue"])[RNG.integers(0, 3, (12, 3))]
    program = snnir.compile(model, calibration={"x0": x})
    assert float(str(program.facts["import_error"])) < 1e-6
    assert program.verify({"x0": x}).ok


@pytest.mark.parametrize(
    ("node", "takes", "gives", "message"),
    [
        (helper.make_node("Add", ["x0", "x0"], ["y"]), TensorProto.FLOAT, TensorProto.FLOAT, ""),
        (helper.make_node("Where", ["c", "x0", "x0"], ["y"]), TensorProto.STRING, TensorProto.STRING, "it computes with words"),
        (helper.make_node("Cast", ["x0"], ["y"], to=1), TensorProto.STRING, TensorProto.FLOAT, "it computes with words"),
        (
            helper.make_node("LabelEncoder", ["x0"], ["y"], domain="ai.onnx.ml", keys_floats=[float("nan")], values_int64s=[1]),
            TensorProto.FLOAT,
            TensorProto.INT64,
            "NaN or infinities are among its keys",
        ),
        (
            helper.make_node("LabelEncoder", ["x0"], ["y"], domain="ai.onnx.ml", keys_int64s=[1, 2], values_int64s=[1]),
            TensorProto.INT64,
            TensorProto.INT64,
            "it has 2 keys and 1 values",
        ),
    ],
)
def test_what_else_takes_words_is_refused(node: onnx.NodeProto, takes: int, gives: int, message: str) -> None:
    model = model_of(node, takes, gives)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([True, False, True]), "c"))
    if message:
        with pytest.raises(UnsupportedError, match=message):
            import_onnx(model)
    else:
        assert import_onnx(model).outputs
