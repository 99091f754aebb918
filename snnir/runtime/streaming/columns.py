"""One array of a data set on disk, of which rows are read when they are wanted."""

from __future__ import annotations

import math
import struct
import weakref
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Literal, Protocol

import numpy as np

from snnir.errors import InputError
from snnir.ir.file_kinds import no_data

__all__ = ["ArrayColumn", "Column", "Sliced", "joined", "member_names", "npy_column", "zip_column"]


class Column(Protocol):
    """An array of `shape` and `dtype`; axis `axis` counts samples, None where the array belongs to all of them."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape, samples included."""

    @property
    def dtype(self) -> np.dtype:
        """The type of its elements."""

    def read(self, start: int, stop: int, axis: int | None) -> np.ndarray:
        """Samples `start` up to `stop` along `axis`, or all of it where `axis` is None."""


class Sliced(Protocol):
    """What a memory map and a zarr array have in common."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    @property
    def dtype(self) -> np.dtype:
        """The type of its elements."""

    def __getitem__(self, index: tuple[slice, ...]) -> object:
        """A part of it."""


class ArrayColumn:
    """An array that is sliced along any axis without reading the rest."""

    def __init__(self, array: Sliced) -> None:
        self._array = array
        self.shape = tuple(int(size) for size in array.shape)
        self.dtype = np.dtype(array.dtype)

    def read(self, start: int, stop: int, axis: int | None) -> np.ndarray:
        """A copy of these samples."""
        index = [slice(None)] * len(self.shape)
        if axis is not None:
            index[axis] = slice(start, stop)
        return np.array(self._array[tuple(index)])


def npy_column(path: Path) -> ArrayColumn:
    """A memory map of a `.npy` file. Raises `InputError` naming it."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give a .npy or .npz file, or a folder of them") from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(no_data(path, str(error))) from error
    if not isinstance(array, np.ndarray):
        with array:
            held = all(name.endswith(".npy") for name in array.zip.namelist())
        raise InputError(f"{path} is an archive of several arrays, not one; name it .npz" if held else no_data(path))
    return ArrayColumn(array)


def member_names(path: Path) -> list[str]:
    """The arrays in a `.npz` file. Raises `InputError` naming it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give a .npy or .npz file, or a folder of them") from None
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(no_data(path, str(error))) from error


def zip_column(path: Path, name: str) -> Column:
    """One array of a `.npz` file: a memory map where it is stored as it is (numpy.savez). Raises `InputError`."""
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(f"{name}.npy")
            with archive.open(member) as file:
                shape, fortran, dtype = _header(file)
                skip = file.tell()
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        if member.compress_type != zipfile.ZIP_STORED or 0 in shape:
            return _CompressedColumn(path, name, shape, fortran, dtype, skip)
        with open(path, "rb") as raw:
            raw.seek(member.header_offset + 26)  # the local header ends with the lengths of name and extra field
            offset = member.header_offset + 30 + sum(struct.unpack("<HH", raw.read(4))) + skip
        order: Literal["F", "C"] = "F" if fortran else "C"
        return ArrayColumn(np.memmap(path, dtype, "r", offset, shape, order))
    except (OSError, ValueError, EOFError, struct.error, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: array {name} cannot be read ({error}); write it with numpy.savez") from error


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"version {version} of the .npy format is not known")


class _CompressedColumn:
    """An array that is decompressed as far as it is needed and no further: samples are best read in order."""

    def __init__(self, path: Path, name: str, shape: tuple[int, ...], fortran: bool, dtype: np.dtype, skip: int) -> None:
        self.shape, self.dtype = shape, dtype
        self._path, self._name, self._fortran, self._skip = path, name, fortran, skip
        archive = zipfile.ZipFile(path)
        self._file = archive.open(f"{name}.npy")
        weakref.finalize(self, _close, self._file, archive)

    def read(self, start: int, stop: int, axis: int | None) -> np.ndarray:
        """These samples. Raises `InputError` where the file ends early or its layout cannot be read by samples."""
        shape = self.shape
        if axis is not None:
            if axis or (self._fortran and len(shape) > 1):
                raise InputError(
                    f"{self._path}: samples of {self._name} do not lie one after another in the file, which is compressed; "
                    "write it with numpy.savez, or as .npy, which are read in any order"
                )
            shape = (stop - start, *shape[1:])
        row = math.prod(shape[1:]) * self.dtype.itemsize
        size = math.prod(shape) * self.dtype.itemsize
        try:
            self._file.seek(self._skip + (0 if axis is None else start * row))
            content = self._file.read(size)
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise InputError(f"{self._path}: array {self._name} cannot be read ({error}); the file is damaged") from error
        if len(content) != size:
            raise InputError(f"{self._path}: array {self._name} ends before sample {stop}; the file is damaged")
        return np.frombuffer(content, self.dtype).reshape(shape, order="F" if self._fortran else "C")


def _close(*files: IO[bytes] | zipfile.ZipFile) -> None:
    for file in files:
        file.close()


class _Joined:
    """Columns one after another along the samples."""

    def __init__(self, columns: Sequence[Column], axis: int) -> None:
        first = columns[0]
        self._columns, self._axis = columns, axis
        self._ends = np.cumsum([column.shape[axis] for column in columns])
        self.shape = (*first.shape[:axis], int(self._ends[-1]), *first.shape[axis + 1 :])
        self.dtype = first.dtype

    def read(self, start: int, stop: int, axis: int | None) -> np.ndarray:
        """Samples across the borders of the parts."""
        assert axis == self._axis
        parts, before = [], 0
        for column, end in zip(self._columns, self._ends, strict=True):
            first, last = max(start, before), min(stop, int(end))
            if first < last:
                parts.append(column.read(first - before, last - before, axis))
            before = int(end)
        return np.concatenate(parts, axis=axis) if parts else self._columns[0].read(0, 0, axis)


def joined(columns: Sequence[Column], names: Sequence[str], axis: int | None, what: str) -> Column:
    """Parts of one input, in order. Raises `InputError` naming the first part that does not fit the one before all."""
    first = columns[0]
    if axis is None and len(columns) > 1:
        raise InputError(f"input {what} belongs to all samples, but is there {len(columns)} times; give it in one file")
    for column, name in zip(columns, names, strict=True):
        sizes = [list(part.shape[:axis]) + list(part.shape[axis + 1 :]) for part in (first, column)] if axis is not None else []
        if len(column.shape) != len(first.shape) or (sizes and sizes[0] != sizes[1]) or column.dtype != first.dtype:
            raise InputError(
                f"input {what}: {name} has shape {list(column.shape)} of {column.dtype}, {names[0]} {list(first.shape)} of "
                f"{first.dtype}; parts may differ in the number of samples only (run sequences of another length separately)"
            )
    return first if axis is None or len(columns) == 1 else _Joined(columns, axis)
