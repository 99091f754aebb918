"""NaN and infinities where only the host computes: questions, casts, remainders; and integers that only the host rounds."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.helper import make_node as node

import snnir
from snnir.errors import InputError, UnsupportedError
from snnir.frontends.onnx import import_onnx, run_onnxruntime
from snnir.ir.execute import execute

RNG = np.random.default_rng(0)
FLOAT, BOOL = TensorProto.FLOAT, TensorProto.BOOL
STEP = np.array(0.013, np.float32)
ZERO, W = np.zeros((), np.float32), RNG.normal(size=(4, 3)).astype(np.float32)
X = RNG.normal(size=(8, 4)).astype(np.float32)
WRONG = X.copy()
WRONG[0, 0], WRONG[1, 1], WRONG[2, 2] = np.nan, np.inf, -np.inf


def model_of(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Mapping[str, int],
    **constants: np.ndarray,
) -> ModelProto:
    """A model of real inputs, and outputs by element type."""
    graph = helper.make_graph(
        list(nodes),
        "wrong",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def same(model: ModelProto, data: dict[str, np.ndarray]) -> list[str]:
    """Compare with ONNX Runtime, NaN with NaN; the ops of the import."""
    graph = import_onnx(model)
    ours, theirs = execute(graph, data), run_onnxruntime(model, data)
    for name, expected in theirs.items():
        np.testing.assert_array_equal(ours[name], expected)
    return [inner.op.name for _, inner in graph.walk()]


ROWS: dict[str, list[int | str]] = {"x": ["N", 4]}
PAIR: dict[str, list[int | str]] = {"x": ["N", 4], "v": ["N", 4]}


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [("IsNaN", {}), *(("IsInf", {"detect_positive": up, "detect_negative": down}) for up in (0, 1) for down in (0, 1))],
)
def test_questions_are_answered_by_the_host(operator: str, attributes: dict[str, Any]) -> None:
    """Also of what the host makes of the input, and of inputs of which nothing else depends."""
    asked = [node(operator, ["x"], ["y"], **attributes)]
    assert same(model_of(asked, ROWS, {"y": BOOL}), {"x": WRONG})[-1] in ("is_nan", "is_inf")
    rooted = [node("Reshape", ["x", "to"], ["r"]), node("Reciprocal", ["r"], ["s"]), node(operator, ["s"], ["y"], **attributes)]
    with np.errstate(divide="ignore"):
        same(model_of(rooted, ROWS, {"y": BOOL}, to=np.array([-1, 2, 2])), {"x": np.where(X > 1, 0, WRONG).astype(np.float32)})


def test_the_answer_may_steer_a_network() -> None:
    nodes = [
        node("IsNaN", ["x"], ["b"]), node("Not", ["b"], ["k"]), node("Cast", ["k"], ["f"], to=FLOAT),
        node("Mul", ["f", "v"], ["g"]), node("MatMul", ["g", "w"], ["p"]), node("Relu", ["p"], ["y"]),
    ]  # fmt: skip
    model = model_of(nodes, PAIR, {"y": FLOAT}, w=W)
    program = snnir.compile(model, calibration={"x": WRONG, "v": X})
    assert program.verify({"x": WRONG, "v": X}).ok
    masked = program.run({"x": X, "v": np.where(np.isnan(WRONG), 0, X)}).outputs["y"]
    np.testing.assert_array_equal(program.run({"x": WRONG, "v": X}).outputs["y"], masked)
    with pytest.raises(InputError, match="input v holds 3 NaN or infinite values, and its elements become levels"):
        program.run({"x": X, "v": WRONG})


def test_a_model_that_only_the_host_computes_is_compiled() -> None:
    """No population, nothing charged: the batch still passes through."""
    model = model_of([node("IsNaN", ["x"], ["nan"]), node("Not", ["nan"], ["y"])], {"x": ["N", 4]}, {"y": BOOL})
    program = snnir.compile(model, calibration=X)
    np.testing.assert_array_equal(program.run(WRONG).outputs["y"], ~np.isnan(WRONG))
    assert program.verify(X).ok
    assert snnir.check(model).ok


@pytest.mark.parametrize("threads", [1, 2])
def test_nan_that_the_host_computes_is_no_level(threads: int) -> None:
    """A logarithm before the network: of 0 it is the lowest level, of negative numbers nothing."""
    weight = RNG.normal(size=(4, 3)).astype(np.float32)
    nodes = [node("Log", ["x"], ["l"]), node("MatMul", ["l", "w"], ["h"]), node("Relu", ["h"], ["y"])]
    program = snnir.compile(model_of(nodes, {"x": ["N", 4]}, {"y": FLOAT}, w=weight), calibration=np.abs(X) + np.float32(0.1))
    data = np.abs(X)
    data[0, 0] = 0
    with np.errstate(all="ignore"):
        assert program.verify(data).ok
        data[5, 1] = -1
        with pytest.raises(InputError, match="1 NaN of what the host computed before the network"):
            program.run(data, threads=threads)
        with pytest.raises(InputError, match="1 NaN of what the host computed"):
            program.reference(data)


def test_a_branch_of_the_host_beside_a_network() -> None:
    nodes = [node("IsInf", ["x"], ["b"]), node("MatMul", ["v", "w"], ["p"]), node("Relu", ["p"], ["y"])]
    model = model_of(nodes, PAIR, {"b": BOOL, "y": FLOAT}, w=W)
    program = snnir.compile(model, calibration={"x": WRONG, "v": X})
    np.testing.assert_array_equal(program.run({"x": WRONG, "v": X}).outputs["b"], np.isinf(WRONG))
    assert program.verify({"x": WRONG, "v": X}).ok


@pytest.mark.parametrize("beside", [[], [node("Sqrt", ["x"], ["z"])]], ids=["alone", "beside the host"])
def test_a_guard_before_a_network_vanishes_and_holds_the_input_to_it(beside: list[NodeProto]) -> None:
    """Its input is finite, also where all that is left of it is the host's."""
    nodes = [node("IsNaN", ["x"], ["b"]), node("Where", ["b", "x", "v"], ["g"]), node("MatMul", ["g", "w"], ["p"]), *beside]
    outputs = {"p": FLOAT} | ({"z": FLOAT} if beside else {})
    graph = import_onnx(model_of(nodes, PAIR, outputs, w=W))
    assert not {"is_nan", "mul"} & {inner.op.name for inner in graph.nodes}
    with pytest.raises(InputError, match="input x holds 3 NaN or infinite values, and the import answered a question"):
        execute(graph, {"x": WRONG, "v": X})


