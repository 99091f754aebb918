"""What a file holds that is not what was asked for, found out from its content, and what to do with it."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FileKind", "kind_of", "no_data", "no_program"]

_EXPORT = (
    "export the module with torch.onnx.export(module, example, 'model.onnx', dynamo=True), or with torch.export.export and "
    "torch.export.save"
)
_KERAS = "export a Keras model with model.export('model.onnx', format='onnx')"
_TFLITE = "convert it with `python -m tf2onnx.convert --tflite FILE --output model.onnx`"
_COMPILE = "compile it first (`snnir compile`)"
_LFS = "fetch the file itself with `git lfs pull`"
_FIRST_FIELDS = (b"\x12", b"\x1a", b"\x22", b"\x2a", b"\x32", b"\x3a")
"""What may follow the version of the format in an ONNX model: the tags of its other fields."""
_HEAD = 512
"""Bytes from the start that tell text from other content."""
_BEGINNING = 1 << 12
"""Bytes from the start that tell all kinds but archives."""


@dataclass(frozen=True)
class FileKind:
    """A kind of file, and what to do with one where a model is asked for."""

    what: str
    advice: str
    program: str = "give what `snnir compile` wrote"
    """What to do with one where a program is asked for."""

    def __str__(self) -> str:
        return f"{self.what}: {self.advice}"


_ARRAY = FileKind(
    "a NumPy array (.npy)",
    "that is data; give the model, and the array as --calibration or as inputs",
    "that is data; give the program, and behind it the data",
)
_ARRAYS = FileKind(
    "arrays of NumPy (.npz)",
    "that is data; give the model, and the arrays as --calibration or as inputs",
    "that is data; give the program, and behind it the data",
)
_PROGRAM = FileKind("a compiled program of snnir (.snnir)", "run it with `snnir run`, or load it with snnir.load")
_BUNDLE = FileKind(
    "a bundle of snnir (.snnb)", "replay it with `snnir replay`, or load it with snnir.load", "give it a name that ends in .snnb"
)
_MAGIC: tuple[tuple[int, bytes, FileKind], ...] = (
    (0, b"\x93NUMPY", _ARRAY),
    (0, b"\x1f\x8b", FileKind("a gzip file", "unpack it first (gunzip)", "unpack it first (gunzip)")),
    (
        4,
        b"TFL3",
        FileKind("a TensorFlow Lite model", _TFLITE),
    ),
    (
        0,
        b"\x89HDF\r\n\x1a\n",
        FileKind("an HDF5 file, as Keras and NIR write", f"{_KERAS}; read a NIR file with snnir.import_nir"),
    ),
    (0, b"graph ", FileKind("a graph in snnir's text form", "run passes on it with `snnir opt`")),
    (0, b"\x80\x02", FileKind("a Python pickle, as torch.save once wrote", _EXPORT)),
    (0, b"7z\xbc\xaf\x27\x1c", FileKind("a 7z archive", "unpack it first", "unpack it first")),
    (0, b"PK\x05\x06", FileKind("an empty zip archive", "write the file again")),
    (
        0,
        b"version https://git-lfs",
        FileKind("a pointer of Git LFS", _LFS, _LFS),
    ),
)


def kind_of(content: bytes) -> FileKind | None:
    """What the content is; None where it is nothing known. ONNX models are recognised by how they begin, and may be damaged."""
    for place, magic, kind in _MAGIC:
        if content[place : place + len(magic)] == magic:
            return kind
    if content[:4] == b"PK\x03\x04":
        return _archive(content)
    if content[:1] == b"\x08" and content[1:2] < b"\x20" and content[2:3] in _FIRST_FIELDS:
        return FileKind("an ONNX model", "", _COMPILE)
    return _text(content)


def _archive(content: bytes) -> FileKind:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return FileKind("a damaged zip archive", "write or fetch the file again", "compile the model again")
    ends = {name.rpartition("/")[2] for name in names}
    if "config.json" in ends and any(name.endswith(".weights.h5") for name in names):
        return FileKind("a Keras archive (.keras)", _KERAS)
    if "archive_format" in ends or any("exported_program" in name for name in names):
        return FileKind(
            "an exported program of PyTorch", "call the file .pt2, and it is taken", "compile it first (`snnir compile`)"
        )
    if "constants.pkl" in ends or any("/code/" in name for name in names):
        return FileKind("a TorchScript module (torch.jit)", f"load the module itself in Python, and {_EXPORT}")
    if "data.pkl" in ends:
        return FileKind(
            "what torch.save writes, a state dict or a whole module",
            f"build the module in Python, load its state dict, and {_EXPORT}",
        )
    if any(name.endswith(".npy") for name in names):
        return _ARRAYS
    if "SHA256SUMS" in ends and "manifest.json" in ends:
        return _BUNDLE
    if "manifest.json" in ends:
        return _PROGRAM
    return FileKind("a zip archive", "unpack the model that it holds")


def _text(content: bytes) -> FileKind | None:
    try:
        head = content[:_HEAD].decode("utf-8", "strict" if len(content) <= _HEAD else "ignore").lstrip().lower()
    except UnicodeDecodeError:
        return None
    if not head or not all(letter.isprintable() or letter in "\r\n\t" for letter in head):
        return None
    if head.startswith(("<!doctype html", "<html")):
        return FileKind("a web page", "download the file itself", "download the file itself")
    return FileKind("text", "give the file that onnx.save or torch.onnx.export wrote")


_TABLES = (".csv", ".tsv", ".txt")


def no_data(path: Path, error: str = "") -> str:
    """What is said of a file that was to hold arrays, `path` included; `error` is what the reader said of it."""
    if path.is_dir():
        return f"{path} is a folder; give a .npy file, or .npz with an array per input"
    content = _content(path)
    if not content:
        return f"{path} is empty; write arrays with numpy.save"
    kind = kind_of(content)
    if kind is not None and kind.what == "text" and path.suffix.lower() in _TABLES:
        table = f"{path} is a table in text ({path.suffix[1:].upper()})"
        return f"{table}; read the text with numpy.loadtxt or pandas, and write the numbers with numpy.save"
    if kind is not None and kind.what.startswith("what torch.save"):
        return f"{path} is what torch.save writes; write arrays with numpy.save(path, tensor.numpy())"
    if kind is not None and kind not in (_ARRAY, _ARRAYS):
        return f"{path} holds no arrays, but {kind.what}; write arrays with numpy.save"
    why = "" if not error or "pickle" in error else f" ({error})"  # NumPy takes every file without an array for a pickle
    return f"{path} cannot be read as .npy or .npz{why}; write it with numpy.save, as numbers (no Python objects)"


def no_program(path: Path, error: str) -> str:
    """What is said of a file that was to hold a program, `path` included; `error` is what the reader said of it."""
    if path.is_dir():
        return f"{path} is a folder; give what `snnir compile` wrote"
    content = _content(path)
    kind = kind_of(content) if content else None
    if not content:
        return f"{path} is empty; compile the model again"
    if kind is None or kind is _PROGRAM or kind.what.endswith("zip archive"):
        return f"{path} is not a whole .snnir file ({error}); compile the model again"
    return f"{path} is no program of snnir, but {kind.what}: {kind.program}"


def _content(path: Path) -> bytes:
    """What shows the kind of a file: its beginning, or all of a zip archive."""
    try:
        with path.open("rb") as file:
            head = file.read(_BEGINNING)
            return head + file.read() if head[:4] == b"PK\x03\x04" else head
    except OSError:
        return b""
