"""The benchmark of real models on models made here: what it measures, what it says of refusals, its table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from benchmarks.real_inputs import FILES, File, inputs_of
from benchmarks.real_models import measured, measured_bif, table
from tests.models import data, model_of


def small(path: Path, *nodes: onnx.NodeProto) -> Path:
    first = helper.make_node("MatMul", ["x", "w"], ["a"], "first")
    onnx.save(model_of([first, *nodes], ["N", "features"], {"w": data(np.random.default_rng(0), 6, 4)}), path)
    return path


def test_a_model_is_compiled_run_and_verified(tmp_path: Path) -> None:
    file = File("here", "small.onnx", {"x": ("features", ("N", 6))})
    path = small(tmp_path / "small.onnx", helper.make_node("Relu", ["a"], ["y"]))
    facts = measured(file, path)
    assert facts["check"]["ok"] and facts["mismatches"] == 0 and facts["options"] == []
    assert facts["correlation"]["y"] > 0.98
    assert measured_bif(file, path, facts["options"])["mismatches"] == 0
    line, summary = (table({"here: small.onnx": facts}).splitlines()[place] for place in (2, -1))
    assert line.startswith("| here: small.onnx | 2 |  | 100.0 % | 0 | ")
    assert summary == "1 of 1 files convert with 0 mismatches and a correlation of 0.98 or more at 8 bits."


def test_a_refusal_stands_in_the_table(tmp_path: Path) -> None:
    file = File("here", "small.onnx", {"x": ("features", ("N", 6))})
    facts = measured(file, small(tmp_path / "small.onnx", helper.make_node("Bernoulli", ["a"], ["y"], "coin")))
    assert not facts["check"]["ok"]
    assert "coin (Bernoulli): operator not supported: its result is random" in table({"here: small.onnx": facts})


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.package}-{Path(file.path).name}")
def test_inputs_are_finite_and_of_the_shapes_that_are_named(file: File) -> None:
    found = inputs_of(file, 1, 0)
    for name, (_, sizes) in file.inputs.items():
        assert found[name].shape == tuple(1 if size == "N" else size for size in sizes)
        assert np.isfinite(found[name]).all()
