"""Where compiled kernels are kept, and what a user is told while they are compiled."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from snnir.cli.compilation import watch_compilation

KERNELS = Path(__file__).parents[2] / "backends" / "simulator" / "kernels.py"

USE = """
import sys, numpy, kernels
dispatchers = [kernel for kernel in vars(kernels).values() if hasattr(kernel, "py_func")]
assert dispatchers
print(sorted({str(getattr(kernel.stats, "cache_path", None)) for kernel in dispatchers}))
"""


@pytest.mark.parametrize("user_cache", [True, False])
def test_kernels_of_a_read_only_installation_are_kept_in_the_users_cache(tmp_path: Path, user_cache: bool) -> None:
    installed, home = tmp_path / "installed", tmp_path / "home"
    installed.mkdir()
    home.mkdir()
    shutil.copy(KERNELS, installed / "kernels.py")
    (installed / "__pycache__").write_text("", encoding="utf-8")  # a file: nothing can be written there, even by root
    (home / "cache").mkdir() if user_cache else (home / "cache").write_text("", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment |= {"XDG_CACHE_HOME": str(home / "cache"), "HOME": str(home), "PYTHONPATH": str(installed)}
    result = subprocess.run([sys.executable, "-c", USE], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert str(home / "cache" / "numba") in result.stdout if user_cache else result.stdout == "['None']\n"


SMALL = """
import sys
import numba
from snnir.backends.simulator.turns import compiled_by_one

@numba.njit(cache=True)
def total(numbers):
    result = 0
    for number in numbers:
        result += number * number
    return result

print("ready", flush=True)
sys.stdin.readline()
compiled_by_one(total, lambda: total((1, 2, 3)))
assert total((1, 2, 3)) == 14
print(sum(total.stats.cache_hits.values()), sum(total.stats.cache_misses.values()))
"""


def test_one_of_many_processes_compiles(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(SMALL, encoding="utf-8")
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(tmp_path / "small.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]  # type: ignore[call-overload]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    found = sorted(process.communicate(timeout=100)[0].strip() for process in processes)
    assert found == ["0 1", "1 0", "1 0"]


def test_compilation_is_told_of_and_what_is_compiled_already_is_not() -> None:
    @numba.njit
    def double(number):  # type: ignore[no-untyped-def]
        return 2 * number

    for names in (["double"], []):
        told: list[str] = []
        with watch_compilation(told.append) as found:
            assert double(3) == 6
        assert told == names
        assert found.kernels == len(names)
        assert (found.seconds > 0) == bool(names)
    assert "not kept" in str(found)


def test_numba_without_blas_leaves_scipy_alone() -> None:
    lines = (
        "import sys",
        "from snnir.cli.compilation import load_numba_without_blas",
        "load_numba_without_blas()",
        "assert 'scipy.linalg' not in sys.modules",
        "import numba, scipy.linalg",
        "assert scipy.linalg.det([[2.0]]) == 2",
        "assert numba.njit(lambda x: x + 1)(1) == 2",
    )
    result = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
