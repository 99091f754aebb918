"""Data sets that an optional library reads: zarr, and parquet through pyarrow."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from snnir.errors import InputError, UsageError
from snnir.ir.dims import Dim, Shape
from snnir.runtime.streaming.columns import ArrayColumn, Column

__all__ = ["parquet_columns", "zarr_columns"]


def _needed(module: str, package: str, path: Path, extra: str) -> ModuleType:
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError:
        raise UsageError(f"{path} needs {package}; install it with: pip install snnir[{extra}]") from None


def zarr_columns(path: Path) -> dict[str, Column]:
    """The one array of a zarr store (named ""), or the arrays of its group. Raises `InputError`, `UsageError`."""
    zarr = _needed("zarr", "zarr", path, "zarr")
    if not path.exists():
        raise InputError(f"{path} does not exist; write it with zarr.save")
    try:
        opened = zarr.open(str(path), mode="r")
        arrays = {"": opened} if isinstance(opened, zarr.Array) else dict(opened.arrays())
    except Exception as error:
        raise InputError(f"{path} cannot be read as zarr ({error}); write it with zarr.save") from error
    return {name: ArrayColumn(array) for name, array in arrays.items()}


def parquet_columns(path: Path, shapes: dict[str, Shape]) -> dict[str, Column]:
    """Columns of a parquet file by name; a row is a sample, a cell a number or a (nested) list. `shapes` are those of the
    program's samples: lists are shaped by them, and the length of an open one is read off the first row. Raises
    `InputError`, `UsageError`.
    """
    parquet = _needed("pyarrow.parquet", "pyarrow", path, "parquet")
    try:
        file = parquet.ParquetFile(path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; write it with pyarrow.parquet.write_table") from None
    except Exception as error:
        raise InputError(f"{path} cannot be read as parquet ({error})") from error
    return {name: _ParquetColumn(path, file, name, shapes.get(name)) for name in file.schema_arrow.names}


class _ParquetColumn:
    """Rows of one column, by row groups: a group is the least that can be read."""

    def __init__(self, path: Path, file: Any, name: str, shape: Shape | None) -> None:
        self._path, self._file, self._name = path, file, name
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        self._ends = np.cumsum(sizes, dtype=np.int64)
        self._group, self._rows = -1, np.zeros(0)
        kind = file.schema_arrow.field(name).type
        while hasattr(kind, "value_type"):
            kind = kind.value_type
        self.dtype = np.dtype(kind.to_pandas_dtype())
        rows = int(self._ends[-1]) if sizes else 0
        self._sample = self._fit(shape, rows)
        self.shape = (rows, *self._sample)

    def _fit(self, shape: Shape | None, rows: int) -> tuple[int, ...]:
        """A sample's shape: as the program declares it, an open size as many as the first row holds."""
        declared = tuple(shape or ())
        still_open = [place for place, size in enumerate(declared) if isinstance(size, Dim)]
        known = int(np.prod([size for size in declared if isinstance(size, int)], dtype=np.int64))
        if len(still_open) > 1:
            raise InputError(f"{self._path}: input {self._name} has several open sizes, which lists cannot tell; use .npy")
        held = self._load(0).size // max(len(self._rows), 1) if rows else known
        if (not still_open and held != known) or (still_open and held % max(known, 1)):
            raise InputError(f"{self._path}: column {self._name} holds {held} numbers a row; a sample has shape {list(declared)}")
        return tuple(size if isinstance(size, int) else held // known for size in declared)

    def _load(self, group: int) -> np.ndarray:
        """The numbers of one row group, [rows, numbers]; the last group read is kept."""
        if group != self._group:
            compute = _needed("pyarrow.compute", "pyarrow", self._path, "parquet")
            column = self._file.read_row_group(group, columns=[self._name]).column(0).combine_chunks()
            rows = len(column)
            while hasattr(column.type, "value_type"):
                lengths = compute.unique(compute.list_value_length(column))
                if column.null_count or len(lengths) > 1:
                    raise InputError(
                        f"{self._path}: rows of column {self._name} are empty or of different lengths; run sequences of "
                        "another length separately"
                    )
                column = column.flatten()
            if column.null_count:
                raise InputError(f"{self._path}: column {self._name} has {column.null_count} empty cells; fill or remove them")
            self._rows = column.to_numpy(zero_copy_only=False).reshape(rows, -1)
            self._group = group
        return self._rows

    def read(self, start: int, stop: int, axis: int | None) -> np.ndarray:
        """Rows `start` up to `stop`. Raises `InputError` where they are not all of one shape."""
        if axis != 0:
            raise InputError(f"{self._path}: a row is a sample, but input {self._name} has its samples elsewhere; use .npy")
        parts, before = [np.zeros((0, *self._sample), self.dtype)], 0
        for group, end in enumerate(self._ends):
            first, last = max(start, before), min(stop, int(end))
            if first < last:
                rows = self._load(group)
                if rows[0].size != int(np.prod(self._sample, dtype=np.int64)):
                    raise InputError(
                        f"{self._path}: row {before} of column {self._name} holds {rows[0].size} numbers, a sample has shape "
                        f"{list(self._sample)}; run sequences of another length separately"
                    )
                parts.append(rows[first - before : last - before].reshape(-1, *self._sample))
            before = int(end)
        return np.concatenate(parts)
