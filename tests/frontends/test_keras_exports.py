"""Keras models whose recurrent layers were unrolled on export: the noise between the steps is folded, the steps are rolled.

`fixtures/unrolled/keras_exports.py` made the files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snnir
from snnir.frontends.onnx import import_onnx, run_onnxruntime
from snnir.ir.execute import execute
from snnir.ir.ops import Scan

_FIXTURES = Path(__file__).parent / "fixtures" / "unrolled"
_SCANS = {"simple_rnn": 1, "gru": 1, "lstm": 1, "stacked": 2, "backwards": 1, "bidirectional": 2}


@pytest.mark.parametrize("name", _SCANS)
def test_an_unrolled_keras_layer_becomes_one_scan(name: str) -> None:
    path = _FIXTURES / f"keras_{name}.onnx"
    graph = import_onnx(path)
    (entry,) = graph.inputs
    sample = entry.type.with_shape(entry.type.shape[1:]).static_shape("a sample")
    x = np.random.default_rng(0).normal(size=(12, *sample)).astype(np.float32)
    ours, theirs = execute(graph, {entry.name: x}), run_onnxruntime(path, {entry.name: x})
    for output, expected in theirs.items():
        np.testing.assert_allclose(ours[output], expected, rtol=0, atol=1e-5)
    program = snnir.compile(path, calibration=x)
    scans = [node for node in program.graph().nodes if isinstance(node.op, Scan)]
    assert len(scans) == _SCANS[name]
    for node in scans:
        assert isinstance(node.op, Scan)
        assert node.operands[node.op.states].type.shape[node.op.axis] == sample[0]
    for delivery in ("relay", "replay", "graded"):
        report = program.verify(x, delivery=delivery)
        assert report.ok, report


def test_every_file_has_a_test() -> None:
    assert {path.stem for path in _FIXTURES.glob("*.onnx")} == {f"keras_{name}" for name in _SCANS}
    assert all(path.stat().st_size < 200_000 for path in _FIXTURES.iterdir())
