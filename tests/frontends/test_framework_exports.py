"""Exports of several frameworks, end to end: imported, compiled, verified, and listed in docs/frameworks.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import snnir
from snnir.frontends.onnx import run_onnxruntime
from snnir.ir.execute import execute
from tests.frontends.exports import EXPORTS, FIXTURES, markdown, verified

ROOT = Path(__file__).parents[2]


def test_every_export_is_exact_and_the_table_of_the_docs_is_true(record_property: Callable[[str, object], None]) -> None:
    rows = {export: verified(export) for export in EXPORTS}
    assert all(row.mismatches == 0 and row.compared > 0 for row in rows.values()), rows
    families = {export.framework.split()[0] for export in rows}
    assert len(rows) >= 8 and len(families) >= 4
    record_property("summary", f"{len(rows)} exports of {', '.join(sorted(families))}: 0 mismatches")
    assert (ROOT / "docs" / "frameworks.md").read_text() == markdown(rows)


def test_every_new_file_is_listed() -> None:
    stored = {path for folder in ("pytorch", "keras", "sklearn", "paddle") for path in (FIXTURES / folder).glob("*.onnx")}
    assert stored <= {export.path for export in EXPORTS}
    assert all(export.path.stat().st_size < 200_000 for export in EXPORTS)


@pytest.mark.parametrize("name", ["mlp_classifier", "mlp_two_classes", "logistic_two_classes", "mlp_several_labels"])
def test_labels_of_pipelines_are_those_of_onnx_runtime(name: str) -> None:
    path = FIXTURES / "sklearn" / f"sklearn_{name}.onnx"
    x = np.random.default_rng(1).normal(4, 2, size=(40, 4)).astype(np.float32)
    graph = snnir.import_model(path)
    ours, theirs = execute(graph, {"X": x}), run_onnxruntime(path, {"X": x})
    label = next(iter(graph.outputs))
    assert len(np.unique(theirs[label])) > 1
    np.testing.assert_array_equal(ours[label], theirs[label])


def test_words_as_labels_are_given_out_as_they_are(tmp_path: Path) -> None:
    path = FIXTURES / "sklearn" / "sklearn_mlp_words.onnx"
    x = np.random.default_rng(1).normal(4, 2, size=(40, 4)).astype(np.float32)
    program = snnir.compile(path, calibration=x, bits=8)
    assert "instead of dictionaries" in "\n".join(program.graph().notes)
    theirs = run_onnxruntime(path, {"X": x})["output_label"]
    assert len(np.unique(theirs)) > 1
    np.testing.assert_array_equal(execute(program.graph("float"), {"X": x})["output_label"], theirs)
    program.save(tmp_path / "words.snnir")
    again = snnir.load(tmp_path / "words.snnir")
    assert again.graph() == program.graph()
    assert again.verify(x).ok
    found = again.run(x).outputs
    words = np.array(["setosa", "versicolor", "virginica"])
    np.testing.assert_array_equal(found["output_label"], words[found["output_probability"].argmax(axis=1)])
