"""Bad models and bad data: each gets a clear error of the documented kind that says what is wrong and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import snnir
from snnir.errors import CalibrationError, InputError, ModelError, UnsupportedError, UsageError
from snnir.ir.execute import execute
from tests.models import crnn, data, model_of, perceptron

RNG = np.random.default_rng(0)


def test_a_truncated_model_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    content = perceptron(RNG).SerializeToString()
    for size in range(0, len(content), 7):
        with pytest.raises((ModelError, UnsupportedError)):
            snnir.import_model(content[:size])


def test_files_that_are_not_onnx_are_refused(tmp_path: Path) -> None:
    for name, content in (("empty", b""), ("text", b"hello, this is no model"), ("zip", b"PK\x03\x04" + bytes(60))):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        with pytest.raises(ModelError, match=f"{name}.onnx"):
            snnir.import_model(path)
    with pytest.raises(ModelError, match="cannot be read"):
        snnir.import_model(tmp_path)
    with pytest.raises(ModelError, match="does not exist"):
        snnir.import_model(tmp_path / "absent.onnx")


def test_opsets_out_of_range_are_refused_with_the_range() -> None:
    model = perceptron(RNG)
    model.opset_import[0].version = 999
    with pytest.raises(UnsupportedError, match=r"opset 999; supported are 11 to \d+"):
        snnir.import_model(model)


def test_every_unsupported_node_is_listed_at_once() -> None:
    nodes = [
        helper.make_node("Det", ["x"], ["a"], name="first"),
        helper.make_node("Relu", ["x"], ["b"], name="fine"),
        helper.make_node("Bernoulli", ["b"], ["d"], name="second"),
        helper.make_node("Add", ["a", "d"], ["e"], name="sum"),
        helper.make_node("LeakyRelu", ["b"], ["f"], name="third", alpha=-0.5),
        helper.make_node("Add", ["e", "f"], ["y"], name="last"),
    ]
    model = model_of(nodes, ["N", 3], {"c": np.ones(1, np.float32)})
    with pytest.raises(UnsupportedError) as failure:
        snnir.import_model(model)
    message = str(failure.value)
    for line in (r"first (Det): operator not supported", "second (Bernoulli): operator not supported", "third (LeakyRelu): "):
        assert line in message
    assert "fine" not in message
    assert "3 nodes" in message
    assert "snnir ops" in message


def test_a_sum_of_as_many_products_as_the_input_is_long_is_refused_by_name() -> None:
    turned = helper.make_node("Transpose", ["x"], ["t"], name="turn", perm=[0, 2, 1])
    model = model_of([turned, helper.make_node("MatMul", ["t", "x"], ["y"], name="scores")], ["N", "T", 3], {})
    refusal = snnir.check(model).refusals[0]
    assert str(refusal).startswith("MatMul scores: it adds up T products, a number that changes with the input")
    assert refusal.sizes == {"N", "T"}
    program = snnir.compile(model, calibration=data(RNG, 4, 5, 3))
    assert program.verify(data(RNG, 4, 3, 3)).mismatches == 0
    with pytest.raises(InputError, match=r"T \(axis 1\) is 6, and at most 5 in this program"):
        program.run(data(RNG, 4, 6, 3))


@pytest.mark.parametrize("attributes", [{"activations": ["Gaussian", "Tanh"]}, {"direction": "sideways"}])
def test_cells_beyond_the_supported_are_refused_by_name(attributes: dict[str, Any]) -> None:
    weights = {"W": data(RNG, 1, 6, 3), "R": data(RNG, 1, 6, 2)}
    cell = helper.make_node("GRU", ["x", "W", "R"], ["y"], name="cell", hidden_size=2, **attributes)
    with pytest.raises((UnsupportedError, ModelError), match=r"cell"):
        snnir.import_model(model_of([cell], [5, "N", 3], weights))


def test_external_data_is_read_and_its_absence_or_escape_refused(tmp_path: Path) -> None:
    model = perceptron(RNG)
    inside = tmp_path / "inside"
    inside.mkdir()
    path = inside / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    reference = snnir.import_model(perceptron(np.random.default_rng(0)))
    assert len(snnir.import_model(path).nodes) == len(reference.nodes)
    with pytest.raises(ModelError, match="external data"):
        snnir.import_model(path.read_bytes())
    (inside / "weights.bin").rename(tmp_path / "weights.bin")
    with pytest.raises(ModelError, match="external data cannot be loaded.*inside the model's folder"):
        snnir.import_model(path)
    escaped = onnx.load(path, load_external_data=False)
    for tensor in escaped.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../weights.bin"
    path.write_bytes(escaped.SerializeToString())
    with pytest.raises(ModelError, match="external data cannot be loaded"):
        snnir.import_model(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_by_name(value: float) -> None:
    model = perceptron(RNG)
    array = numpy_helper.to_array(model.graph.initializer[0]).copy()
    array[2, 3] = value
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(array, "w1"))
    with pytest.raises(ModelError, match="initializer w1 holds 1 NaN or infinite"):
        snnir.import_model(model)


def test_integer_inputs_take_integers_of_their_type() -> None:
    relu = helper.make_node("Relu", ["c"], ["y"])
    cast = helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT)
    model = model_of([cast, relu], ["N", 3], {}, element=TensorProto.UINT8)
    program = snnir.compile(model, calibration=RNG.integers(0, 255, (9, 3)).astype(np.uint8))
    x = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert program.verify(x).ok
    for same in (x.astype(np.float64), x.astype(np.int64)):
        np.testing.assert_array_equal(program.run(same).outputs["y"], program.run(x).outputs["y"])
    for wrong, message in (
        (x + 0.5, r"input x: expected integers \(Nx3:u8\), found 6 numbers of 6 that are none, the first 0.5"),
        (x.astype(np.int64) - 1, r"input x: expected 0..255 \(Nx3:u8\), found -1..4"),
        (x.astype(np.float32) * 100, r"expected 0..255 \(Nx3:u8\), found 0..500"),
        (x.astype(str), "input x: expected numbers"),
    ):
        with pytest.raises(InputError, match=message):
            program.run(wrong)


def test_what_is_no_number_and_no_word_is_refused_as_an_input() -> None:
    identity = helper.make_node("Identity", ["x"], ["y"])
    with pytest.raises(UnsupportedError, match="input x holds COMPLEX64; numbers, truth and words are supported"):
        snnir.import_model(model_of([identity], ["N", 3], {}, element=TensorProto.COMPLEX64))
    graph = snnir.import_model(model_of([identity], ["N", 3], {}, element=TensorProto.STRING))
    with pytest.raises(InputError, match=r"input x: expected words \(Nx3:str\), found dtype int64"):
        execute(graph, {"x": np.zeros((2, 3), np.int64)})


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (np.zeros((0, 6), np.float32), "is empty"),
        (np.zeros((4, 5), np.float32), r"expected shape \[N, 6\], found \[4, 5\]"),
        (np.zeros(6, np.float32), r"found \[6\]"),
        (np.full((4, 6), np.nan, np.float32), "24 NaN or infinite values"),
        (np.array([[np.inf, 0, 0, 0, 0, 0]], np.float32), "1 NaN or infinite"),
        (np.array([list("abcdef")]), "expected numbers"),
        (np.zeros((4, 6), np.complex64), "expected numbers"),
        ({"z": np.zeros((4, 6), np.float32)}, "takes inputs x; given were z"),
        ({}, "given were none"),
    ],
)
def test_bad_calibration_data_is_refused(calibration: object, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        snnir.compile(perceptron(RNG), calibration=calibration)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [{"bits": 1}, {"bits": 9}, {"weight_bits": 1}, {"weight_bits": 17}, {"input_bits": 1}, {"bits": 4.0}, {"bits": True}],
)
def test_bits_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        snnir.compile(perceptron(RNG), calibration=data(RNG, 4, 6), **options)  # type: ignore[arg-type]


def test_bad_options_of_run_are_refused_with_the_choices(tmp_path: Path) -> None:
    program = snnir.compile(crnn(RNG), calibration=data(RNG, 12, 4, 6))
    x = data(RNG, 3, 4, 6)
    with pytest.raises(UsageError, match="relay"):
        program.run(x, delivery="pigeon")
    with pytest.raises(UsageError):
        program.run(x, steps=0)
    with pytest.raises(UsageError, match="auto"):
        program.run(x, steps="many")
    with pytest.raises(UsageError, match="nothing"):
        program.run(x, record=["nothing"])
    with pytest.raises(InputError, match="NaN"):
        program.run(np.full((1, 4, 6), np.nan))
    with pytest.raises(UsageError, match="float, quantized, spiking"):
        program.graph("middle")
    with pytest.raises(UsageError, match="cannot write"):
        program.save(tmp_path / "absent" / "program.snnir")
    assert not list(tmp_path.iterdir())


def test_import_that_differs_from_onnx_runtime_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    import snnir.frontends.onnx as frontend

    run = frontend.run_onnxruntime
    monkeypatch.setattr(frontend, "run_onnxruntime", lambda *given: {name: 1.01 * array for name, array in run(*given).items()})
    with pytest.raises(ModelError, match="output y: the import differs from ONNX Runtime"):
        snnir.compile(perceptron(RNG), calibration=data(RNG, 8, 6))