def test_what_the_network_makes_is_guarded_elsewhere() -> None:
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Log", ["m"], ["l"], "/log"), node("IsNaN", ["l"], ["y"])]
    with pytest.raises(UnsupportedError, match=r"IsNaN.: Log /log .op log. may give infinities or NaN"):
        import_onnx(model_of(nodes, ROWS, {"y": BOOL}, w=W))


@pytest.mark.parametrize("fmod", [0, 1])
def test_remainders_by_what_changes(fmod: int) -> None:
    model = model_of([node("Mod", ["x", "v"], ["y"], fmod=fmod)], PAIR, {"y": FLOAT})
    if fmod:  # ONNX Runtime has no other one for real numbers
        assert same(model, {"x": WRONG, "v": X[::-1].copy()}) == ["remainder"]
    found = execute(import_onnx(model), {"x": X, "v": X[::-1].copy()})["y"]
    np.testing.assert_array_equal(found, (np.fmod if fmod else np.mod)(X, X[::-1]))
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Relu", ["m"], ["r"]), node("Mod", ["r", "v"], ["y"], fmod=fmod)]
    model = model_of(nodes, {"x": ["N", 4], "v": ["N", 3]}, {"y": FLOAT}, w=np.abs(W))
    data = {"x": np.abs(X), "v": np.abs(X[:, :3]) + 1}
    assert snnir.compile(model, calibration=data, check=bool(fmod)).verify(data).ok


LARGEST = {"FLOAT8E4M3FN": 448.0, "FLOAT8E4M3FNUZ": 240.0, "FLOAT8E5M2": 57344.0, "FLOAT8E5M2FNUZ": 57344.0}


@pytest.mark.parametrize("kind", LARGEST)
@pytest.mark.parametrize("saturate", [0, 1])
def test_quantized_to_floating_point(kind: str, saturate: int) -> None:
    """To the nearest number of the format, as ml_dtypes has it. (ONNX Runtime gives 448 for 480 without `saturate`.)"""
    element = getattr(TensorProto, kind)
    dtype = helper.tensor_dtype_to_np_dtype(element)
    model = model_of([node("QuantizeLinear", ["x", "s", "z"], ["y"], saturate=saturate)], ROWS, {"y": element}, s=STEP)
    model.graph.initializer.append(helper.make_tensor("z", element, [], [0.0]))
    x = np.concatenate([X, 20 * X, 1000 * X])
    largest = LARGEST[kind]
    ratio = np.clip(x / STEP, -largest, largest) if saturate else x / STEP
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = ratio.astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(execute(import_onnx(model), {"x": x})["y"], expected)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16])
def test_zero_points_of_channels(kind: type) -> None:
    """On the host, of inputs and of what the network gives; no quantized layer takes them."""
    scale = np.array([0.1, 0.02, 0.3], np.float32)
    zero: np.ndarray = np.array([0, 3, 100]).astype(kind)
    rounded = node("QuantizeLinear", ["m", "s", "z"], ["y"], axis=1)
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    ahead = model_of([node("Slice", ["x", "a", "b", "c"], ["m"]), rounded], ROWS, {"y": element}, s=scale, z=zero,
                     a=np.array([0]), b=np.array([3]), c=np.array([1]))  # fmt: skip
    assert same(ahead, {"x": 3 * X}) == ["slice", "store"]
    behind = model_of([node("MatMul", ["x", "w"], ["m"]), rounded], ROWS, {"y": element}, s=scale, z=zero, w=W)
    program = snnir.compile(behind, calibration=X)
    assert program.verify(X).ok
    taken = [node("MatMul", ["x", "w"], ["m"]), rounded, node("DequantizeLinear", ["y", "s", "z"], ["d"], axis=1)]
    with pytest.raises(UnsupportedError, match=r"d .DequantizeLinear.: channels with different zero points"):
        import_onnx(model_of(taken, ROWS, {"d": FLOAT}, s=scale, z=zero, w=W))


