"""The benchmark of both families of neurons on a tiny model: its rows, and the page that it writes into."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.neurons import BEGIN_ENERGY, BEGIN_TABLE, main
from benchmarks.report import END, insert
from tests.models import data, perceptron


def test_rows_of_both_families_go_into_a_page_and_stay_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    onnx.save(perceptron(rng), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", data(rng, 20, 6))
    page, rows = tmp_path / "page.md", tmp_path / "rows.json"
    page.write_text(f"before\n{BEGIN_TABLE}\nold\n{END}\nbetween\n{BEGIN_ENERGY}\nold\n{END}\nafter\n", encoding="utf-8")
    for name, bits in (("mlp", "4"), ("other", "8")):
        model = f"{name}={tmp_path / 'm.onnx'},{tmp_path / 'x.npy'}"
        assert main([model, "--bits", bits, "--json", str(rows), "--write", str(page)]) == 0
    found = json.loads(rows.read_text(encoding="utf-8"))
    assert [(row["model"], row["bits"], row["neuron"]) for row in found] == [
        (name, bits, neuron) for name, bits in (("mlp", 4), ("other", 8)) for neuron in ("bif", "few-spikes")
    ]
    assert all(row["mismatches"] == 0 and row["spikes"] > 0 for row in found)
    assert (
        found[1]["spikes"] < found[0]["spikes"] and found[1]["steps_mean"] == found[1]["steps_most"] == found[1]["steps_sample"]
    )
    text = page.read_text(encoding="utf-8")
    assert "old" not in text and all(word in text for word in ("before", "between", "after", "| mlp | 4 | few-spikes |"))
    assert "0 mismatches in all rows" in text and "| other | 8 | bif |" in capsys.readouterr().out


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="needs one line"):
        insert("a page", "a table")
    with pytest.raises(ValueError, match="needs one line"):
        insert(f"{BEGIN_TABLE}\n{BEGIN_TABLE}\n{END}", "a table", BEGIN_TABLE)
