"""Arrays and results in files, as the command line takes and gives them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from snnir.errors import InputError, UsageError
from snnir.ir.file_kinds import no_data
from snnir.ir.storage import atomic_write

__all__ = ["check_output", "read_arrays", "read_labels", "write_npz"]


def read_arrays(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """One array from `.npy`, arrays by input name from `.npz`; never pickle. Raises `InputError` naming the file."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            if not all(name.endswith(".npy") for name in loaded.zip.namelist()):
                raise InputError(no_data(path))
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give a .npy file, or .npz with an array per input") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(no_data(path, str(error))) from error


def read_labels(path: Path, samples: int) -> np.ndarray:
    """Class indices or words [N]. Raises `InputError` where they do not match the samples."""
    labels = read_arrays(path)
    if isinstance(labels, dict):
        raise InputError(f"{path}: labels must be one .npy array of class indices")
    if labels.ndim != 1 or labels.dtype.kind not in "iuU" or len(labels) != samples:
        raise InputError(f"{path}: expected {samples} class indices or words, found shape {list(labels.shape)} of {labels.dtype}")
    return labels


_KINDS: dict[str, tuple[str, str]] = {
    ".snnir": ("a program of snnir", "manifest.json"),
    ".snnb": ("a bundle of snnir", "manifest.json"),
    ".npz": ("an archive of arrays", ""),
    ".nir": ("a NIR file", ""),
    ".html": ("a page of snnir", ""),
    ".onnx": ("an ONNX file of snnir", ""),
    ".json": ("a JSON file", ""),
}


def check_output(path: Path, suffix: str, inputs: Sequence[Path | None], force: bool) -> None:
    """Make sure that writing `path` loses nothing: it is none of `inputs`, and where it exists, a file of the kind to be written.

    Raises `UsageError`; `force` permits another suffix, and a file of another kind.
    """
    if any(given is not None and _same(path, given) for given in inputs):
        raise UsageError(f"--output {path} is one of the files that are read; choose another name")
    if force:
        return
    what, member = _KINDS[suffix]
    if path.suffix != suffix:
        raise UsageError(f"--output {path}: {what} is called *{suffix}; choose such a name, or give --force")
    if path.is_file() and not _is_kind(path, suffix, member):
        raise UsageError(f"--output {path} exists and is not {what}; choose another name, or give --force to overwrite it")


def _same(path: Path, other: Path) -> bool:
    try:
        return path.exists() and other.exists() and path.samefile(other)
    except OSError:
        return False


def _is_kind(path: Path, suffix: str, member: str) -> bool:
    if not path.stat().st_size:
        return True
    if suffix == ".nir":
        with path.open("rb") as file:
            return file.read(8) == b"\x89HDF\r\n\x1a\n"
    if suffix == ".onnx":
        with path.open("rb") as file:
            return b"snnir" in file.read(64)
    if suffix == ".json":
        with path.open("rb") as file:
            return file.read(64).lstrip()[:1] in (b"{", b"[")
    if suffix == ".html":
        with path.open("rb") as file:
            return b'name="generator" content="snnir"' in file.read(2000)
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return False
    return any(name.rpartition("/")[2] == member for name in names) if member else all(name.endswith(".npy") for name in names)


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to one `.npz`, whole or not at all. Raises `UsageError` where the path cannot be written."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict(arrays))  # type: ignore[arg-type]
    atomic_write(path, buffer.getvalue())
