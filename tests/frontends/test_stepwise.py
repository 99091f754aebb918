"""Models whose axis 0 is the sequence and that know no batch: computed for N sequences, one as the other."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import snnir
from snnir.frontends.onnx import run_onnxruntime
from snnir.ir.execute import execute
from snnir.ir.ops import Scan

WIDTH, HIDDEN = 6, 4


def streaming(kind: str, seed: int, *, states: bool, after: str = "", direction: str = "forward") -> onnx.ModelProto:
    """Dense, ReLU, a recurrent layer over axis 0 with a batch of 1, dense; perhaps the last states as inputs and outputs."""
    rng = np.random.default_rng(seed)
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[kind]
    arrays = {
        "D": rng.normal(size=(WIDTH, 5)),
        "W": rng.normal(size=(1, gates * HIDDEN, 5)),
        "R": rng.normal(size=(1, gates * HIDDEN, HIDDEN)) * 0.5,
        "B": rng.normal(size=(1, 2 * gates * HIDDEN)) * 0.3,
        "O": rng.normal(size=(HIDDEN, 3)),
    }
    if direction == "bidirectional":
        arrays = {name: np.concatenate([array] * 2) if name in "WRB" else array for name, array in arrays.items()}
        arrays["O"] = rng.normal(size=(HIDDEN, 3))
    initializers = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    for name, numbers in (("one", [1]), ("zero", [0])):
        initializers.append(numpy_helper.from_array(np.array(numbers, np.int64), name))
    starts = ["h", "c"][: 2 if kind == "LSTM" else 1] if states else []
    given = ["u", "W", "R", "B", "", *(starts or [""] * (2 if kind == "LSTM" else 1))]
    results = ["y", "hn", *(["cn"] if kind == "LSTM" else [])]
    nodes = [
        helper.make_node("MatMul", ["x", "D"], ["d"], "dense"),
        helper.make_node("Relu", ["d"], ["r"], "relu"),
        helper.make_node("Unsqueeze", ["r", "one"], ["u"], "batch_of_one"),
        helper.make_node(kind, given, results, "cell", hidden_size=HIDDEN, direction=direction),
        helper.make_node("Squeeze", ["y", "one"], ["s"], "no_direction"),
        helper.make_node("Squeeze", ["s", "one"], ["q"], "no_batch"),
    ]
    last = "q"
    if after == "mean":
        nodes.append(helper.make_node("ReduceMean", ["q", "zero"], ["m"], "mean", keepdims=1))
        last = "m"
    nodes.append(helper.make_node("MatMul", [last, "O"], ["scores"], "head"))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["frames", WIDTH])]
    inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, HIDDEN]) for name in starts]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["frames" if not after else 1, 3])]
    outputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, HIDDEN]) for name in results[1:] if states]
    graph = helper.make_graph(nodes, "streaming", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def data(kind: str, states: bool, samples: int = 3, length: int = 7) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    arrays = {"x": rng.normal(size=(samples, length, WIDTH)).astype(np.float32)}
    for name in ("h", "c")[: 2 if kind == "LSTM" else 1] if states else ():
        arrays[name] = rng.normal(size=(1, samples, HIDDEN)).astype(np.float32) * 0.5
    return arrays


@pytest.mark.parametrize("states", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_any_number_of_sequences_alone_and_together(kind: str, states: bool) -> None:
    model, arrays = streaming(kind, 1, states=states), data(kind, states)
    graph = snnir.import_model(model)
    assert str(graph.inputs[0].type) == f"Nxframesx{WIDTH}:f32"
    found = execute(graph, arrays)
    for n in range(3):
        alone = {name: array[n] if name == "x" else array[:, n : n + 1] for name, array in arrays.items()}
        expected = run_onnxruntime(model, alone)
        np.testing.assert_allclose(found["scores"][n], expected["scores"], atol=1e-5)
        if states:
            np.testing.assert_allclose(found["hn"][:, n : n + 1], expected["hn"], atol=1e-5)
    program = snnir.compile(model, calibration=arrays, bits=5)
    assert sum(isinstance(node.op, Scan) for node in program.graph("spiking").nodes) == 1
    for execution in ("reset", "carry"):
        assert program.verify(arrays, execution=execution).ok


@pytest.mark.parametrize("direction", ["reverse", "bidirectional"])
def test_layers_that_go_backwards(direction: str) -> None:
    model, arrays = streaming("GRU", 3, states=False, direction=direction), data("GRU", False)
    for node in model.graph.node:
        if direction == "bidirectional" and node.name == "no_direction":  # the sum of both directions
            node.op_type = "ReduceSum"
    graph = snnir.import_model(model)
    found = execute(graph, arrays)["scores"]
    for n in range(3):
        np.testing.assert_allclose(
            found[n], run_onnxruntime(model, {"x": arrays["x"][n]})["scores"].reshape(found[n].shape), atol=1e-5
        )
    assert snnir.compile(model, calibration=arrays, bits=5).verify(arrays).ok


def test_elements_that_are_mixed_otherwise() -> None:
    graph = snnir.import_model(streaming("GRU", 2, states=False, after="mean"))
    assert str(graph.inputs[0].type) == f"Nxframesx{WIDTH}:f32"
    assert str(graph.outputs["scores"].type) == "Nx1x3:f32"


def test_a_batch_of_1_as_axis_1_is_generalised_instead() -> None:
    model = streaming("GRU", 4, states=False)
    model.graph.input[0].type.tensor_type.shape.dim.insert(1, onnx.TensorShapeProto.Dimension(dim_value=1))
    model.graph.output[0].type.tensor_type.shape.dim.insert(1, onnx.TensorShapeProto.Dimension(dim_value=1))
    for node in list(model.graph.node):
        if node.name in ("batch_of_one", "no_batch"):
            model.graph.node.remove(node)
    model.graph.node[2].input[0] = "r"
    model.graph.node[4].input[0] = "s"
    graph = snnir.import_model(model)
    assert str(graph.inputs[0].type) == f"framesxNx{WIDTH}:f32"
    assert any("fixed batch of 1; generalised" in note for note in graph.notes)
