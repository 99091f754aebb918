"""Where compiled kernels are kept, when they are compiled anew, and what a user is told meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import snnir.backends.simulator as simulator
from snnir.backends.simulator import library
from snnir.cli.compilation import watch_compilation

ROOT = Path(__file__).parents[2]
SMALLEST = "release"
"""The name of the kernel that compiles fastest."""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=kept | environment, capture_output=True, text=True, check=False, timeout=300)


USE = f"""
from snnir.backends.simulator import library
from snnir.cli.compilation import watch_compilation
names = []
with watch_compilation(lambda what, done, total: names.append(f"{{done}} of {{total}}")) as found:
    assert library.address({SMALLEST!r})
print(names, found.folder, library.cache_folder())
print(found)
"""


def test_kernels_are_kept_in_the_users_cache_and_loaded_from_there(tmp_path: Path) -> None:
    for compiled in (True, False):
        result = run(USE, XDG_CACHE_HOME=str(tmp_path))
        assert result.returncode == 0, result.stderr
        (folder,) = (tmp_path / "snnir").iterdir()
        names, kept = (["0 of 1", "1 of 1"], folder) if compiled else ([], None)
        assert result.stdout.splitlines()[0] == f"{names} {kept} {folder}"


@pytest.mark.parametrize("variable", ["NUMBA_CACHE_DIR", "HOME"])
def test_other_folders(tmp_path: Path, variable: str) -> None:
    result = run("from snnir.backends.simulator import library; print(library.cache_folder())", **{variable: str(tmp_path)})
    assert result.stdout.startswith(str(tmp_path / (".cache/snnir" if variable == "HOME" else "snnir"))), result.stderr


def test_without_a_folder_each_process_compiles(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")  # no folder: nothing can be written below it, even by root
    result = run(USE, XDG_CACHE_HOME=str(blocked), HOME=str(blocked))
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == "['0 of 1', '1 of 1'] None None"
    assert "not kept" in result.stdout


EDITED = """
import sys
from snnir.backends.simulator.kernels import memory
assert memory.__file__.startswith(sys.argv[1]), memory.__file__
from snnir.backends.simulator import library
print(library.cache_folder().name)
"""


def test_an_edit_of_any_file_of_the_package_compiles_anew(tmp_path: Path) -> None:
    copied = tmp_path / "snnir"
    for folder in ("snnir", "backends"):
        ignored = shutil.ignore_patterns("__pycache__", "data", "frontends", "passes", "backends")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored if folder == "snnir" else None)
    (copied / "backends").symlink_to(tmp_path / "backends")
    folders = []
    for edit in ("", "\n# a comment\n", ""):
        with open(copied / "backends" / "simulator" / "kernels" / "memory.py", "a", encoding="utf-8") as file:
            file.write(edit)
        command = [sys.executable, "-c", EDITED, str(tmp_path)]
        environment = os.environ | {"PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        folders.append(result.stdout)
    assert folders[0] != folders[1] == folders[2]


def test_one_of_many_processes_compiles(tmp_path: Path) -> None:
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-c", USE]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(3)]
    found = sorted(process.communicate(timeout=300)[0].split(" ")[0] for process in processes)
    assert found == ["['0", "[]", "[]"]


def test_a_network_compiles_the_kinds_that_it_holds() -> None:
    from snnir.backends.simulator.workspace import Code
    from tests.backends.test_simulator import chain

    single = simulator.Simulator(chain())
    code = Code(*single._plan({"N": 1}))
    assert set(code.names) == {"work", "release", "encode_levels", "populate_32", "dense_8"}


def test_what_is_loaded_already_is_not_told_of() -> None:
    library.prepare([SMALLEST])
    told: list[tuple[str, int, int]] = []
    with watch_compilation(lambda *facts: told.append(facts)) as found:
        assert library.address(SMALLEST)
    assert told == [] and found.kernels == 0 and found.seconds == 0
    assert not library.listeners


AHEAD = f"""
from pathlib import Path
import sys
from snnir.backends.simulator import library, shipped
shipped.SHIPPED = Path(sys.argv[1])
if sys.argv[2] == "make":
    print(len(shipped.make(shipped.SHIPPED, [{SMALLEST!r}])))
else:
    library.listeners.append(lambda *facts: print("compiles"))
    print(library.address({SMALLEST!r}) > 0, shipped.folder() is not None)
"""


def test_functions_compiled_ahead_are_loaded_where_the_processor_fits(tmp_path: Path) -> None:
    def use(what: str, **environment: str) -> str:
        command = [sys.executable, "-c", AHEAD, str(tmp_path / ("made" if what == "make" else "shipped")), what]
        kept = os.environ | {"XDG_CACHE_HOME": str(tmp_path / what)} | environment
        kept.pop("NUMBA_CACHE_DIR", None)
        result = subprocess.run(command, env=kept, capture_output=True, text=True, check=False, timeout=300)
        assert result.returncode == 0, result.stderr
        return result.stdout

    assert use("make") == "2\n"  # an index, and the machine code
    (tmp_path / "made").rename(tmp_path / "shipped")  # as an installed wheel has them elsewhere
    assert use("use") == "True True\n"
    (target,) = (tmp_path / "shipped").glob("*/target.json")
    facts = json.loads(target.read_text(encoding="utf-8"))
    target.write_text(json.dumps(facts | {"features": [*facts["features"], "no such feature"]}), encoding="utf-8")
    assert use("elsewhere") == "compiles\ncompiles\nTrue False\n"
