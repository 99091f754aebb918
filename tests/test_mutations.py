"""Files that are damaged in any way end in a report or in one of snnir's own errors, and in nothing else."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import snnir
from snnir.cli.main import main
from snnir.errors import Refusal, SnnirError, UnsupportedError
from snnir.frontends.onnx.registry import HANDLERS
from snnir.ir import Value
from tests.models import model_of
from tests.mutations import KINDS, mutated

FIXTURES = Path(__file__).parent / "frontends" / "fixtures"
BASES = sorted(path for path in FIXTURES.rglob("*.onnx") if path.stat().st_size < 4600)
PIECES = 10
EACH = 100
"""Mutations of one kind in one piece: 5 kinds, 10 pieces, 5,000 in all."""


@pytest.mark.parametrize("piece", range(PIECES))
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_reported(kind: str, piece: int) -> None:
    contents = [path.read_bytes() for path in BASES]
    for number in range(EACH):
        seed = piece * EACH + number
        content = mutated(contents[seed % len(contents)], kind, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, of numbers that the mutation made absurd
            refusals = _refusals(content, f"{kind} {seed} of {BASES[seed % len(contents)].name}")
        assert all(refusal.node and refusal.reason for refusal in refusals)


def _refusals(content: bytes, label: str) -> tuple[Refusal, ...]:
    try:
        return snnir.check(content).refusals
    except SnnirError as error:
        return (Refusal("the file", str(error)),)
    except Exception as error:
        raise AssertionError(label) from error


def test_sizes_are_bounded_before_anything_is_allocated() -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], "conv"), helper.make_node("GlobalAveragePool", ["c"], ["y"], "pool")]
    found = snnir.check(model_of(nodes, ["N", 1, 1 << 20, 1 << 20], {"w": np.ones((1, 1, 1, 1), np.float32)}))
    assert "elements, and no more than" in found.refusals[0].reason
    nodes = [helper.make_node("Tile", ["w", "count"], ["t"], "tile"), helper.make_node("Add", ["x", "t"], ["y"])]
    model = model_of(nodes, ["N", 4], {"w": np.ones(4, np.float32), "count": np.array([1 << 40])})
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", "m"]))
    found = snnir.check(model)
    assert "tile (Tile): its result would have more than" in str(found.refusals[0])


def test_what_was_not_foreseen_names_its_node(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(call: object) -> list[Value]:
        raise IndexError("list index out of range")

    monkeypatch.setitem(HANDLERS, "Relu", broken)
    nodes = [helper.make_node("Relu", ["x"], ["r"], "first"), helper.make_node("Sigmoid", ["r"], ["y"], "second")]
    model = model_of(nodes, ["N", 4], {})
    (refusal,) = snnir.check(model).refusals
    assert str(refusal).startswith("first (Relu): snnir failed on it (IndexError: list index out of range); please report")
    assert "in broken" in refusal.trace
    onnx.save(model, tmp_path / "model.onnx")
    assert main(["--debug", "check", str(tmp_path / "model.onnx")]) == 1
    assert "in broken" in capsys.readouterr().err
    with pytest.raises(UnsupportedError, match=r"first \(Relu\): snnir failed on it"):
        snnir.import_model(model)
