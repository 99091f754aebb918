"""What adds up, averages or chooses over an open length with an upper end: one program for every length, exact for each."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import snnir
from snnir.errors import InputError, UsageError
from snnir.frontends.onnx import import_onnx, run_onnxruntime
from snnir.ir.execute import execute
from snnir.ir.parse import parse
from snnir.ir.text import text
from tests.models import data, model_of

MOST = 6
TRANSPOSED = helper.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1])
KINDS: dict[str, list[onnx.NodeProto]] = {
    "mean": [helper.make_node("ReduceMean", ["r", "one"], ["y"], keepdims=0)],
    "sum": [helper.make_node("ReduceSum", ["r", "one"], ["y"], keepdims=0)],
    "max": [helper.make_node("ReduceMax", ["r", "one"], ["y"], keepdims=0)],
    "global mean": [TRANSPOSED, helper.make_node("GlobalAveragePool", ["t"], ["y"])],
    "global max": [TRANSPOSED, helper.make_node("GlobalMaxPool", ["t"], ["y"])],
    "product": [TRANSPOSED, helper.make_node("MatMul", ["t", "r"], ["y"])],
    "mean of halves": [
        helper.make_node("MaxPool", ["c"], ["p"], kernel_shape=[2], strides=[2], auto_pad="SAME_UPPER"),
        helper.make_node("GlobalAveragePool", ["p"], ["y"]),
    ],
}


def network(kind: str) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Relu", ["a"], ["r"])]
    if kind == "mean of halves":
        nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), helper.make_node("Relu", ["t"], ["c"])]
    return model_of([*nodes, *KINDS[kind]], ["N", "T", 4], {"w": data(rng, 4, 5), "one": np.array([1])})


@pytest.mark.parametrize("kind", KINDS)
def test_one_program_for_every_length(kind: str) -> None:
    rng = np.random.default_rng(1)
    model, x = network(kind), rng.normal(size=(32, MOST, 4)).astype(np.float32)
    program = snnir.compile(model, calibration=x, bits=8)
    graph = program.graph("float")
    assert str(graph.inputs[0].type) == "NxTx4:f32"
    assert graph.limits == {"T": MOST}
    assert any(f"T (axis 1 of input x) is at most {MOST}, the longest in the calibration data" in note for note in graph.notes)
    for length in (1, 2, 3, MOST):
        given = x[:5, :length]
        expected = run_onnxruntime(model, {"x": given})["y"]
        assert np.allclose(execute(graph, {"x": given})["y"], expected, atol=1e-5)
        assert program.verify(given).mismatches == 0
        found = program.run(given).outputs["y"]
        assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()


def test_more_than_the_upper_end_is_refused_by_name() -> None:
    program = snnir.compile(network("mean"), calibration=np.ones((4, MOST, 4), np.float32) * [[[1, -1, 2, 0]]])
    with pytest.raises(InputError, match=r"input x: T \(axis 1\) is 7, and at most 6 in this program.*--dim 'T<=7'"):
        program.run(np.zeros((1, MOST + 1, 4), np.float32))


def test_the_user_gives_another_upper_end() -> None:
    x = np.random.default_rng(1).normal(size=(8, 3, 4)).astype(np.float32)
    program = snnir.compile(network("mean"), calibration=x, dims={"T": "<=9"})
    assert program.graph("spiking").limits == {"T": 9}
    assert program.verify(np.tile(x, (1, 3, 1))).mismatches == 0
    assert snnir.check(network("sum"), dims={"T": "<=9"}).ok
    assert not snnir.check(network("sum")).ok


def test_a_module_gets_the_length_of_its_example_as_upper_end() -> None:
    torch: Any = pytest.importorskip("torch")

    class Pool(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(4, 5)

        def forward(self, x: Any) -> Any:
            return torch.relu(self.first(x)).amax(1)

    x = np.random.default_rng(1).normal(size=(8, MOST, 4)).astype(np.float32)
    program = snnir.compile(Pool().eval(), calibration=x)
    assert program.graph("float").limits == {"T": MOST}
    assert program.verify(x[:, :2]).mismatches == 0


def test_the_text_form_keeps_upper_ends() -> None:
    graph = import_onnx(network("sum"), dims={"T": "<=9"})
    again = parse(text(graph), {value.digest: value.array for value in graph.constants})
    assert again == graph
    assert again.limits == {"T": 9}


@pytest.mark.parametrize("word", ["<=0", "<=", "many", "<5", 0, True])
def test_what_is_no_size_is_refused(word: Any) -> None:
    with pytest.raises(UsageError, match="size T"):
        import_onnx(network("sum"), dims={"T": word})


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("operator", ["Conv", "MaxPool"])
def test_padding_that_depends_on_open_sizes_is_found_in_each_run(mode: str, operator: str) -> None:
    rng = np.random.default_rng(0)
    attributes: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": mode}
    node = helper.make_node(operator, ["x", "w"][: 2 if operator == "Conv" else 1], ["a"], **attributes)
    model = model_of([node, helper.make_node("Relu", ["a"], ["y"])], ["N", 2, "h", "w0"], {"w": data(rng, 3, 2, 3, 3)})
    graph = import_onnx(model)
    for height, width in ((4, 7), (5, 6), (1, 2)):
        x = rng.normal(size=(2, 2, height, width)).astype(np.float32)
        assert np.allclose(execute(graph, {"x": x})["y"], run_onnxruntime(model, {"x": x})["y"], atol=1e-5)


@pytest.mark.parametrize("scale", [2.0, 3.0])
@pytest.mark.parametrize("transformation", ["asymmetric", "half_pixel"])
def test_resizing_by_a_whole_factor_leaves_sizes_open(scale: float, transformation: str) -> None:
    attributes: dict[str, Any] = {"mode": "nearest", "coordinate_transformation_mode": transformation, "nearest_mode": "floor"}
    if transformation == "half_pixel":
        attributes["nearest_mode"] = "round_prefer_floor"
    nodes = [helper.make_node("Resize", ["x", "", "s"], ["a"], **attributes), helper.make_node("Relu", ["a"], ["y"])]
    model = model_of(nodes, ["N", 2, "h", "w"], {"s": np.array([1, 1, scale, scale], np.float32)})
    graph = import_onnx(model)
    for height, width in ((4, 7), (1, 2)):
        x = np.random.default_rng(0).normal(size=(2, 2, height, width)).astype(np.float32)
        assert np.array_equal(execute(graph, {"x": x})["y"], run_onnxruntime(model, {"x": x})["y"])
