"""A data set on disk, as the inputs of a program: opened by its name, checked before anything runs, read chunk by chunk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from snnir.errors import InputError, UnsupportedError
from snnir.ir import Graph
from snnir.ir.execute import check_inputs
from snnir.runtime.streaming.columns import Column, joined, member_names, npy_column, zip_column

__all__ = ["Source", "digest_of", "open_source"]

_LARGEST_CHECK = 1 << 26
"""Up to so many numbers an error names the whole shape of the data, and else that of one sample."""
_ONLY = ""
"""The name of an array that came without one: the only input."""


class Source:
    """The inputs of N samples. `layout` says what they look like, `stamp` whether their files were touched since."""

    def __init__(self, graph: Graph, path: Path, columns: Mapping[str, Column]) -> None:
        self.path = path
        self._graph, self._columns = graph, columns
        self._axes = {value.name: value.type.batch_axis for value in graph.inputs}
        sizes = {name: columns[name].shape[axis] for name, axis in self._axes.items() if axis is not None}
        if len(set(sizes.values())) > 1:
            counts = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise InputError(f"{path}: all inputs need the same number of samples; found {counts}")
        self.samples = next(iter(sizes.values()))

    @property
    def layout(self) -> dict[str, list[object]]:
        """Shape and dtype of each input."""
        return {name: [list(column.shape), column.dtype.str] for name, column in sorted(self._columns.items())}

    def stamp(self) -> str:
        """A digest of the names, sizes and times of change of all files: cheap, and new whenever one is written."""
        paths = sorted(self.path.rglob("*")) if self.path.is_dir() else [self.path]
        digest = hashlib.sha256()
        for path in paths:
            if path.is_file():
                state = path.stat()
                name = os.path.relpath(path, self.path)
                digest.update(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def read(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Samples `start` up to `stop`, by input name; inputs without a batch axis whole. Raises `InputError`."""
        arrays = {name: column.read(start, stop, self._axes[name]) for name, column in self._columns.items()}
        try:
            return check_inputs(self._graph, arrays)
        except InputError as error:
            raise InputError(f"{self.path}, samples {start} to {stop - 1}: {error}") from error


def digest_of(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of arrays with their names, shapes and dtypes."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def open_source(graph: Graph, path: str | Path) -> Source:
    """Open a data set: a `.npy` or `.npz` file, a folder of these, a `.zarr` array or group, or a `.parquet` file.

    A folder's files are parts, in the order of their names: `.npy` for a program of one input, `.npz` by input name. For
    several inputs it may also hold one `.npy` file, or one folder of them, named after each input. Raises `InputError` for
    what cannot be read or does not fit, `UnsupportedError` for a program without batch, `UsageError` where zarr or pyarrow
    is needed and missing.
    """
    path = Path(path)
    if not any(value.type.batch_axis is not None for value in graph.inputs):
        raise UnsupportedError(f"program {graph.name} fixes its batch: there are no samples to cut into chunks; run it whole")
    if graph.groups:
        raise UnsupportedError(f"samples of program {graph.name} belong together in groups; run it whole, not in chunks")
    parts = _parts(graph, path)
    found = _by_input(graph, path, {name for part in parts.values() for name in part})
    columns = {}
    for value in graph.inputs:
        rank, axis, name = value.type.rank, value.type.batch_axis, found[value.name]
        missing = [file for file, part in parts.items() if name not in part]
        if missing:
            raise InputError(f"{missing[0]} lacks input {value.name}, which other parts of {path} hold")
        for file, part in parts.items():
            if len(part[name].shape) != rank:
                shape = list(part[name].shape)
                raise InputError(f"input {value.name}: expected {rank} axes ({value.type}), found shape {shape} in {file}")
        columns[value.name] = joined([part[name] for part in parts.values()], list(parts), axis, value.name)
    _check(graph, path, columns)
    return Source(graph, path, columns)


def _parts(graph: Graph, path: Path) -> dict[str, dict[str, Column]]:
    """Columns by name, of each part by its file."""
    if path.suffix == ".zarr":
        from snnir.runtime.streaming.optional import zarr_columns

        return {str(path): zarr_columns(path)}
    if path.suffix == ".parquet":
        from snnir.runtime.streaming.optional import parquet_columns

        shapes = {value.name: tuple(value.type.shape[1:]) for value in graph.inputs if value.type.batch_axis == 0}
        return {str(path): parquet_columns(path, shapes)}
    if not path.is_dir():
        return {str(path): _file(path)}
    files = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    axes = {value.name: value.type.batch_axis for value in graph.inputs}
    if len(axes) > 1 and {file.name.removesuffix(".npy") for file in files} == set(axes):
        named = [(file.name.removesuffix(".npy"), file) for file in files]
        return {str(path): {name: _shards(file, axes[name], name) for name, file in named}}
    wrong = [file.name for file in files if file.suffix not in (".npy", ".npz")]
    if wrong or not files:
        found = f"found {', '.join(wrong[:3])}" if wrong else "found nothing"
        raise InputError(f"{path}: expected a folder of .npy or .npz files and nothing else, {found}")
    return {str(file): _file(file) for file in files}


def _shards(path: Path, axis: int | None, name: str) -> Column:
    """One input: a `.npy` file, or a folder of them."""
    files = sorted(path.glob("*.npy")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: expected a folder of .npy files, found none")
    columns = [npy_column(file) for file in files]
    short = next((str(file) for file, column in zip(files, columns, strict=True) if len(column.shape) <= (axis or 0)), None)
    if short is not None:
        raise InputError(f"input {name}: {short} has too few axes: its samples are along axis {axis}")
    return joined(columns, [str(file) for file in files], axis, name)


def _file(path: Path) -> dict[str, Column]:
    if path.suffix == ".npz":
        return {name: zip_column(path, name) for name in member_names(path)}
    return {_ONLY: npy_column(path)}


def _by_input(graph: Graph, path: Path, found: set[str]) -> dict[str, str]:
    """Which column each input is."""
    names = [value.name for value in graph.inputs]
    if found == {_ONLY} and len(names) == 1:
        return {names[0]: _ONLY}
    if found != set(names):
        given = ", ".join(sorted(name or "one array without a name" for name in found)) or "none"
        raise InputError(f"program {graph.name} takes inputs {', '.join(names)}; {path} holds {given}")
    return {name: name for name in names}


def _check(graph: Graph, path: Path, columns: Mapping[str, Column]) -> None:
    """Hold shapes and dtypes against the program's, without reading the data."""
    stand_ins = {}
    for value in graph.inputs:
        column, axis = columns[value.name], value.type.batch_axis
        shape = [1 if place == axis else size for place, size in enumerate(column.shape)]
        stand_ins[value.name] = np.zeros(shape, np.dtype("U1") if column.dtype.kind in "OSUT" else column.dtype)
    try:
        check_inputs(graph, stand_ins)
    except InputError as error:
        whole = {name: np.broadcast_to(np.zeros((), array.dtype), columns[name].shape) for name, array in stand_ins.items()}
        said = error
        if sum(array.size for array in whole.values()) < _LARGEST_CHECK:
            try:
                check_inputs(graph, whole)  # which says the same with the shapes of the files
            except InputError as better:
                said = better
        raise InputError(f"{path}: {said}") from error
