"""The package `nir`, imported when it is needed."""

from __future__ import annotations

import inspect
import io
from pathlib import Path
from typing import Any

import numpy as np

from snnir.errors import FileFormatError, UsageError
from snnir.ir.storage import atomic_write

__all__ = ["NirNode", "exact_floats", "load_nir", "read_graph", "save_graph"]


NirNode = Any
"""A node of NIR, graphs included: the package declares no types."""


def load_nir() -> Any:
    """The module `nir`. Raises `UsageError` saying what to install."""
    try:
        import nir
    except ImportError as error:
        raise UsageError(
            f"NIR files need the package nir, which cannot be imported ({error}): pip install 'snnir[nir]'"
        ) from error
    return nir


def exact_floats(array: np.ndarray) -> np.ndarray:
    """Numbers as float32 where that holds them exactly, else as float64; never of rank 0, which HDF5 does not compress."""
    wide = np.atleast_1d(np.asarray(array, np.float64))
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32)
    return narrow if np.array_equal(narrow.astype(np.float64), wide) else wide


def save_graph(path: Path, graph: NirNode) -> None:
    """Write a `nir.NIRGraph`, whole or not at all. Raises `UsageError` where the path cannot be written."""
    buffer = io.BytesIO()
    load_nir().write(buffer, graph)
    atomic_write(path, buffer.getvalue())


def read_graph(path: Path) -> NirNode:
    """Read a `nir.NIRGraph`. Raises `FileFormatError`."""
    nir = load_nir()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read: {error.strerror or error}; give a .nir file") from error
    try:
        _check_sizes(content)
        # nir's own type check reads groups and oblong kernels wrongly (nir/ir/conv.py of 1.0.8)
        checks = "type_check" in inspect.signature(nir.read).parameters
        graph = nir.read(io.BytesIO(content), **({"type_check": False} if checks else {}))
    # what nir and h5py raise for files that are damaged, of another kind, or whose types do not fit
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError, RuntimeError, IndexError) as error:
        reason = str(error) or type(error).__name__
        raise FileFormatError(f"{path} is not a file that nir {nir.__version__} reads ({reason})") from error
    if not isinstance(graph, nir.NIRGraph):  # up to nir 1.0.6 a single node is read
        raise FileFormatError(f"{path} is not a file that holds a NIRGraph: it holds a single {type(graph).__name__}")
    return graph


def _check_sizes(content: bytes) -> None:
    """Raise `ValueError` where a dataset claims more than the file can hold, before anything is read."""
    import h5py

    def check(name: str, item: Any) -> None:
        # deflate shrinks by a factor of at most 1032 (zlib's technical details)
        if isinstance(item, h5py.Dataset) and item.nbytes > 1032 * len(content):
            raise ValueError(f"{name} claims {item.nbytes} bytes, which the file cannot hold")

    with h5py.File(io.BytesIO(content), "r") as file:
        file.visititems(check)
