"""What the compiler says was lost: distances of outputs, warnings by name, and the layer table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import snnir
from snnir.cli.main import main
from snnir.compiler.debugging import quantized_program
from snnir.compiler.sensitivity import Partial, rounded_weights
from snnir.ir.execute import execute
from snnir.runtime.accuracy import MOST_DB, Meter, decibels
from tests.models import crnn, data, model_of, perceptron
from tests.random_graphs import random_graph


@pytest.fixture
def rng() -> np.random.Generator:
    """One generator a test, so that no test depends on those before it."""
    return np.random.default_rng(3)


def names(program: snnir.Program) -> set[str]:
    return {item.name for item in program.warnings}


def two_layers(first: np.ndarray, second: np.ndarray, activation: str = "Relu") -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gemm", ["x", "w1"], ["h"], name="first", transB=1),
        helper.make_node(activation, ["h"], ["r"], name="middle"),
        helper.make_node("Gemm", ["r", "w2"], ["y"], name="second", transB=1),
    ]
    weights = {"w1": first.astype(np.float32), "w2": second.astype(np.float32)}
    return model_of(nodes, ["N", first.shape[1]], weights)


def test_a_good_conversion_has_a_small_distance_and_no_warning(rng: np.random.Generator) -> None:
    program = snnir.compile(two_layers(rng.normal(size=(12, 6)), rng.normal(size=(4, 12))), calibration=data(rng, 64, 6), bits=8)
    (distance,) = program.distances
    assert (distance.name, distance.samples) == ("y", 64)
    assert distance.sqnr > 25
    assert distance.correlation is not None
    assert distance.correlation > 0.995
    assert distance.agreement is not None
    assert distance.agreement > 0.9
    assert not program.warnings


def test_an_outlier_weight_is_named(rng: np.random.Generator) -> None:
    first = 0.01 * rng.normal(size=(12, 6))
    first[:, 0] = 5.0
    program = snnir.compile(two_layers(first, rng.normal(size=(4, 12))), calibration=data(rng, 64, 6), bits=8)
    (warning,) = [item for item in program.warnings if item.name == "outlier-weight"]
    assert warning.where == "w1"
    assert "first" in warning.message
    assert "--weight-bits" in warning.message
    assert "outlier-weight" not in names(
        snnir.compile(two_layers(rng.normal(size=(12, 6)), rng.normal(size=(4, 12))), calibration=data(rng, 64, 6))
    )


def test_an_output_that_became_constant_is_named(rng: np.random.Generator) -> None:
    first = 0.01 * rng.normal(size=(4, 6))  # all of the hidden layer is nearly one half
    model = two_layers(first, rng.normal(size=(2, 4)), "Sigmoid")
    program = snnir.compile(model, calibration=data(rng, 64, 6), bits=2)
    (warning,) = [item for item in program.warnings if item.name == "constant-output"]
    assert warning.where == "y"
    assert "worst first: r alone makes an output constant" in warning.message
    assert "--value-bits r=" in warning.message
    assert program.distances[0].constant


def test_all_zero_channels_are_named(rng: np.random.Generator) -> None:
    first = rng.normal(size=(6, 6))
    first[2] *= 1e-4  # too small for any level
    x = data(rng, 64, 6)
    x[:, 4] = 0
    model = two_layers(first, rng.normal(size=(4, 6)), "Tanh")  # a ReLU's channels have scales of their own
    program = snnir.compile(model, calibration=x)
    messages = [item.message for item in program.warnings if item.name == "zero-channel"]
    assert any(message.startswith("channel 2 of r became all 0") for message in messages)
    assert any(message.startswith("channel 4 of input x is 0 in all calibration data") for message in messages)


def test_one_calibration_sample_is_named(rng: np.random.Generator) -> None:
    model, x = two_layers(rng.normal(size=(12, 6)), rng.normal(size=(4, 12))), data(rng, 64, 6)
    assert "one-calibration-sample" in names(snnir.compile(model, calibration=x[:1], bits=8))
    assert "one-calibration-sample" not in names(snnir.compile(model, calibration=x, bits=8))


def test_calibration_that_saturates_the_network_is_named(rng: np.random.Generator) -> None:
    model, x = two_layers(rng.normal(size=(12, 6)), rng.normal(size=(4, 12)), "Tanh"), data(rng, 64, 6)
    saturated = [item for item in snnir.compile(model, calibration=255 * x).warnings if item.name == "saturated-calibration"]
    assert [item.where for item in saturated] == ["Tanh middle"]
    assert "saturated-calibration" not in names(snnir.compile(model, calibration=0.2 * x))


def test_activations_beyond_their_levels_are_named(rng: np.random.Generator) -> None:
    x = data(rng, 64, 6)
    x[0] *= 100  # the percentile leaves it out, and what is like it
    x[1:20] *= 30
    program = snnir.compile(perceptron(rng), calibration=x, method="percentile", percentile=60.0)
    assert "clipped-activation" in names(program)


def test_a_low_sqnr_names_where_it_arises_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = crnn(np.random.default_rng(0)), data(np.random.default_rng(1), 20, 4, 6)
    program = snnir.compile(model, calibration=x, bits=2)
    (warning,) = [item for item in program.warnings if item.name == "low-sqnr"]
    assert "H.forward.last/y costs" in warning.message
    assert "--value-bits H.forward.last/y=" in warning.message
    program.save(tmp_path / "p.snnir")
    loaded = snnir.load(tmp_path / "p.snnir")
    assert loaded.warnings == program.warnings
    assert loaded.distances == program.distances
    onnx.save(model, tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", x)
    command = ["compile", str(tmp_path / "m.onnx"), "--calibration", str(tmp_path / "x.npy"), "-o", str(tmp_path / "out.snnir")]
    monkeypatch.setenv("COLUMNS", "40")  # narrower than the words: rows one under the other
    assert main([*command, "--bits", "2"]) == 0
    printed = capsys.readouterr()
    title, first, *_ = printed.out.splitlines()
    assert title == "compiled"
    assert first.startswith("distance to float: y: SQNR")
    assert "warning: low-sqnr: output y" in " ".join(printed.err.split())
    monkeypatch.setenv("COLUMNS", "1000")
    assert main([*command, "--bits", "2"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert "distance to float" in lines[0]
    assert "SQNR" in lines[0]
    (tmp_path / "out.snnir").unlink()
    assert main([*command, "--bits", "2", "--min-sqnr", "30", "--json"]) == 1
    printed = capsys.readouterr()
    facts = json.loads(printed.out)
    assert facts["distances"][0]["sqnr_db"] < 30
    assert facts["warnings"][0]["name"] == "low-sqnr"
    assert "--min-sqnr 30" in " ".join(printed.err.split())
    assert not (tmp_path / "out.snnir").exists()
    assert main([*command, "--bits", "8", "--min-sqnr", "20", "--json"]) == 0
    assert (tmp_path / "out.snnir").exists()


def test_verify_compares_the_spiking_outputs_with_the_models_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from snnir.frontends.onnx import run_onnxruntime

    model, x = crnn(np.random.default_rng(0)), data(np.random.default_rng(1), 20, 4, 6)
    program = snnir.compile(model, calibration=x)
    onnx.save(model, tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", x)
    program.save(tmp_path / "p.snnir")
    command = ["verify", str(tmp_path / "p.snnir"), str(tmp_path / "x.npy"), "--model", str(tmp_path / "m.onnx")]
    assert main([*command, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["distances"]
    expected = Meter("y", program.graph("float").outputs["y"].type)
    expected.add(run_onnxruntime(model, {"x": x})["y"], program.run(x).outputs["y"])
    assert found == expected.distance().facts()
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert printed.index("distance to the model itself: y: SQNR") < printed.index("0 mismatches")


def test_the_layer_table_holds_every_value_and_weight(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, x = crnn(np.random.default_rng(0)), data(np.random.default_rng(1), 20, 4, 6)
    onnx.save(model, tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", x)
    assert main(["debug", str(tmp_path / "m.onnx"), "--calibration", str(tmp_path / "x.npy"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [item["option"] for item in facts["values"]] == ["x", "r", "H.forward.last/y"]
    assert [item["name"] for item in facts["weights"]] == [
        "w",
        "v",
        *(f"H.forward.last/{name}" for name in ("gate.weight", "gate.recurrent")),
    ]
    assert all(item["output_db"] is not None for item in (*facts["values"], *facts["weights"]))
    assert main(["debug", str(tmp_path / "m.onnx"), "--calibration", str(tmp_path / "x.npy")]) == 0
    assert "clipped" in capsys.readouterr().out


@pytest.mark.parametrize("seed", range(12))
def test_all_values_and_weights_together_are_the_quantized_network(seed: int) -> None:
    """What is measured one by one is what the compiler does: everything changed at once gives the quantized outputs."""
    graph, inputs = random_graph(seed)
    program, steps = quantized_program(graph, inputs)
    partial = Partial(steps.calibrated, inputs, 4)
    table = snnir.debug(graph, calibration=inputs, samples=4)
    levels = {loss.observed: loss.levels for loss in table.losses.activations}
    outputs = partial.outputs(levels, rounded_weights(steps))
    expected = execute(program.graph("quantized"), partial.data)
    jumps = any(node.op.name == "sign" for _, node in graph.walk())  # a sum next to 0 changes sides by any rounding
    for name, array in outputs.items():
        signal, noise = float((expected[name] ** 2).sum()), float(((expected[name] - array) ** 2).sum())
        assert decibels(signal, noise) > 20 or signal == 0 or jumps  # biases are rounded as well
    untouched = partial.outputs({}, {})
    assert all(np.array_equal(untouched[name], partial.expected[name]) for name in untouched)


def test_decibels_are_finite() -> None:
    assert decibels(1.0, 0.0) == MOST_DB
    assert decibels(0.0, 1.0) == -MOST_DB
    assert decibels(100.0, 1.0) == pytest.approx(20.0)
