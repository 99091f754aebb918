"""Values of inputs that are given while importing: the model computes what ONNX Runtime computes with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

import snnir
from snnir.cli.main import main
from snnir.errors import InputError, ModelError, UnsupportedError, UsageError
from snnir.frontends.onnx import import_onnx, run_onnxruntime, with_constants
from snnir.ir.execute import execute

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 6)).astype(np.float32)
SHAPED = """<ir_version: 8, opset_import: ["" : 17]>
m (float[N, 6] x, int64[1] size, float step) => (float[?, ?] y) {
    level = ConstantOfShape <value: tensor = float[1] {0.25}> (size)
    scaled = Mul(level, step)
    both = Add(x, scaled)
    y = Relu(both)
}"""
GIVEN: dict[str, Any] = {"size": [6], "step": 3.0}


def parsed(source: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(source)
    onnx.checker.check_model(model)
    return model


def test_what_is_given_is_an_input_no_more() -> None:
    model = parsed(SHAPED)
    graph = import_onnx(model, constants=GIVEN)
    assert [value.name for value in graph.inputs] == ["x"]
    theirs = run_onnxruntime(with_constants(model, GIVEN), {"x": X})["y"]
    np.testing.assert_allclose(execute(graph, {"x": X})["y"], theirs, rtol=1e-6)
    np.testing.assert_allclose(theirs, np.maximum(X + 0.75, 0), rtol=1e-6)
    program = snnir.compile(model, calibration=X, constants=GIVEN)
    assert program.verify(X).ok
    assert snnir.check(model, constants=GIVEN).ok
    assert not snnir.check(model).ok
    assert [entry.name for entry in model.graph.input] == ["x", "size", "step"]


def test_without_them_the_model_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"level \(ConstantOfShape\): the shape changes with the input"):
        import_onnx(parsed(SHAPED))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"siz": [6]}, "constants names siz; the inputs of model m are x, size, step"),
        ({"size": [[6]]}, r"constant size: expected shape \[1\], found \[1, 1\]"),
        ({"size": [6.5]}, "constant size: .* does not fit its element type INT64"),
        ({"size": ["six"]}, r"constant size: expected numbers \(INT64\)"),
        ({"size": None}, r"constant size: expected numbers \(INT64\)"),
        ({"size": [[1], [2, 3]]}, "constant size is no tensor"),
        ({"step": float("nan")}, "initializer step is NaN"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        import_onnx(parsed(SHAPED), constants=given)


def test_constants_are_for_onnx_models_only() -> None:
    graph = import_onnx(parsed(SHAPED), constants=GIVEN)
    with pytest.raises(UsageError, match="constants are for ONNX models"):
        snnir.import_model(graph, constants=GIVEN)


LISTS = """<ir_version: 8, opset_import: ["" : 17]>
m (float[N, 6] x, seq(float[6]) biases, optional(float[6]) gain) => (float[?, ?] y) <int64[1] axis = {0}> {
    joined = ConcatFromSequence <axis = 0, new_axis = 1> (biases)
    total = ReduceSum <keepdims = 0> (joined, axis)
    there = OptionalHasElement(gain)
    scaled = If (there) <
        then_branch = yes () => (float[?, ?] a) { g = OptionalGetElement(gain) a = Mul(x, g) },
        else_branch = no () => (float[?, ?] b) { b = Identity(x) }
    >
    y = Add(scaled, total)
}"""


@pytest.mark.parametrize("gain", [None, np.linspace(-1, 1, 6, dtype=np.float32)])
def test_lists_and_optional_values(gain: np.ndarray | None) -> None:
    model = parsed(LISTS)
    biases = [RNG.normal(size=6).astype(np.float32) for _ in range(3)]
    graph = import_onnx(model, constants={"biases": biases, "gain": gain})
    expected = X * (1 if gain is None else gain) + sum(biases)
    np.testing.assert_allclose(execute(graph, {"x": X})["y"], expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ModelError, match="constant biases: the model takes a list of tensors, found ndarray"):
        with_constants(model, {"biases": biases[0]})
    with pytest.raises(UnsupportedError, match=r"input biases is not a tensor of known rank; give its value while importing"):
        import_onnx(model)


def test_a_list_is_given_out_as_its_tensors() -> None:
    model = parsed("""<ir_version: 8, opset_import: ["" : 17]>
    m (float[N, 6] x) => (seq(float[?, ?]) parts) { r = Relu(x) parts = SequenceConstruct(x, r) }""")
    graph = import_onnx(model)
    assert list(graph.outputs) == ["parts.0", "parts.1"]
    assert "output parts is a list" in graph.notes[0]
    np.testing.assert_array_equal(execute(graph, {"x": X})["parts.1"], np.maximum(X, 0))


def test_the_command_line_takes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(parsed(SHAPED), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "size.npy", np.array([6]))
    known = ["--constant", f"size={tmp_path / 'size.npy'}", "--constant", "step=3.0"]
    model, x, program = (str(tmp_path / name) for name in ("m.onnx", "x.npy", "p.snnir"))
    assert main(["check", model, *known]) == 0
    assert main(["compile", model, "--calibration", x, "-o", program, *known]) == 0
    assert main(["verify", program, x, "--model", model, *known]) == 0
    capsys.readouterr()
    for wrong, message in (("step", "give the input's name and its value"), ("step=three", "give a .npy file, or JSON")):
        assert main(["check", model, "--constant", wrong]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    with pytest.raises(InputError, match="does not exist"):
        main(["--debug", "check", model, "--constant", "size=absent.npy"])
