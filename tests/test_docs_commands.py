"""Every command and listing of README and the pages on using snnir runs as it stands, in the order of the page."""

from __future__ import annotations

import re
import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import snnir
from snnir.cli.main import main
from tests.models import data, model_of, perceptron

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *(f"docs/{name}.md" for name in ("bundle", "hardware", "large-runs", "nir", "see"))]
NEEDS_COMPILER, NEEDS_NIR = "--engine c", "snnir nir"


def recurrent(rng: np.random.Generator) -> onnx.ModelProto:
    """The last state of an RNN over x[N, T, 6], of open length."""
    shapes = {"W": (1, 5, 6), "R": (1, 5, 5)}
    weights = {name: (rng.normal(size=shape) * 0.4).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node("RNN", ["t", "W", "R"], ["", "H"], name="rnn", hidden_size=5, activations=["Relu"]),
        helper.make_node("Squeeze", ["H", "zero"], ["y"]),
    ]
    return model_of(nodes, ["N", "T", 6], {**weights, "zero": np.array([0])})


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pages name: a model, programs and data."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = data(rng, 40, 6)
    onnx.save(perceptron(rng), "model.onnx")
    snnir.compile("model.onnx", calibration=x).save("model.snnir")
    snnir.compile("model.onnx", calibration=x, bits=3).save("model2.snnir")
    np.save("x.npy", x)
    np.save("test.npy", data(rng, 30, 6))
    np.save("labels.npy", np.arange(30) % 3)
    np.save("y.npy", np.arange(40) % 3)
    return tmp_path


def skipped(command: str) -> bool:
    """Whether a command needs what a test has not: another machine, a compiler or a package that is not installed."""
    if "--cluster" in command:
        return True
    if NEEDS_COMPILER in command:
        return not any(map(shutil.which, ("cc", "gcc", "clang")))
    return NEEDS_NIR in command and find_spec("nir") is None


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_run_as_they_stand(page: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"^    (snnir .*)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert commands
    for command in commands:
        if skipped(command):
            continue
        words = shlex.split(command, comments=True)[1:]
        if "--length" in words:  # of a recurrent program, says the page
            rng = np.random.default_rng(1)
            snnir.compile(recurrent(rng), calibration=data(rng, 20, 4, 6)).save("recurrent.snnir")
            words[words.index("model.snnir")] = "recurrent.snnir"
        assert main(words) == 0, f"{page}: {command}\n{capsys.readouterr().err}"


@pytest.mark.parametrize("page", ["README.md", "docs/large-runs.md", "docs/nir.md", "docs/see.md"])
def test_code_of_a_page_runs_as_it_stands(page: str, files: Path) -> None:
    if page == "docs/nir.md":
        pytest.importorskip("nir")
    x = np.load("x.npy")
    names = {"snnir": snnir, "program": snnir.load("model.snnir"), "x": x, "labels": np.load("y.npy")}
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        if page == "docs/see.md":
            pytest.importorskip("pandas")
            block = block.replace('"relu"', repr(next(iter(names["program"].run(x).spikes))))
        exec(compile(block, page, "exec"), names)


def test_a_size_that_no_input_has_is_refused_wherever_it_is_given(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = ["bundle model.snnir --size Q=8 -o q.snnb"]
    if find_spec("nir") is not None:
        commands.append("nir model.snnir --length Q=8 -o q.nir")
    for command in commands:
        assert main(command.split()) == 2
        assert "size Q: the open sizes of the program's inputs are none" in capsys.readouterr().err
