"""Models of one sequence and nothing else, without a batch: states are vectors, and any number of sequences runs side by side."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.helper import make_node as node

import snnir
from snnir.errors import CalibrationError
from snnir.frontends.onnx import import_onnx, run_onnxruntime
from snnir.ir.execute import execute

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def sequence_model(kind: str, peephole: bool) -> onnx.ModelProto:
    """`x` [T, 3] and states [5] through a recurrent layer, as madmom's networks have it."""
    rng, rows = np.random.default_rng(0), GATES[kind] * 5
    shapes = {"w": (1, rows, 3), "r": (1, rows, 5), "b": (1, 2 * rows), **({"p": (1, 15)} if peephole else {})}
    constants = {name: (0.4 * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}
    constants |= {"one": np.array([1]), "both": np.array([0, 1]), "head": rng.normal(size=(5, 2)).astype(np.float32)}
    states = ["h", "c"] if kind == "LSTM" else ["h"]
    nodes = [node("Unsqueeze", ["x", "one"], ["steps"])]
    nodes += [node("Unsqueeze", [f"{name}0", "both"], [f"{name}_in"]) for name in states]
    operands = ["steps", "w", "r", "b", "", *(f"{name}_in" for name in states), *(["p"] if peephole else [])]
    nodes += [
        node(kind, operands, ["s", *(f"{name}_out" for name in states)], hidden_size=5),
        node("Squeeze", ["s", "both_middle"], ["flat"]),
        node("MatMul", ["flat", "head"], ["y"]),
        *(node("Squeeze", [f"{name}_out", "both"], [f"{name}n"]) for name in states),
    ]
    constants["both_middle"] = np.array([1, 2])

    def info(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        "sequence",
        [info("x", ["frames", "features"]), *(info(f"{name}0", [5]) for name in states)],
        [info("y", ["frames", 2]), *(info(f"{name}n", [5]) for name in states)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize(("kind", "peephole"), [("RNN", False), ("GRU", False), ("LSTM", False), ("LSTM", True)])
def test_sequences_side_by_side_are_what_each_gives_alone(kind: str, peephole: bool) -> None:
    model, rng = sequence_model(kind, peephole), np.random.default_rng(1)
    data = {"x": rng.normal(size=(6, 9, 3)).astype(np.float32), "h0": rng.normal(size=(6, 5)).astype(np.float32)}
    if kind == "LSTM":
        data["c0"] = rng.normal(size=(6, 5)).astype(np.float32)
    found = execute(import_onnx(model), data)
    for sample in range(6):
        alone = run_onnxruntime(model, {name: array[sample] for name, array in data.items()})
        for name, array in alone.items():
            np.testing.assert_allclose(found[name][sample], array, rtol=1e-5, atol=1e-5)
    program = snnir.compile(model, calibration=data, bits=8, neuron="few-spikes")
    verification = program.verify(data)
    assert verification.ok
    assert all(distance.correlation is not None and distance.correlation > 0.99 for distance in verification.distances)


def test_open_sizes_are_those_behind_the_samples_in_the_calibration_data() -> None:
    rng = np.random.default_rng(0)
    constants = {
        "front": np.array([0, 1]),
        "kernel": rng.normal(size=(2, 1, 3, 3)).astype(np.float32),
        "flat": np.array([1, 60]),
        "head": rng.normal(size=(60, 3)).astype(np.float32),
    }
    nodes = [
        node("Unsqueeze", ["x", "front"], ["image"]),
        node("Conv", ["image", "kernel"], ["maps"], pads=[1, 1, 1, 1]),
        node("Relu", ["maps"], ["fired"]),
        node("Reshape", ["fired", "flat"], ["line"]),
        node("MatMul", ["line", "head"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "picture",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["frames", "bins"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    x = rng.normal(size=(8, 5, 6)).astype(np.float32)
    program = snnir.compile(model, calibration=x, bits=8, neuron="few-spikes", batch_axes={"x": None})
    assert program.verify(x).ok
    (y,) = program.run(x).outputs.values()
    alone = run_onnxruntime(model, {"x": x[3]})["y"]
    assert np.corrcoef(y[3].reshape(-1), alone.reshape(-1))[0, 1] > 0.99


def pooled_model(mean: bool) -> onnx.ModelProto:
    """`x` [frames, bins]: a layer for every frame, whose number of bins its weights alone tell, and perhaps their mean."""
    rng = np.random.default_rng(0)
    constants = {
        "front": np.array([0, 1]),
        "kernel": rng.normal(size=(2, 1, 3, 3)).astype(np.float32),
        "flat": np.array([-1, 12]),
        "head": rng.normal(size=(12, 3)).astype(np.float32),
        "weight": rng.normal(size=(6, 3)).astype(np.float32),
        "zero": np.array([0]),
    }
    picture = [
        node("Unsqueeze", ["x", "front"], ["image"]),
        node("Conv", ["image", "kernel"], ["maps"], pads=[1, 1, 1, 1]),
        node("Squeeze", ["maps", "zero"], ["channels"]),
        node("Transpose", ["channels"], ["frames first"], perm=[1, 0, 2]),
        node("Reshape", ["frames first", "flat"], ["rows"]),
        node("MatMul", ["rows", "head"], ["frames last"]),
        node("Relu", ["frames last"], ["fired"]),
        node("ReduceMean", ["fired", "zero"], ["y"], keepdims=1),
    ]
    nodes = picture if mean else [node("MatMul", ["x", "weight"], ["sum"]), node("Relu", ["sum"], ["y"])]
    used = {name for item in nodes for name in item.input}
    graph = helper.make_graph(
        nodes,
        "pooled",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["frames", "bins"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1 if mean else "frames", 3])],
        [numpy_helper.from_array(array, name) for name, array in constants.items() if name in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("mean", [False, True])
def test_data_with_one_axis_more_than_the_file_declares_are_samples_of_a_model_without_a_batch(mean: bool) -> None:
    model, rng = pooled_model(mean), np.random.default_rng(1)
    x = rng.normal(size=(8, 5, 6)).astype(np.float32)
    checked = snnir.check(model, calibration=x)
    assert checked.ok and any("without a batch" in note for note in checked.notes)
    program = snnir.compile(model, calibration=x, bits=8, neuron="few-spikes")
    assert program.verify(x).ok
    (y,) = program.run(x).outputs.values()
    alone = run_onnxruntime(model, {"x": x[3]})["y"]
    assert np.corrcoef(y[3].reshape(-1), alone.reshape(-1))[0, 1] > 0.99


def test_an_axis_that_the_file_calls_a_batch_stays_one() -> None:
    model = pooled_model(False)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch_size"
    with pytest.raises(CalibrationError, match=r"expected shape \[N, 6\], found \[8, 5, 6\]"):
        snnir.compile(model, calibration=np.ones((8, 5, 6), np.float32), bits=8)


def test_data_of_other_sizes_are_refused_as_the_file_declares_it() -> None:
    x = np.zeros((8, 5, 7), np.float32)
    with pytest.raises(CalibrationError, match=r"expected shape \[N, 6\], found \[8, 5, 7\]"):
        snnir.compile(pooled_model(False), calibration=x, bits=8)
