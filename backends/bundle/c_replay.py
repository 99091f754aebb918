"""A bundle for C: the folder with engine and unpacked model, and the engine compiled and run where there is a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from snnir.backends.bundle.bundle import Bundle
from snnir.backends.bundle.unpacked import unpacked
from snnir.errors import FileFormatError, UsageError
from snnir.ir.storage import atomic_write

__all__ = ["STRICT", "CRun", "compile_engine", "emit_c", "run_engine", "run_file"]

STRICT = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror")
"""Flags that the engine compiles with, without a warning."""

ENGINE = "snnir_replay.c"
MODEL = "model.snnu"


@dataclass(frozen=True)
class CRun:
    """What a run of the engine said: whether all was as expected, operations by name, and what was wrong."""

    ok: bool
    counts: dict[str, int]
    error: str

    def facts(self) -> dict[str, object]:
        """As JSON."""
        return {**self.counts, "ok": self.ok, **({"error": self.error} if self.error else {})}


def emit_c(bundle: Bundle, folder: str | Path) -> list[Path]:
    """Write the engine, the model's `model.snnu`, a Makefile and a README into a folder; `make check` there compiles and
    runs. Returns the files. Raises `UsageError` where the bundle has no golden vectors or the folder cannot be written."""
    folder = Path(folder)
    contents = {MODEL: unpacked(bundle), **{name: _data(name) for name in (ENGINE, "Makefile", "README.md")}}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror}; choose a folder that can be made") from error
    for name, content in contents.items():
        atomic_write(folder / name, content)
    return [folder / name for name in contents]


def _data(name: str) -> bytes:
    return (files("snnir.backends.bundle") / "c" / name).read_bytes()


def compile_engine(folder: Path, flags: Sequence[str] = ("-O2",)) -> Path:
    """Compile the engine into a folder; returns the program. Raises `UsageError` where there is no C compiler."""
    named = os.environ.get("CC")
    compiler = next(filter(None, map(shutil.which, (named,) if named else ("cc", "gcc", "clang"))), None)
    if compiler is None:
        what = f"the compiler {named!r} that CC names is not there" if named else "there is no C compiler (cc, gcc or clang)"
        raise UsageError(f"{what}; install one, or replay without `--engine c`")
    source, program = folder / ENGINE, folder / "snnir_replay"
    source.write_bytes(_data(ENGINE))
    command = [compiler, *STRICT, *flags, "-o", str(program), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise UsageError(f"{compiler} cannot compile {ENGINE}: {done.stderr.strip()[:500]}; name another compiler in CC")
    return program


def run_engine(bundle: Bundle, apart: bool = False) -> CRun:
    """Compile the engine and replay a bundle's golden vectors with it.

    `apart` adds up the events of a step in registers of their own. Raises `UsageError` where there is no compiler or no
    golden vectors, `FileFormatError` where the engine cannot take the model.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / MODEL).write_bytes(unpacked(bundle))
        return run_file(compile_engine(folder), folder / MODEL, apart)


def run_file(program: Path, model: Path, apart: bool = False) -> CRun:
    """Run a compiled engine on a `.snnu` file. Raises `FileFormatError`."""
    command = [str(program), *(["-a"] if apart else []), str(model)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode not in (0, 1):
        raise FileFormatError(f"the replay in C ended with status {done.returncode}: {done.stderr.strip()[:500] or 'no message'}")
    lines = [line.rpartition(": ") for line in done.stdout.splitlines()]
    counts = {key.replace(" ", "_"): int(value) for key, sign, value in lines if sign}
    return CRun(done.returncode == 0, counts, done.stderr.strip())
