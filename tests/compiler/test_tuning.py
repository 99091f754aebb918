"""Mixed bits: the search reaches its goal with fewer bits than one number for all, goes on, and writes what compile takes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import snnir
from snnir.cli.main import main
from snnir.compiler import tuning
from snnir.errors import UsageError
from tests.models import crnn, data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tune")
    onnx.save(crnn(np.random.default_rng(0)), path / "m.onnx")
    np.save(path / "x.npy", data(np.random.default_rng(1), 60, 4, 6))
    return path


@pytest.fixture(scope="module")
def whole(folder: Path) -> tuning.Tuning:
    """A search that nothing interrupts, and what it measures in `state.json`."""
    model, calibration = str(folder / "m.onnx"), np.load(folder / "x.npy")
    return snnir.tune(model, calibration=calibration, budget_bits=4.0, state=folder / "state.json")


def test_tune_writes_options_that_compile_takes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["tune", str(folder / "m.onnx"), "--calibration", str(folder / "x.npy"), "-o", str(folder / "out")]
    assert main([*command, "--target-loss", "0.5%", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["reached"]
    assert found["chosen"]["loss"] <= 0.5
    assert found["chosen"]["bits"] < 8
    assert {"x", "r", "H.forward.last/y", "weights"} == set(found["sensitivity"])
    costs = [point["bits"] for point in found["points"]]
    assert costs == sorted(costs)
    written = json.loads((folder / "out" / "options.json").read_text(encoding="utf-8"))
    assert written == found["chosen"]["options"]
    assert (folder / "out" / "pareto.png").stat().st_size > 1000
    assert len((folder / "out" / "pareto.csv").read_text(encoding="utf-8").splitlines()) == len(costs) + 1
    again = ["compile", str(folder / "m.onnx"), "--calibration", str(folder / "x.npy"), "-o", str(folder / "p.snnir")]
    assert main([*again, "--options", str(folder / "out" / "options.json"), "--json"]) == 0
    capsys.readouterr()
    program = snnir.load(folder / "p.snnir")
    graph = program.graph("quantized")
    levels = graph.values["r"].type.quantization
    assert levels is not None
    assert levels.hi - levels.lo + 1 == 2 ** written["value_bits"]["r"]
    assert program.verify(np.load(folder / "x.npy")[:8]).ok


def test_an_interrupted_search_goes_on(folder: Path, whole: tuning.Tuning, monkeypatch: pytest.MonkeyPatch) -> None:
    x, state = np.load(folder / "x.npy"), folder / "state.json"
    model = str(folder / "m.onnx")
    assert whole.reached
    assert whole.chosen.bits <= 4.0
    assert whole.chosen.loss == min(point.loss for point in whole.points if point.bits <= 4.0)

    def refuse(*_: object, **__: object) -> object:
        raise AssertionError("it was measured before")

    monkeypatch.setattr(tuning, "_noise", refuse)
    monkeypatch.setattr(tuning, "compile", refuse)
    assert snnir.tune(model, calibration=x, budget_bits=4.0, state=state) == whole
    with pytest.raises(AssertionError, match="it was measured before"):
        snnir.tune(model, calibration=x[:40], budget_bits=4.0, state=state)


_HANGS = """
import sys, time
import numpy as np
import snnir

model, calibration, state, stage, calls = sys.argv[1:]
met = 0

def hang(what, done, total):
    global met
    met += what == stage
    if met == int(calls):
        print("hangs", flush=True)
        time.sleep(600)

snnir.tune(model, calibration=np.load(calibration), budget_bits=4.0, state=state, progress=hang)
"""


@pytest.mark.parametrize(("stage", "calls"), [("one value at a time", 8), ("compiling mixtures", 3)])
def test_a_killed_search_goes_on(
    folder: Path, whole: tuning.Tuning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, calls: int
) -> None:
    model, calibration, state = folder / "m.onnx", folder / "x.npy", tmp_path / "state.json"
    command = [sys.executable, "-c", _HANGS, *map(str, (model, calibration, state, stage, calls))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as search:
        assert search.stdout is not None
        assert search.stdout.readline() == "hangs\n"
        search.kill()
    assert search.returncode == -signal.SIGKILL
    stored = json.loads(state.read_text(encoding="utf-8"))
    assert len(stored["numbers"]) >= (calls if stage == "one value at a time" else 1)
    assert len(stored["points"]) == (0 if stage == "one value at a time" else calls - 1)

    made = {"numbers": 0, "points": 0}
    noise, compiles = tuning._noise, snnir.compile

    def counted_noise(decibels: float) -> float:
        made["numbers"] += 1
        return noise(decibels)

    def counted_compile(*arguments: Any, **options: Any) -> Any:
        made["points"] += 1
        return compiles(*arguments, **options)

    monkeypatch.setattr(tuning, "_noise", counted_noise)
    monkeypatch.setattr(tuning, "compile", counted_compile)
    resumed = snnir.tune(str(model), calibration=np.load(calibration), budget_bits=4.0, state=state)
    found = json.loads(state.read_text(encoding="utf-8"))
    for kind, count in made.items():
        assert count == len(found[kind]) - len(stored[kind]) > 0
        assert found[kind].items() >= stored[kind].items()
    assert resumed == whole


def test_labels_count_right_answers_and_spikes_are_a_budget(folder: Path) -> None:
    x, model = np.load(folder / "x.npy"), str(folder / "m.onnx")
    labels = snnir.compile(model, calibration=x).reference(x, "float")["y"].argmax(axis=1)
    found = snnir.tune(model, calibration=x, labels=labels, target_loss=10.0)
    assert found.reached
    assert found.chosen.loss <= 10.0
    fewest = min(point.spikes for point in found.points)
    tight = snnir.tune(model, calibration=x, budget_spikes=2 * fewest)
    assert tight.reached
    assert tight.chosen.spikes <= 2 * fewest
    assert not snnir.tune(model, calibration=x, budget_spikes=0.01).reached


def test_goals_and_files_that_make_no_sense_are_refused(folder: Path, tmp_path: Path) -> None:
    x, model = np.load(folder / "x.npy"), str(folder / "m.onnx")
    with pytest.raises(UsageError, match="give one goal"):
        snnir.tune(model, calibration=x)
    with pytest.raises(UsageError, match="bits is what tuning chooses"):
        snnir.tune(model, calibration=x, budget_bits=4.0, bits=3)
    (tmp_path / "options.json").write_text('{"beats": 3}', encoding="utf-8")
    command = ["compile", model, "--calibration", str(folder / "x.npy"), "-o", str(tmp_path / "p.snnir")]
    assert main([*command, "--options", str(tmp_path / "options.json")]) == 2
    assert main(["tune", model, "--calibration", str(folder / "x.npy"), "--target-loss", "some", "-o", str(tmp_path)]) == 2
