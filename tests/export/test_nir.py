"""NIR from the front door: `snnir.export_nir`, `snnir.import_nir` and `snnir nir`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import snnir
from snnir.backends.simulator import Simulator
from snnir.cli.main import main
from snnir.errors import UsageError
from tests.models import crnn, data, perceptron


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A feed-forward and a recurrent program, and data."""
    path = tmp_path_factory.mktemp("nir")
    rng = np.random.default_rng(0)
    for name, model, x in (("p", perceptron(rng), data(rng, 20, 6)), ("r", crnn(rng), data(rng, 20, 4, 6))):
        onnx.save(model, path / f"{name}.onnx")
        np.save(path / f"{name}.npy", x)
        snnir.compile(path / f"{name}.onnx", calibration=x).save(path / f"{name}.snnir")
    return path


@pytest.mark.parametrize("name", ["p", "r"])
def test_what_is_exported_comes_back_exactly(folder: Path, name: str, tmp_path: Path) -> None:
    program, x = snnir.load(folder / f"{name}.snnir"), np.load(folder / f"{name}.npy")
    report = snnir.export_nir(program, tmp_path / "a.nir", unroll=True)
    graph = snnir.import_nir(tmp_path / "a.nir")
    result = Simulator(graph).run({graph.inputs[0].name: x}, counts=True)
    expected = program.run(x, delivery="replay", counts=True)
    assert result.settled
    for output, array in expected.outputs.items():
        np.testing.assert_array_equal(result.outputs[output], array)
    np.testing.assert_array_equal(result.total_spikes, expected.total_spikes)
    assert report.mode == "exact" and not report.mismatches


def test_the_command_prints_and_writes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "a.nir"
    assert main(["nir", str(folder / "p.snnir"), "-o", str(target)]) == 0
    assert "exact" in capsys.readouterr().out
    assert snnir.import_nir(target).level == "spiking"
    lossy = ["nir", str(folder / "p.snnir"), "-o", str(target), "--lossy", "--data", str(folder / "p.npy")]
    assert main(lossy) == 0
    assert "against the integers, 20 samples" in capsys.readouterr().out
    assert main([*lossy, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["mode"] == "lossy"
    assert {row["reset"] for row in facts["mismatches"]} == {"v_reset", "subtract"}
    assert all(0 <= row["share"] <= 1 for row in facts["mismatches"])


def test_complaints(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def complaint(*arguments: str) -> tuple[int, str]:
        code = main(["nir", str(folder / "r.snnir"), "-o", str(tmp_path / "a.nir"), *arguments])
        return code, " ".join(capsys.readouterr().err.split())

    code, text = complaint("--no-unroll")
    assert code == 1 and "NIR has no windows" in text and "--unroll" in text
    code, text = complaint("--lossy", "--unroll")
    assert code == 2 and "--data X.npy" in text
    code, text = complaint("--data", str(folder / "r.npy"))
    assert code == 2 and "give --lossy" in text
    code, text = complaint("--unroll", "--length", "T")
    assert code == 2 and "like T=8" in text
    assert not (tmp_path / "a.nir").exists()
    assert main(["nir", str(folder / "r.snnir"), "--unroll", "-o", str(tmp_path / "none" / "a.nir")]) == 2
    assert "choose a folder that exists" in capsys.readouterr().err


def test_without_the_package_the_error_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(UsageError, match=r"pip install 'snnir\[nir\]'"):
        snnir.export_nir(snnir.load(folder / "p.snnir"), tmp_path / "a.nir")
    with pytest.raises(UsageError, match=r"pip install 'snnir\[nir\]'"):
        snnir.import_nir(tmp_path / "a.nir")
