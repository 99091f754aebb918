"""Minus infinity hides elements from a softmax, on the host; anywhere else infinities are refused by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import snnir
from snnir.errors import InputError, ModelError, UnsupportedError
from snnir.frontends.onnx import import_onnx, run_onnxruntime
from snnir.ir.execute import execute

RNG = np.random.default_rng(0)
CAUSAL = np.triu(np.full((4, 4), -np.inf, np.float32), 1)


def model_of(nodes: list[NodeProto], constants: dict[str, np.ndarray], **inputs: Sequence[str | int]) -> ModelProto:
    kinds = {name: TensorProto.BOOL if name == "keep" else TensorProto.FLOAT for name in inputs}
    graph = helper.make_graph(
        nodes,
        "masks",
        [helper.make_tensor_value_info(name, kinds[name], shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, 4])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def scores() -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    """Scores [N, 4, 4] of each element of a sequence with each, from x[N, 4, 4]."""
    weight = RNG.normal(size=(4, 4)).astype(np.float32)
    return [helper.make_node("MatMul", ["x", "w"], ["scores"]), helper.make_node("Relu", ["scores"], ["r"])], {"w": weight}


@pytest.mark.parametrize("finite", [0.0, 0.5])
def test_an_added_mask_is_the_hosts(finite: float) -> None:
    nodes, constants = scores()
    constants["mask"] = np.where(np.isinf(CAUSAL), CAUSAL, np.float32(finite))
    nodes += [helper.make_node("Add", ["mask", "r"], ["m"]), helper.make_node("Softmax", ["m"], ["y"], axis=-1)]
    model = model_of(nodes, constants, x=["N", 4, 4])
    x = RNG.normal(size=(6, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(execute(import_onnx(model), {"x": x})["y"], run_onnxruntime(model, {"x": x})["y"], atol=1e-6)
    program = snnir.compile(model, calibration=x)
    assert program.verify(x).ok
    assert (program.run(x).outputs["y"][:, np.isinf(CAUSAL)] == 0).all()


@pytest.mark.parametrize("hidden_first", [True, False])
def test_a_choice_of_minus_infinity_is_a_mask(hidden_first: bool) -> None:
    nodes, constants = scores()
    constants |= {"condition": np.isinf(CAUSAL) if hidden_first else ~np.isinf(CAUSAL), "far": np.array(-np.inf, np.float32)}
    sides = ["far", "r"] if hidden_first else ["r", "far"]
    nodes += [helper.make_node("Where", ["condition", *sides], ["m"]), helper.make_node("Softmax", ["m"], ["y"], axis=-1)]
    model = model_of(nodes, constants, x=["N", 4, 4])
    x = RNG.normal(size=(6, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(execute(import_onnx(model), {"x": x})["y"], run_onnxruntime(model, {"x": x})["y"], atol=1e-6)
    assert snnir.compile(model, calibration=x).verify(x).ok


def test_a_mask_that_comes_with_the_data() -> None:
    nodes, constants = scores()
    constants |= {"far": np.array(-np.inf, np.float32), "zero": np.zeros((), np.float32)}
    nodes += [
        helper.make_node("Where", ["keep", "zero", "far"], ["mask"]),
        helper.make_node("Add", ["r", "mask"], ["m"]),
        helper.make_node("Softmax", ["m"], ["y"], axis=-1),
    ]
    model = model_of(nodes, constants, x=["N", 4, 4], keep=["N", 1, 4])
    data = {"x": RNG.normal(size=(6, 4, 4)).astype(np.float32), "keep": RNG.random((6, 1, 4)) < 0.6}
    data["keep"][:, :, 0] = True
    expected = run_onnxruntime(model, data)["y"]
    np.testing.assert_allclose(execute(import_onnx(model), data)["y"], expected, atol=1e-6)
    assert snnir.compile(model, calibration=data).verify(data).ok


def test_infinities_that_hide_nothing_are_refused() -> None:
    nodes, constants = scores()
    constants["mask"] = -CAUSAL
    nodes.append(helper.make_node("Add", ["r", "mask"], ["y"]))
    with pytest.raises(ModelError, match="initializer mask holds 6 NaN or infinite values"):
        import_onnx(model_of(nodes, constants, x=["N", 4, 4]))


def test_a_mask_inside_the_network_is_refused_where_no_softmax_takes_it() -> None:
    nodes, constants = scores()
    constants["mask"] = CAUSAL
    data = RNG.normal(size=(6, 4, 4)).astype(np.float32)
    nodes += [helper.make_node("Add", ["r", "mask"], ["m"], name="/hide"), helper.make_node("Relu", ["m"], ["y"])]
    model = model_of(nodes, constants, x=["N", 4, 4])
    with pytest.raises(UnsupportedError, match="Add /hide: minus infinity is no level; only a softmax takes masked values"):
        snnir.compile(model, calibration=data)
    nodes[-1] = helper.make_node("Softmax", ["m"], ["p"], name="/weights")
    nodes.append(helper.make_node("Relu", ["p"], ["y"]))
    program = snnir.compile(model_of(nodes, constants, x=["N", 4, 4]), calibration=data)
    assert not program.facts["host_nodes"] and program.verify(data).ok
    hidden = np.broadcast_to(np.isneginf(CAUSAL), (6, 4, 4))
    assert not program.run(data).outputs["y"][hidden].any()


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("spread", [True, False])
def test_lines_that_masks_hide_wholly_are_minus_infinity(known: bool, spread: bool) -> None:
    """`max(m) == -inf` holds where every element of a line is hidden, by either of two masks, one of which may be an input."""
    keep = np.tril(np.ones((4, 4), bool), -1) if known else RNG.random(size=(6, 1 if spread else 4, 4)) < 0.6
    constants = {"far": np.array(-np.inf, np.float32), "axes": np.array([-1]), "mask": CAUSAL, "zero": np.zeros(1, np.float32)}
    constants |= {"keep": keep} if known else {}
    nodes = [
        helper.make_node("Where", ["keep", "zero", "far"], ["w"]),
        helper.make_node("Unsqueeze", ["w", "front"], ["u"]) if known and spread else helper.make_node("Identity", ["w"], ["u"]),
        helper.make_node("Add", ["mask", "u"], ["b"]),
        helper.make_node("Add", ["x", "b"], ["m"]),
        helper.make_node("ReduceMax", ["m", "axes"], ["most"], keepdims=1),
        helper.make_node("Equal", ["most", "far"], ["all"]),
        helper.make_node("Where", ["all", "one", "x"], ["y"]),
    ]
    constants |= {"front": np.array([0])} if known and spread else {}
    constants["one"] = np.ones(1, np.float32)
    inputs = {"x": ["N", 4, 4]} | ({} if known else {"keep": ["N", *keep.shape[1:]]})
    model = model_of(nodes, constants, **inputs)
    model.opset_import[0].version = 18
    data = {"x": RNG.normal(size=(6, 4, 4)).astype(np.float32)} | ({} if known else {"keep": keep})
    expected = run_onnxruntime(model, data)["y"]
    assert (expected == 1).any() and (expected != 1).any()
    graph = import_onnx(model)
    np.testing.assert_array_equal(execute(graph, {name: array.astype(np.float32) for name, array in data.items()})["y"], expected)
    with pytest.raises(InputError, match="NaN or infinite values"):
        execute(graph, {name: np.full(array.shape, np.nan, np.float32) for name, array in data.items()})
