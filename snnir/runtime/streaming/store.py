"""The folder that a run in chunks writes to: arrays in place, and a journal of the chunks that are whole.

    run.json          what is run: digests of program and inputs, options, size of chunks. Written first, compared on resuming
    arrays.json       the arrays below by name: file, shape, dtype and axis of the samples
    journal.jsonl     a line for each chunk whose rows are on disk: its number, digest of its inputs, and totals
    output/NAME.npy   and spikes/NAME.npy, synops/NAME.npy, steps.npy, settled.npy: as `snnir run` writes them to .npz

A chunk's rows are written and flushed to disk before its line is, so a line is a promise. A kill between the two costs the
work on that chunk, which is then done again, into the same rows.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO
from urllib.parse import quote

import numpy as np

from snnir.errors import FileFormatError, UsageError
from snnir.ir.storage import atomic_write
from snnir.runtime.totals import RunTotals

__all__ = ["Entry", "Store", "pack"]

_RUN, _ARRAYS, _JOURNAL, _SETTLED = "run.json", "arrays.json", "journal.jsonl", "settled.npy"
_PACKED = "packed.npz.tmp"
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Entry:
    """What the journal says about a finished chunk."""

    chunk: int
    inputs: str
    """SHA-256 of the chunk's inputs."""
    totals: RunTotals


