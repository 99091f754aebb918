"""States fed back call after call give the integers of the whole sequence at once."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import snnir
from snnir.errors import UsageError
from snnir.runtime.stream import state_pairs

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def layers(kind: str, seed: int, count: int = 1, together: bool = False) -> onnx.ModelProto:
    """Recurrent layers one behind the other, their states as inputs and outputs, by themselves or all layers' as one tensor."""
    rng, node = np.random.default_rng(seed), helper.make_node
    hidden, width, nodes, arrays = 5, 3, [], dict[str, np.ndarray]()
    cells = ["h", "c"] if kind == "LSTM" else ["h"]
    x, finals = "x", {name: list[str]() for name in cells}
    if together:
        arrays["parts"] = np.ones(count, np.int64)
        nodes += [node("Split", [f"{name}0", "parts"], [f"{name}0.{k}" for k in range(count)], axis=0) for name in cells]
    arrays["one"] = np.array([1])
    for k in range(count):
        size = width if k == 0 else hidden
        arrays[f"W{k}"] = rng.normal(size=(1, GATES[kind] * hidden, size)).astype(np.float32) * 0.6
        arrays[f"R{k}"] = rng.normal(size=(1, GATES[kind] * hidden, hidden)).astype(np.float32) * 0.5
        starts = [f"{name}0.{k}" if together else f"{name}0" for name in cells]
        ends = [f"{name}n.{k}" if together else f"{name}n" for name in cells]
        nodes.append(node(kind, [x, f"W{k}", f"R{k}", "", "", *starts], [f"Y{k}", *ends], hidden_size=hidden))
        nodes.append(node("Squeeze", [f"Y{k}", "one"], [f"s{k}"]))
        x = f"s{k}"
        for name, end in zip(cells, ends, strict=True):
            finals[name].append(end)
    arrays["V"] = rng.normal(size=(hidden, 2)).astype(np.float32)
    nodes.append(node("MatMul", [x, "V"], ["y"]))
    if together:
        nodes += [node("Concat", finals[name], [f"{name}n"], axis=0) for name in cells]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", "N", width])]
    given += [helper.make_tensor_value_info(f"{name}0", TensorProto.FLOAT, [count, "N", hidden]) for name in cells]
    results = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 3)]
    results += [helper.make_tensor_value_info(f"{name}n", TensorProto.FLOAT, [count, "N", hidden]) for name in cells]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "stream", given, results, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("execution", ["reset", "carry"])
@pytest.mark.parametrize(("count", "together"), [(1, False), (2, True)])
@pytest.mark.parametrize("kind", GATES)
def test_parts_of_a_sequence_give_the_integers_of_the_whole(kind: str, count: int, together: bool, execution: str) -> None:
    rng = np.random.default_rng(3)
    cells = ["h0", "c0"] if kind == "LSTM" else ["h0"]
    zeros = {name: np.zeros((count, 4, 5), np.float32) for name in cells}  # calibration sees no state but 0
    calibration = {"x": rng.normal(size=(12, 4, 3)).astype(np.float32), **zeros}
    program = snnir.compile(layers(kind, 1, count, together), calibration=calibration, bits=4)
    assert state_pairs(program.graph("spiking")) == {name: f"{name[0]}n" for name in cells}
    x = rng.normal(size=(13, 4, 3)).astype(np.float32) * 2
    whole = program.run({"x": x, **zeros}, execution=execution)
    stream = program.stream(execution=execution)
    parts = [stream(x[start:stop]) for start, stop in ((0, 1), (1, 6), (6, 8), (8, 13))]
    np.testing.assert_array_equal(np.concatenate([part.outputs["y"] for part in parts]), whole.outputs["y"])
    for name in cells:
        np.testing.assert_array_equal(stream.states[name], whole.outputs[f"{name[0]}n"])
    assert np.abs(stream.states["h0"]).max() > 0
    stream.reset()
    np.testing.assert_array_equal(stream(x).outputs["y"], whole.outputs["y"])
    assert program.verify({"x": x, **stream.states}).ok


def test_states_that_are_not_there_or_do_not_fit() -> None:
    rng = np.random.default_rng(0)
    calibration = {"x": rng.normal(size=(5, 2, 3)).astype(np.float32), "h0": np.zeros((1, 2, 5), np.float32)}
    program = snnir.compile(layers("RNN", 2), calibration=calibration)
    with pytest.raises(UsageError, match="states h0 -> y: 1xNx5"):
        program.stream({"h0": "y"})
    with pytest.raises(UsageError, match="outputs y, hn"):
        program.stream({"h0": "nothing"})
    with pytest.raises(UsageError, match="the states are h0"):
        program.stream().reset({"c0": np.zeros(1)})
