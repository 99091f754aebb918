"""The accuracy benchmark on a tiny model: a row for each output and quantizer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.accuracy import main
from tests.models import data, perceptron


def test_every_output_is_compared_with_each_quantizer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    onnx.save(perceptron(rng), tmp_path / "m.onnx")
    np.save(tmp_path / "c.npy", data(rng, 40, 6))
    np.save(tmp_path / "t.npy", data(rng, 30, 6))
    np.save(tmp_path / "labels.npy", rng.integers(0, 3, 30))
    files = ",".join(str(tmp_path / name) for name in ("m.onnx", "c.npy", "t.npy", "labels.npy"))
    assert main([f"mlp={files}", "--bits", "4", "8", "--json", str(tmp_path / "rows.json")]) == 0
    printed = capsys.readouterr().out
    rows = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert [row["method"] for row in rows] == ["snnir, 4 bits", "snnir, 8 bits", "ONNX Runtime, 8 bits"]
    assert all(row["output"] == "y" and row["correlation"] > 0.9 for row in rows)
    assert rows[1]["sqnr"] > rows[0]["sqnr"]
    assert len(printed.splitlines()) == 5
