"""Numbers of inputs that encoders have no level for are counted, in runs of every form, and named by the input."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import snnir
from snnir.ir.ops import Encode
from snnir.streaming import run_stream
from tests.models import crnn, data, model_of, perceptron


def beyond(program: snnir.Program, x: np.ndarray) -> int:
    """Numbers of x that the only encoder, which takes them as they are, has no level for."""
    encoders = [node for _, node in program.graph("spiking").walk() if isinstance(node.op, Encode)]
    (node,) = [node for node in encoders if not node.operands[0].is_constant]
    levels = node.expect(Encode).quantization
    wide = np.floor(x.astype(np.float64) / levels.scale + 0.5)
    return int(((wide < levels.lo) | (wide > levels.hi)).sum())


@pytest.mark.parametrize("backend", ["simulator", "torch"])
@pytest.mark.parametrize("kind", ["layers", "inside a scan"])
def test_what_has_no_level_is_counted(kind: str, backend: str) -> None:
    rng = np.random.default_rng(0)
    model, shape = (perceptron(rng), (6,)) if kind == "layers" else (crnn(rng), (4, 6))
    program = snnir.compile(model, calibration=data(rng, 40, *shape))
    for factor in (0.5, 1.3, 100.0):
        x = factor * data(rng, 30, *shape)
        result = program.run(x, backend=backend)
        assert result.clipped_counts == {"x": (beyond(program, x), x.size)}
        assert result.clipped == program.clipped(x) == {"x": beyond(program, x) / x.size}


def test_inputs_that_the_host_scales_or_computes_with_first_are_counted() -> None:
    rng = np.random.default_rng(1)
    weights = {"w": data(rng, 6, 4), "factors": np.array([1, 10, 100, 1, 10, 100], np.float32)}
    layer = [helper.make_node("MatMul", ["s", "w"], ["m"]), helper.make_node("Relu", ["m"], ["y"])]
    for op, operands, name in (("Mul", ["x", "factors"], "x"), ("Sin", ["x"], "s")):
        model = model_of([helper.make_node(op, operands, ["s"], name="first"), *layer], ["N", 6], weights)
        x = np.random.default_rng(2).uniform(0, 0.5, (64, 6)).astype(np.float32)
        program = snnir.compile(model, calibration=x, allow_host=True)
        assert program.run(x).clipped[name] < 0.01
        assert program.run(-x - 1).clipped[name] > 0.5


def test_a_run_in_chunks_counts_what_a_run_at_once_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    program, x = snnir.compile(perceptron(rng), calibration=data(rng, 40, 6)), 3 * data(rng, 50, 6)
    np.save(tmp_path / "x.npy", x)
    found = run_stream(program, tmp_path / "x.npy", tmp_path / "out", chunk=7)
    assert found.totals.clipped_shares == program.run(x).clipped != {"x": 0.0}


def test_python_is_warned_once_and_a_result_says_it(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(4)
    program, x = snnir.compile(perceptron(rng), calibration=data(rng, 40, 6)), data(rng, 40, 6)
    assert "clipped" not in repr(program.run(x)) and not caplog.records
    for _ in range(2):
        assert "% of x clipped" in repr(program.run(100 * x))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and "saturates" in record.getMessage()


def test_the_command_line_says_it_of_chunks_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from snnir.cli.main import main

    rng = np.random.default_rng(5)
    model, inputs, program = (str(tmp_path / name) for name in ("m.onnx", "x.npy", "m.snnir"))
    onnx.save(perceptron(rng), model)
    np.save(inputs, data(rng, 40, 6))
    assert main(["compile", model, "--calibration", inputs, "-o", program, "--json"]) == 0
    np.save(inputs, 100 * data(rng, 40, 6))
    for more in ([], ["--chunk", "16", "-o", str(tmp_path / "out")]):
        assert main(["run", program, inputs, *more]) == 0
        said = capsys.readouterr()
        assert said.err.count("warning: ") == 1 and "% of input x lies beyond" in said.err
        assert "saturated inputs" in said.out
