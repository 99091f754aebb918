"""The example package of plugins, built, installed into an empty folder and used; no network."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from snnir import plugins
from snnir.errors import UsageError

ROOT = Path(__file__).parents[1]
GRAPH = "graph g level=float\n  input x Nx2:f32\n  y = cube x Nx2:f32\n  output y = y\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed package: a wheel is a zip of what belongs there."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(
        ROOT / "examples" / "plugin", folder / "source", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    )
    build = "import sys, setuptools.build_meta as backend; backend.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, str(folder)], cwd=folder / "source", check=True, capture_output=True, env=os.environ
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "site")
    return folder / "site"


def snnir(site: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    words = [sys.executable, "-m", "snnir", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})


def test_an_op_and_a_pass_out_of_the_tree(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "g.ir").write_text(GRAPH, encoding="utf-8")
    found = snnir(installed, "opt", tmp_path / "g.ir", "--pipeline", "lower-cube,canonicalize")
    assert found.returncode == 0, found.stderr
    assert found.stdout.count(" = mul ") == 2 and "cube" not in found.stdout
    without = snnir(tmp_path, "opt", tmp_path / "g.ir")
    assert without.returncode == 2 and "unknown op 'cube'" in without.stderr


def test_a_frontend_and_a_backend_out_of_the_tree(installed: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    layers = [
        {"weights": rng.normal(size=(5, 4)).tolist(), "bias": rng.normal(size=5).tolist(), "then": "relu"},
        {"weights": rng.normal(size=(3, 5)).tolist(), "bias": rng.normal(size=3).tolist()},
    ]
    (tmp_path / "m.layers").write_text(json.dumps({"inputs": 4, "layers": layers}), encoding="utf-8")
    np.save(tmp_path / "x.npy", rng.normal(size=(6, 4)).astype(np.float32))
    program = tmp_path / "m.snnir"
    made = snnir(installed, "compile", tmp_path / "m.layers", "--calibration", tmp_path / "x.npy", "-o", program, "--json")
    assert made.returncode == 0, made.stderr
    facts = json.loads(made.stdout)
    assert facts["source"].endswith("m.layers") and "imported by the plugin layers" in str(facts["notes"])
    run = ("run", program, tmp_path / "x.npy", "--json", "--backend")
    ran, own = (snnir(installed, *run, backend, "-o", tmp_path / f"{backend}.npz") for backend in ("plain", "simulator"))
    assert ran.returncode == own.returncode == 0, ran.stderr + own.stderr
    with np.load(tmp_path / "plain.npz") as plain, np.load(tmp_path / "simulator.npz") as simulated:
        assert set(plain.files) == set(simulated.files)
        for name in plain.files:
            np.testing.assert_array_equal(plain[name], simulated[name], err_msg=name)
    (tmp_path / "broken.layers").write_text("{}", encoding="utf-8")
    broken = snnir(installed, "compile", tmp_path / "broken.layers", "--calibration", tmp_path / "x.npy", "-o", program)
    assert broken.returncode == 2 and "is no file of layers" in broken.stderr


class Entry:
    def __init__(self, name: str, value: object) -> None:
        self.name, self.value, self._loaded = name, f"somewhere:{name}", value

    def load(self) -> object:
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Entry]]:
    found: list[Entry] = []
    monkeypatch.setattr(plugins, "entry_points", lambda group: found)
    plugins._load.cache_clear()
    yield found
    plugins._load.cache_clear()


def test_plugins_that_are_broken_are_named(entries: list[Entry]) -> None:
    entries.append(Entry("bad", ImportError("no such thing")))
    with pytest.raises(UsageError, match=r"the plugin bad of snnir\.ops \(somewhere:bad\) cannot be imported: ImportError"):
        plugins.load_ops()


def test_plugins_of_another_kind_are_refused(entries: list[Entry]) -> None:
    entries.append(Entry("bad", 3))
    with pytest.raises(UsageError, match=r"the plugin bad of snnir\.backends is 3, not a Backend"):
        plugins.backends()


def test_two_frontends_for_one_suffix_are_refused(entries: list[Entry]) -> None:
    entries += [Entry(name, plugins.Frontend(name, (".m",), print)) for name in ("a", "b")]
    with pytest.raises(UsageError, match=r"files \.m are imported by several plugins: a, b"):
        plugins.frontend_of(".m")


def test_without_plugins_nothing_is_found() -> None:
    assert not importlib.metadata.entry_points(group="snnir.frontends")
    assert plugins.frontend_of(".layers") is None and plugins.backends() == {}
    assert not plugins.load_ops() and not plugins.load_passes()
