"""What type checkers say of a user's script, what Python shows of the package, and what results say of themselves."""

from __future__ import annotations

import os
import pydoc
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import snnir
import snnir.torch
from tests.models import data, perceptron

ROOT = Path(__file__).parents[1]
SCRIPT = """
import numpy as np
import snnir

x = np.zeros((8, 6), np.float32)
program = snnir.compile("model.onnx", calibration=x, bits=4, neuron="few-spikes")
result = program.run(x, execution="carry")
outputs: dict[str, np.ndarray] = result.outputs
mismatches: int = program.verify(x).mismatches
layer = snnir.torch.IndRNN(64, 128, num_layers=2)
ok: bool = snnir.check("model.onnx").ok
words: str = program.summary()
graph: snnir.Graph = snnir.import_model("model.onnx")
"""
WRONG = """
import snnir

snnir.compil("model.onnx")
program = snnir.load("program.snnir")
program.run({}, exekution="carry")
program.verify(1.5)
number: str = program.verify({}).mismatches
"""


def _written(folder: Path) -> tuple[Path, Path]:
    right, wrong = folder / "right.py", folder / "wrong.py"
    right.write_text(SCRIPT)
    wrong.write_text(WRONG)
    return right, wrong


def test_mypy_knows_the_names_of_the_package(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--hide-error-context"]
    right, wrong = _written(tmp_path)
    environment = os.environ | {"MYPYPATH": str(ROOT)}
    command += [str(right), str(wrong)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if "error:" in line]
    assert not [line for line in lines if "right.py" in line], done.stdout
    found = [line for line in lines if "wrong.py" in line]
    assert len(found) == 4 and "compil" in found[0], done.stdout


@pytest.mark.skipif(find_spec("basedpyright") is None, reason="basedpyright is not installed (pip install 'snnir[dev]')")
def test_pyright_knows_the_names_of_the_package(tmp_path: Path) -> None:
    """Editors ask pyright. It follows the links in the source tree as it would follow an installed package."""
    right, wrong = _written(tmp_path)
    settings = tmp_path / "pyrightconfig.json"
    settings.write_text(f'{{"extraPaths": ["{ROOT}"], "typeCheckingMode": "basic", "pythonVersion": "3.11"}}')
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, "-p", str(settings)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    errors = [line for line in done.stdout.splitlines() if " error: " in line]
    assert not [line for line in errors if right.name in line], done.stdout + done.stderr
    assert len([line for line in errors if wrong.name in line]) == 4, done.stdout + done.stderr


def test_help_and_completion_show_the_public_names() -> None:
    assert set(snnir.__all__) <= set(dir(snnir))
    assert {"IndRNN", "trainable"} <= set(dir(snnir.torch))
    page = pydoc.plain(pydoc.render_doc(snnir))
    assert all(f"    {name}(" in page or f"class {name}" in page for name in ("check", "compile", "load", "Program"))


def test_results_say_what_they_are_in_one_line() -> None:
    rng = np.random.default_rng(0)
    model, x = perceptron(rng), data(rng, 40, 6)
    program = snnir.compile(model, calibration=x, bits=4)
    shown = {
        "<Program test: x Nx6:f32 -> y Nx3:f32; bif neurons>": program,
        "<40 samples: y [40, 3]; ": program.run(x),
        "<Verification equal: 0 mismatches out of ": program.verify(x),
        "<ModelCheck test: ok; ": snnir.check(model),
        "<CompileFacts of test: ": program.facts,
        "<Bundle test: ": snnir.bundle(program, x[:4]),
        "<Comparison of 40 samples (relay): ": program.compare_executions(x),
        "<Graph test level=spiking: ": program.graph(),
    }
    for begin, item in shown.items():
        assert repr(item).startswith(begin), repr(item)
        assert "\n" not in repr(item) and len(repr(item)) < 400


def test_a_program_sums_itself_up() -> None:
    rng = np.random.default_rng(0)
    text = snnir.compile(perceptron(rng), calibration=data(rng, 40, 6), bits=4).summary()
    lines = dict(line.split("  ", 1) for line in text.splitlines())
    assert lines["takes"].strip() == "x Nx6:f32"
    assert lines["network"].strip() == "1 populations of bif neurons, 2 synapses"
    assert "dB" in lines["distance to float"]