def test_scales_of_a_whole_tensor() -> None:
    """Of a model without a batch: all of the input is one sample."""
    nodes = [
        node("MatMul", ["x", "w"], ["m"]), node("Relu", ["m"], ["r"]),
        node("DynamicQuantizeLinear", ["r"], ["q", "s", "z"]),
    ]  # fmt: skip
    outputs = {"q": TensorProto.UINT8, "s": FLOAT, "z": TensorProto.UINT8}
    model = model_of(nodes, {"x": [8, 4]}, outputs, w=np.abs(W))
    for x in (X, -np.abs(X)):  # of zeros, too
        ours, theirs = execute(import_onnx(model), {"x": x}), run_onnxruntime(model, {"x": x})
        for name in outputs:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6)
    program = snnir.compile(model, calibration=X)
    assert program.verify(X).ok
    found = program.run(X).outputs
    assert found["q"].shape == (8, 3) and found["s"].shape == found["z"].shape == ()
    alone = model_of(nodes[2:], {"r": [8, 4]}, outputs)
    assert same(alone, {"r": X}) == ["dynamic_store"]


@pytest.mark.parametrize("taker", ["DequantizeLinear", "MatMulInteger"])
def test_layers_of_changing_scales_are_refused_with_advice(taker: str) -> None:
    taken = [node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])]
    if taker == "MatMulInteger":
        taken += [node(taker, ["q", "i", "z"], ["j"]), node("Cast", ["j"], ["y"], to=FLOAT)]
    else:
        taken += [node("Reshape", ["q", "to"], ["t"]), node(taker, ["t", "s", "z"], ["y"])]
    model = model_of(taken, {"x": [8, 4]}, {"y": FLOAT}, i=np.ones((4, 3), np.int8), to=np.array([4, 8]))
    with pytest.raises(
        UnsupportedError, match=rf".{taker}.: it finds the scale of a value anew .* quantize the float model stat"
    ):
        import_onnx(model)


def test_a_scale_that_is_not_positive_is_named() -> None:
    model = model_of([node("QuantizeLinear", ["x", "s"], ["y"])], {"x": [2, 4], "s": []}, {"y": TensorProto.UINT8})
    with pytest.raises(InputError, match=r"it quantizes by a scale of 0.0; scales must be positive"):
        execute(import_onnx(model), {"x": X[:2], "s": ZERO})


@pytest.mark.parametrize("zero", ["", "known", "given"])
@pytest.mark.parametrize("kind", ["UINT8", "INT8", "INT4", "INT16"])
def test_a_scale_and_a_zero_point_that_change(kind: str, zero: str) -> None:
    """The bounds are those of the file's own type."""
    element = getattr(TensorProto, kind)
    low, high = {"UINT8": (0, 255), "INT8": (-128, 127), "INT4": (-8, 7), "INT16": (-(2**15), 2**15 - 1)}[kind]
    rounded = node("QuantizeLinear", ["x", "s", *(["z"] if zero else [])], ["y"], **({} if zero else {"output_dtype": element}))
    model = model_of([rounded], {"x": [2, 4], "s": []}, {"y": element})
    data = {"x": X[:2], "s": np.array(0.01, np.float32)}
    if zero == "known":
        model.graph.initializer.append(helper.make_tensor("z", element, [], [3]))
    if zero == "given":
        model.graph.input.append(helper.make_tensor_value_info("z", element, []))
        data["z"] = np.array(3)
    expected = np.clip(np.rint(X[:2] / np.float32(0.01)) + (3 if zero else 0), low, high)
    np.testing.assert_array_equal(execute(import_onnx(model), data)["y"], expected)


@pytest.mark.parametrize(("operator", "extreme"), [("ReduceMax", -np.inf), ("ReduceMin", np.inf)])
def test_the_extreme_of_nothing(operator: str, extreme: float) -> None:
    model = model_of([node(operator, ["x", "axes"], ["y"], keepdims=0)], {"x": [2, 0, 3]}, {"y": FLOAT}, axes=np.array([1]))
    found = execute(import_onnx(model, batch=False), {"x": np.zeros((2, 0, 3), np.float32)})["y"]
    np.testing.assert_array_equal(found, np.full((2, 3), extreme))
