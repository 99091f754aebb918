"""Recurrent models exported from JAX and TensorFlow: each of their layers is a loop, and becomes one scan.

The scripts in `fixtures/` wrote the files, through Keras, jax2onnx and tf2onnx.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snnir
from snnir.frontends.onnx import import_onnx, run_onnxruntime
from snnir.ir.execute import execute

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("*.onnx"))
LAYERS = {"keras_jax_two_layers": 2, "keras_tensorflow_both_directions": 2}


@pytest.mark.parametrize("path", FIXTURES, ids=[path.stem for path in FIXTURES])
def test_exported_loops(path: Path) -> None:
    graph = import_onnx(path)
    assert sum(node.op.name == "scan" for _, node in graph.walk()) == LAYERS.get(path.stem, 1)
    (entry,) = graph.inputs
    x = np.random.default_rng(0).normal(size=(24, *(int(str(size)) for size in entry.type.shape[1:]))).astype(np.float32)
    (ours,) = execute(graph, {entry.name: x}).values()
    (theirs,) = run_onnxruntime(path, {entry.name: x}).values()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    assert bool(graph.notes) == path.stem.endswith("batch_of_2")
    report = snnir.compile(path, calibration=x).verify(x)
    assert report.ok, report
    assert report.compared > 1000


def test_every_fixture_is_tested() -> None:
    assert len(FIXTURES) == 21
