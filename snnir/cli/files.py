"""Arrays and results in files, as the command line takes and gives them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from snnir.errors import InputError
from snnir.ir.storage import atomic_write

__all__ = ["read_arrays", "read_labels", "write_npz"]


def read_arrays(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """One array from `.npy`, arrays by input name from `.npz`; never pickle. Raises `InputError` naming the file."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give a .npy file, or .npz with an array per input") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read as .npy or .npz ({error}); write it with numpy.save") from error


def read_labels(path: Path, samples: int) -> np.ndarray:
    """Class indices [N]. Raises `InputError` where they do not match the samples."""
    labels = read_arrays(path)
    if isinstance(labels, dict):
        raise InputError(f"{path}: labels must be one .npy array of class indices")
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) != samples:
        raise InputError(f"{path}: expected {samples} class indices, found shape {list(labels.shape)} of {labels.dtype}")
    return labels


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to one `.npz`, whole or not at all. Raises `UsageError` where the path cannot be written."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict(arrays))  # type: ignore[arg-type]
    atomic_write(path, buffer.getvalue())
