"""RNN, GRU and LSTM nodes with every attribute, against ONNX Runtime and then as exact spiking networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import snnir
from snnir.compiler.importing import check_import
from snnir.errors import UnsupportedError
from snnir.ir.execute import execute

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
COUNTS = {"RNN": 1, "GRU": 2, "LSTM": 3}
PARAMETERS = {
    "Relu": 0,
    "Tanh": 0,
    "Sigmoid": 0,
    "Softsign": 0,
    "Softplus": 0,
    "LeakyRelu": 1,
    "ThresholdedRelu": 1,
    "Elu": 1,
    "HardSigmoid": 2,
    "ScaledTanh": 2,
    "Affine": 2,
}
"""How many of alpha and beta each activation takes."""
INPUT, HIDDEN, LENGTH = 3, 4, 5


def layer(
    seed: int, kind: str, *, lengths: bool = False, activations: tuple[str, ...] | None = None, batch: str | int = "N"
) -> onnx.ModelProto:
    """A model of one recurrent node with random weights and, by the seed, clip, peepholes, direction and so on."""
    rng = np.random.default_rng(seed)
    direction = ("forward", "reverse", "bidirectional")[seed % 3]
    directions = 2 if direction == "bidirectional" else 1
    rows = GATES[kind] * HIDDEN
    arrays = {
        "W": rng.normal(size=(directions, rows, INPUT)),
        "R": rng.normal(size=(directions, rows, HIDDEN)) * 0.6,
        "B": rng.normal(size=(directions, 2 * rows)) * 0.3,
    }
    names = ["x", "W", "R", "B", "lengths" if lengths else "", "", "", ""]
    attributes: dict[str, Any] = {"hidden_size": HIDDEN, "direction": direction}
    if seed % 2:
        attributes["clip"] = 0.9
    if kind == "LSTM" and seed % 4 < 2:
        arrays["P"] = rng.normal(size=(directions, 3 * HIDDEN)) * 0.5
        names[7] = "P"
    if kind == "LSTM" and seed % 5 == 0:
        attributes["input_forget"] = 1
    if kind == "GRU":
        attributes["linear_before_reset"] = seed % 2
    if activations:
        chosen = activations * directions
        attributes["activations"] = list(chosen)
        for place, attribute in enumerate(("activation_alpha", "activation_beta")):
            count = sum(PARAMETERS[name] > place for name in chosen)
            if count:
                attributes[attribute] = [0.3 + 0.2 * place + 0.1 * index for index in range(count)]
    names = names[: 8 if kind == "LSTM" else 6]
    outputs = ["Y", "Y_h", "Y_c"][: 3 if kind == "LSTM" else 2]
    node = helper.make_node(kind, names, outputs, "layer", **attributes)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [LENGTH, batch, INPUT])]
    if lengths:
        inputs.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, [batch]))
    initializers = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    shapes = [[LENGTH, directions, batch, HIDDEN], [directions, batch, HIDDEN], [directions, batch, HIDDEN]]
    results = [helper.make_tensor_value_info(*named) for named in zip(outputs, [TensorProto.FLOAT] * 3, shapes, strict=False)]
    graph = helper.make_graph([node], "layer", inputs, results, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def data(lengths: bool, seed: int = 0, batch: int = 6) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    arrays = {"x": rng.normal(size=(LENGTH, batch, INPUT)).astype(np.float32)}
    if lengths:
        arrays["lengths"] = rng.integers(1, LENGTH + 1, batch).astype(np.float32)
        arrays["lengths"][0] = LENGTH  # ONNX Runtime wants one sequence of full length
    return arrays


def holds(model: onnx.ModelProto, arrays: dict[str, np.ndarray]) -> None:
    """The import equals ONNX Runtime (`compile` checks it), and the spiking network the integer network."""
    program = snnir.compile(model, calibration=arrays, bits=5, weight_bits=10)
    for execution in ("reset", "carry"):
        verification = program.verify(arrays, execution=execution)
        assert verification.ok
        assert verification.within_bounds


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("seed", range(6))
def test_sequences_of_different_lengths(kind: str, seed: int) -> None:
    model, arrays = layer(seed, kind, lengths=True), data(True, seed)
    holds(model, arrays)
    found = execute(snnir.import_model(model), arrays)
    missing = np.arange(LENGTH)[:, np.newaxis] >= arrays["lengths"]
    assert not np.moveaxis(found["Y"], 2, 1)[missing].any(), "y is 0 behind the end of a sequence"


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("seed", range(4))
def test_clip_peepholes_coupled_gates_and_both_resets(kind: str, seed: int) -> None:
    holds(layer(seed, kind), data(False, seed))


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("kind", GATES)
def test_every_activation_with_parameters(kind: str, name: str) -> None:
    others = ("Sigmoid", "Tanh")[: COUNTS[kind] - 1]
    seed = len(name) + len(kind)
    holds(layer(seed, kind, activations=(*others, name)), data(False, seed))


def test_decreasing_activations_are_refused_by_name() -> None:
    model = layer(0, "RNN", activations=("LeakyRelu",))
    for attribute in model.graph.node[0].attribute:
        if attribute.name == "activation_alpha":
            attribute.floats[:] = [-0.5]
    with pytest.raises(UnsupportedError, match=r"layer \(RNN\).*alpha -0.5 decreases"):
        snnir.import_model(model)


def test_constant_lengths_of_a_fixed_batch() -> None:
    model = layer(3, "LSTM", lengths=True, batch=3)
    model.graph.input.pop()
    model.graph.initializer.append(numpy_helper.from_array(np.array([5, 2, 4], np.int32), "lengths"))
    graph = snnir.import_model(model)
    assert any("batch stays fixed at 3" in note for note in graph.notes)
    assert check_import(model, graph, data(False, 3, batch=3)) < 1e-5


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_a_fixed_batch_that_does_not_divide_the_data_is_compared_and_generalised(batch: int) -> None:
    program = snnir.compile(layer(1, "GRU", batch=batch), calibration=data(False, 1, batch=20))
    error = program.facts["import_error"]
    assert isinstance(error, float)
    assert error < 1e-5
