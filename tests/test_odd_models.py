"""Models that are right though unusual convert; what says nothing is refused; of nothing nothing is called exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import snnir
from snnir.cli.main import main
from snnir.errors import CalibrationError, InputError, ModelError
from tests.models import data

RNG = np.random.default_rng(0)
X = data(RNG, 40, 6)
WEIGHTS = {"w": data(RNG, 6, 5), "v": data(RNG, 5, 3)}
Entry = tuple[str, int, list[int | str]]
TAKES: Entry = ("x", TensorProto.FLOAT, ["N", 6])
GIVES: Entry = ("y", TensorProto.FLOAT, ["N", 3])


def node(kind: str, operands: list[str], result: str, name: str = "", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, operands, [result], name=name or None, **attributes)  # type: ignore[arg-type]


PLAIN: list[int | str] = ["N", 6]
LAYERS = [node("MatMul", ["x", "w"], "a"), node("Relu", ["a"], "r"), node("MatMul", ["r", "v"], "y")]


def model(nodes: list[onnx.NodeProto], takes: list[Entry], gives: list[Entry], name: str = "g") -> onnx.ModelProto:
    inputs, outputs = ([helper.make_tensor_value_info(*entry) for entry in part] for part in (takes, gives))
    constants = [numpy_helper.from_array(array, key) for key, array in WEIGHTS.items()]
    graph = helper.make_graph(nodes, name, inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def scaled(element: int, shape: list[int | str]) -> onnx.ModelProto:
    """The layers behind a product with an input of its own."""
    nodes = [node("Cast", ["s"], "f", to=TensorProto.FLOAT), node("Mul", ["x", "f"], "q"), node("MatMul", ["q", "w"], "a")]
    return model([*nodes, *LAYERS[1:]], [TAKES, ("s", element, shape)], [GIVES])


ALIKE = [node("MatMul", ["x", "w"], "a", "n"), node("Relu", ["a"], "r", "n"), node("MatMul", ["r", "v"], "y", "n")]
FOREIGN = [node("MatMul", ["вход", "w"], "a", "層/α"), node("Relu", ["a"], "été ☂"), node("MatMul", ["été ☂", "v"], "出力")]
RIGHT: dict[str, tuple[onnx.ModelProto, Any]] = {
    "nodes of one name": (model(ALIKE, [TAKES], [GIVES]), X),
    "an input that nothing reads": (
        model(LAYERS, [TAKES, ("u", TensorProto.INT64, ["N"])], [GIVES]),
        {"x": X, "u": np.arange(40)},
    ),
    "a scalar": (scaled(TensorProto.FLOAT, []), {"x": X, "s": np.float32(2)}),
    "a scalar that is an integer": (scaled(TensorProto.INT64, []), {"x": X, "s": np.int64(2)}),
    "integers": (
        model([node("Cast", ["i"], "x", to=TensorProto.FLOAT), *LAYERS], [("i", TensorProto.INT64, ["N", 6])], [GIVES]),
        RNG.integers(-3, 9, (40, 6)),
    ),
    "truth": (
        model([node("Cast", ["i"], "x", to=TensorProto.FLOAT), *LAYERS], [("i", TensorProto.BOOL, ["N", 6])], [GIVES]),
        RNG.integers(0, 2, (40, 6)).astype(bool),
    ),
    "an input given out": (
        model([node("Identity", ["x"], "z"), *LAYERS], [TAKES], [GIVES, ("z", TensorProto.FLOAT, PLAIN)]),
        X,
    ),
    "a constant given out": (
        model([node("Identity", ["v"], "z"), *LAYERS], [TAKES], [GIVES, ("z", TensorProto.FLOAT, [5, 3])]),
        X,
    ),
    "names of all alphabets": (
        model(FOREIGN, [("вход", TensorProto.FLOAT, ["N", 6])], [("出力", TensorProto.FLOAT, ["N", 3])], "모델"),
        X,
    ),
    "data of half precision": (model(LAYERS, [TAKES], [GIVES]), X.astype(np.float16)),
    "data in another order": (model(LAYERS, [TAKES], [GIVES]), np.asfortranarray(X)),
    "a list": (model(LAYERS, [TAKES], [GIVES]), X.tolist()),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_what_is_unusual_and_right_converts(kind: str) -> None:
    made, x = RIGHT[kind]
    assert snnir.check(made).ok
    program = snnir.compile(made, calibration=x)
    assert program.facts.import_error is not None
    verified = program.verify(x)
    assert verified.ok and verified.compared > 0


def test_a_model_without_outputs_says_so() -> None:
    for call in (snnir.import_model, snnir.check, lambda made: snnir.compile(made, calibration=X)):
        with pytest.raises(ModelError, match="gives nothing out: its graph has no outputs"):
            call(model(LAYERS, [TAKES], []))


def test_data_too_small_to_be_numbers_are_refused() -> None:
    with pytest.raises(CalibrationError, match="where float32 has hardly any digits"):
        snnir.compile(model(LAYERS, [TAKES], [GIVES]), calibration=X * np.float32(1e-42))


def test_sequences_of_length_0_are_not_called_exact() -> None:
    weights = {"W": data(RNG, 1, 5, 6), "R": data(RNG, 1, 5, 5)}
    rnn = helper.make_node("RNN", ["x", "W", "R"], ["Y"], hidden_size=5, activations=["Relu"])
    graph = helper.make_graph(
        [rnn],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", "N", 6])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["T", 1, "N", 5])],
        [numpy_helper.from_array(array * np.float32(0.3), key) for key, array in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    program = snnir.compile(made, calibration=data(RNG, 4, 16, 6))
    assert program.run(np.zeros((0, 16, 6), np.float32)).outputs["Y"].shape == (0, 1, 16, 5)
    assert program.verify(data(RNG, 1, 16, 6)).ok
    for shape, says in (((0, 16, 6), "input x is empty"), ((4, 0, 6), "0 samples")):
        with pytest.raises(InputError, match=f"{says}.*nothing would be compared"):
            program.verify(np.zeros(shape, np.float32))


def test_nothing_that_spikes_is_not_called_equal(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    made = model([node("Identity", ["v"], "z")], [TAKES], [("z", TensorProto.FLOAT, [5, 3])])
    program = snnir.compile(made, calibration=X)
    assert "nothing that spikes" in repr(program.verify(X))
    program.save(tmp_path / "p.snnir")
    np.save(tmp_path / "x.npy", X)
    assert main(["verify", str(tmp_path / "p.snnir"), str(tmp_path / "x.npy")]) == 0
    assert "nothing to compare" in " ".join(capsys.readouterr().out.split())


def test_what_saturates_of_the_calibration_data_is_no_reason_for_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    made = model(LAYERS, [TAKES], [GIVES])
    for method in ("mse", "percentile"):
        program = snnir.compile(made, calibration=X, method=method, percentile=90.0)
        assert program.run(X).clipped["x"] == pytest.approx((program.facts.clipped_inputs or {}).get("x", 0.0))
        assert not caplog.records
        program.run(10 * X)
        assert "saturates" in caplog.text
        caplog.clear()
