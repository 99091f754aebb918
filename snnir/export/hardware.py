"""What a bundle can be written as besides a bundle: each kind is one entry here, and a folder of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snnir.errors import UsageError
from snnir.ir.storage import atomic_write

if TYPE_CHECKING:
    from snnir.backends.bundle import Bundle

__all__ = ["EMITTERS", "Emitter", "emit_bundle"]


@dataclass(frozen=True)
class Emitter:
    """`write` puts a bundle into a folder and returns the files; `then` is what to do there; `golden`: it needs samples."""

    write: Callable[[Bundle, Path], list[Path]]
    then: str
    golden: bool = True


def _c(bundle: Bundle, folder: Path) -> list[Path]:
    from snnir.backends.bundle import emit_c

    return emit_c(bundle, folder)


def _hex(bundle: Bundle, folder: Path) -> list[Path]:
    from snnir.backends.bundle.hardware import memory_files

    return _write(folder, memory_files(bundle))


def _verilog(bundle: Bundle, folder: Path) -> list[Path]:
    from snnir.backends.bundle.hardware import layer_files

    return _write(folder, layer_files(bundle))


EMITTERS: Mapping[str, Emitter] = {
    "c": Emitter(_c, "make -C {folder} check"),
    "hex": Emitter(_hex, "read {folder}/map.md", golden=False),
    "verilog": Emitter(
        _verilog,
        "in the folder of a layer: iverilog -g2005 -Wall -o run.vvp ../snnir_population.v ../snnir_testbench.v && vvp -n run.vvp",
    ),
}


def emit_bundle(bundle: Bundle, kind: str, folder: str | Path) -> list[Path]:
    """Write a bundle as `kind`, one of `EMITTERS`, into a folder, and return the files.

    Files of the same names are replaced, others are left alone. Raises `UsageError` for another kind, a folder that cannot be
    written, or a bundle without the golden vectors that the kind needs.
    """
    if kind not in EMITTERS:
        raise UsageError(f"a bundle cannot be written as {kind!r}; choose one of {', '.join(EMITTERS)}")
    return EMITTERS[kind].write(bundle, Path(folder))


def _write(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    paths = [folder / name for name in texts]
    try:
        for parent in dict.fromkeys(path.parent for path in paths):
            parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror}; choose a folder that can be made") from error
    for path, text in zip(paths, texts.values(), strict=True):
        atomic_write(path, text.encode())
    return paths
