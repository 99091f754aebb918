"""Open what was written: a program, or a bundle as one."""

from __future__ import annotations

from pathlib import Path

from snnir.export.bundle import bundle_to_program, load_bundle
from snnir.runtime.program import Program

__all__ = ["load"]


def load(path: str | Path) -> Program:
    """The program that `Program.save` wrote to `path`, or that of a bundle: its spiking level alone. Raises `FileFormatError`."""
    if Path(path).suffix == ".snnb" or Path(path).is_dir():
        made = load_bundle(path)
        return bundle_to_program(made.program, made.host)
    return Program.load(path)
