"""What a bundle can be written as besides a bundle: each kind is one function from a bundle to text files by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from snnir.errors import UsageError
from snnir.ir.storage import atomic_write

if TYPE_CHECKING:
    from snnir.backends.bundle import Bundle

__all__ = ["EMIT_KINDS", "emit_bundle"]


def _hex(bundle: Bundle) -> Mapping[str, str]:
    from snnir.backends.bundle.hardware import memory_files

    return memory_files(bundle)


def _verilog(bundle: Bundle) -> Mapping[str, str]:
    from snnir.backends.bundle.hardware import layer_files

    return layer_files(bundle)


_EMITTERS: dict[str, Callable[[Bundle], Mapping[str, str]]] = {"hex": _hex, "verilog": _verilog}

EMIT_KINDS = tuple(_EMITTERS)
"""`hex`: memory images for `$readmemh` with an address map. `verilog`: a population core, its testbench and traces."""


def emit_bundle(bundle: Bundle, kind: str, folder: str | Path) -> list[Path]:
    """Write a bundle as `kind`, one of `EMIT_KINDS`, into a folder, and return the files.

    Files of the same names are replaced, others are left alone. Raises `UsageError` for another kind, a folder that cannot be
    written, or a bundle that lacks what the kind needs (`verilog`: golden vectors).
    """
    if kind not in _EMITTERS:
        raise UsageError(f"a bundle cannot be written as {kind!r}; choose one of {', '.join(EMIT_KINDS)}")
    contents = _EMITTERS[kind](bundle)
    paths = [Path(folder) / name for name in contents]
    try:
        for parent in dict.fromkeys(path.parent for path in paths):
            parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror}; choose a folder that can be made") from error
    for path, text in zip(paths, contents.values(), strict=True):
        atomic_write(path, text.encode())
    return paths