class Store:
    """A folder of results, held by one process at a time. Use it in a `with` statement."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: dict[int, Entry] = {}
        self._journal: BinaryIO | None = None

    def __enter__(self) -> Store:
        try:
            self.folder.mkdir(exist_ok=True)
            strange = not (self.folder / _JOURNAL).exists() and any(self.folder.iterdir())
            if strange:
                raise UsageError(f"{self.folder} is there already and holds no run of snnir; choose another --output")
            self._journal = open(self.folder / _JOURNAL, "a+b")
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for name in (_RUN, _ARRAYS, _JOURNAL, _SETTLED):  # what `atomic_write` was about to write when it was killed
                for temporary in self.folder.glob(f".{name}.*"):
                    temporary.unlink()
        except BlockingIOError:
            self.__exit__(None, None, None)
            raise UsageError(f"another process writes to {self.folder}; wait for it, or choose another --output") from None
        except OSError as error:
            raise UsageError(f"cannot write {self.folder}: {error.strerror}; choose a folder whose parent exists") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def state(self) -> dict[str, Any] | None:
        """What an earlier run said it is, or None where there was none. Reads its journal as well."""
        path = self.folder / _RUN
        if not path.exists():
            return None
        state = _read_json(path)
        self._read_journal()
        return state

    def begin(self, state: Mapping[str, object]) -> None:
        """Write what is run. Where no chunk is done, nothing that is there counts."""
        if not self.entries:
            _clear(self.folder)
        atomic_write(self.folder / _RUN, json.dumps(state, indent=1, sort_keys=True).encode())

    def _opened(self) -> BinaryIO:
        """The journal, which this process has locked. Raises `UsageError` outside of `with`."""
        if self._journal is None:
            raise UsageError(f"the store {self.folder} is not open")
        return self._journal

    def _read_journal(self) -> None:
        journal = self._opened()
        if not (self.folder / _ARRAYS).exists():
            journal.truncate(0)
        journal.seek(0)
        whole = 0
        for line in journal:
            if not line.endswith(b"\n"):  # cut off by a kill: the chunk is done again
                break
            try:
                found = json.loads(line)
                entry = Entry(int(found["chunk"]), str(found["inputs"]), RunTotals(**found["totals"]))
            except (ValueError, KeyError, TypeError) as error:
                raise FileFormatError(f"{journal.name} is damaged ({error}); delete {self.folder} to start again") from error
            whole += len(line)
            self.entries[entry.chunk] = entry
        journal.truncate(whole)

    def write(self, entry: Entry, samples: int, start: int, arrays: Mapping[str, tuple[int | None, np.ndarray]]) -> None:
        """Write the rows of a chunk from sample `start` on, of `samples` in all, then its line in the journal.

        `arrays` are by name, with the axis of their samples (None: the same for all samples). Raises `UsageError` where
        the disk does not take them, `FileFormatError` where the folder's arrays are not those of this run.
        """
        journal = self._opened()
        try:
            if not (self.folder / _ARRAYS).exists():
                self._create(samples, arrays)
            for name, (axis, array) in arrays.items():
                self._write_rows(name, axis, array, start)
            journal.seek(0, os.SEEK_END)
            journal.write(_line(entry))
            journal.flush()
            os.fsync(journal.fileno())
        except OSError as error:
            raise UsageError(f"cannot write to {self.folder}: {error.strerror or error}; make room and run again") from error
        self.entries[entry.chunk] = entry

    def _create(self, samples: int, arrays: Mapping[str, tuple[int | None, np.ndarray]]) -> None:
        listed = {}
        for name, (axis, array) in arrays.items():
            shape = [samples if place == axis else size for place, size in enumerate(array.shape)]
            file = _file_of(name)
            (self.folder / file).parent.mkdir(exist_ok=True)
            with open(self.folder / file, "wb") as opened:
                head = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": tuple(shape)}
                np.lib.format.write_array_header_1_0(opened, head)
                opened.truncate(opened.tell() + int(np.prod(shape, dtype=np.int64)) * array.dtype.itemsize)
            listed[name] = {"file": file, "shape": shape, "dtype": array.dtype.str, "axis": axis}
        atomic_write(self.folder / _ARRAYS, json.dumps(listed, indent=1).encode())

    def _write_rows(self, name: str, axis: int | None, array: np.ndarray, start: int) -> None:
        if not array.size:
            return
        path = self.folder / _file_of(name)
        try:
            whole = np.load(path, mmap_mode="r+")
        except (OSError, ValueError) as error:
            raise FileFormatError(f"{path} is not as this run left it ({error}); delete {self.folder} to start again") from error
        rest = [size for place, size in enumerate(array.shape) if place != axis]
        if whole.dtype != array.dtype or [size for place, size in enumerate(whole.shape) if place != axis] != rest:
            raise FileFormatError(f"{path} is not as this run left it; delete {self.folder} to start again")
        index = [slice(None)] * array.ndim
        if axis is not None:
            index[axis] = slice(start, start + array.shape[axis])
        whole[tuple(index)] = array
        whole.flush()

    def finish(self) -> RunTotals:
        """Write what only the end of a run knows, put the journal in order, and return the totals of all chunks."""
        totals = RunTotals.merged(self.entries[chunk].totals for chunk in sorted(self.entries))
        buffer = io.BytesIO()
        np.save(buffer, np.array(totals.settled))
        atomic_write(self.folder / _SETTLED, buffer.getvalue())
        journal = self._opened()
        ordered = b"".join(_line(self.entries[chunk]) for chunk in sorted(self.entries))
        journal.seek(0)
        if journal.read() != ordered:  # the lock stays with the old file until this one is closed
            atomic_write(self.folder / _JOURNAL, ordered)
        return totals

    def array(self, name: str) -> np.ndarray:
        """A memory map of one array of results."""
        found: np.ndarray = np.load(self.folder / _file_of(name), mmap_mode="r")
        return found


def pack(folder: Path, target: Path) -> None:
    """Put the arrays of a finished run into one `.npz`, as `snnir run` writes it, and remove the folder.

    The file is there whole or not at all. Raises `UsageError` where it cannot be written.
    """
    names = {name: str(facts["file"]) for name, facts in _read_json(folder / _ARRAYS).items()} | {"settled": _SETTLED}
    try:
        with zipfile.ZipFile(folder / _PACKED, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
            for name, file in names.items():
                with open(folder / file, "rb") as array, archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    shutil.copyfileobj(array, member, _BLOCK)
        os.replace(folder / _PACKED, target)
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror or error}; the results are in {folder}") from error
    _clear(folder)
    shutil.rmtree(folder)


def _clear(folder: Path) -> None:
    """Remove arrays and entries. Nothing in a folder without `arrays.json` counts as done, should this be cut off."""
    (folder / _ARRAYS).unlink(missing_ok=True)
    os.truncate(folder / _JOURNAL, 0)
    for kind in ("output", "spikes", "synops"):
        shutil.rmtree(folder / kind, ignore_errors=True)


def _file_of(name: str) -> str:
    """`output/a b` becomes `output/a%20b.npy`: the kind is a folder, the rest one safe file name."""
    kind, slash, rest = name.partition("/")
    return f"{kind}{slash}{quote(rest, safe='')}.npy"


def _line(entry: Entry) -> bytes:
    return json.dumps({"chunk": entry.chunk, "inputs": entry.inputs, "totals": asdict(entry.totals)}).encode() + b"\n"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path} cannot be read ({error}); delete {path.parent} to start again") from error
    if not isinstance(found, dict):
        raise FileFormatError(f"{path} is not what snnir writes; delete {path.parent} to start again")
    return found
