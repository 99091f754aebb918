"""Graphs and archives on disk: written whole or not at all, read with suspicion, and never pickled.

A `.snnir` archive is a zip of `manifest.json` (format, version, SHA-256 of every other member), one `NAME.ir` text per
graph, and `tensors.safetensors` with the large constants by digest. The same content gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from snnir.errors import FileFormatError, GraphError, UsageError
from snnir.ir.file_kinds import no_program
from snnir.ir.graph import Graph
from snnir.ir.parse import parse
from snnir.ir.text import tensors, text

__all__ = [
    "archive",
    "atomic_write",
    "load_tensors",
    "read_archive",
    "read_graph",
    "save_tensors",
    "write_archive",
    "write_graph",
]

FORMAT = "snnir-archive"
VERSION = 1
_MANIFEST, _TENSORS = "manifest.json", "tensors.safetensors"
_LARGEST_TEXT = 1 << 30
_EPOCH = (1980, 1, 1, 0, 0, 0)


def atomic_write(path: str | Path, content: bytes) -> None:
    """Write a file through a temporary one beside it, so that it is there whole or as it was. Raises `UsageError`."""
    path = Path(path)
    _refuse_folder(path)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, path)
    except (OSError, ValueError) as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot write {path}: {reason}; choose a folder that exists and is writable") from error


def _refuse_folder(path: Path) -> None:
    if os.path.isdir(path):  # unlike `Path.is_dir`, false for names that no file can have
        raise UsageError(f"cannot write {path}: it is a folder; choose the name of a file")


def write_graph(graph: Graph, path: str | Path) -> None:
    """Write the text form to `path`, and large constants to `path` + `.safetensors`. Raises `UsageError`."""
    path, data = Path(path), tensors(graph)
    _refuse_folder(path)  # before the data beside it is written
    if data:
        atomic_write(path.with_name(path.name + ".safetensors"), save_tensors(data))
    atomic_write(path, text(graph).encode())


def read_graph(path: str | Path) -> Graph:
    """Read what `write_graph` wrote. Raises `FileFormatError`."""
    path = Path(path)
    beside = path.with_name(path.name + ".safetensors")
    try:
        data = load_tensors(beside.read_bytes()) if beside.exists() else {}
        return parse(path.read_text(encoding="utf-8"), data)
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read: {error.strerror}; give a graph in text form (.ir)") from error
    except UnicodeDecodeError:
        raise FileFormatError(f"{path} is no graph in text form; `snnir inspect` prints such") from None
    except (ValueError, GraphError) as error:
        raise FileFormatError(f"{path} cannot be read as a graph: {error}") from error


def write_archive(
    path: str | Path, texts: Mapping[str, str], data: Mapping[str, np.ndarray], manifest: Mapping[str, object]
) -> None:
    """Write graphs' texts by name, tensors by digest and facts to one file. Raises `UsageError`."""
    atomic_write(path, archive(texts, data, manifest))


def archive(texts: Mapping[str, str], data: Mapping[str, np.ndarray], manifest: Mapping[str, object]) -> bytes:
    """The bytes of such a file: the same content gives the same bytes."""
    members = {f"{name}.ir": source.encode() for name, source in sorted(texts.items())}
    members[_TENSORS] = save_tensors(data)
    head = {
        **manifest,
        "format": FORMAT,
        "version": VERSION,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in members.items()},
    }
    members = {_MANIFEST: json.dumps(head, indent=1, sort_keys=True).encode(), **members}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            file.writestr(entry, content)
    return buffer.getvalue()


def read_archive(path: str | Path) -> tuple[dict[str, str], dict[str, np.ndarray], dict[str, object]]:
    """Texts by name, tensors by digest, and the manifest.

    Raises `FileFormatError` for anything that is not exactly what `write_archive` wrote.
    """
    path = Path(path)
    try:
        members = _members(path)
        manifest = _manifest(path, members)
        texts = {name.removesuffix(".ir"): content.decode() for name, content in members.items() if name.endswith(".ir")}
        return texts, load_tensors(members[_TENSORS]), manifest
    except FileNotFoundError:
        raise FileFormatError(f"{path} does not exist; `snnir compile` writes .snnir files") from None
    except (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise FileFormatError(no_program(path, str(error))) from error


def _members(path: Path) -> dict[str, bytes]:
    """Every member's content; sizes are checked before anything is read."""
    members: dict[str, bytes] = {}
    available = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        if len(set(names)) != len(names):
            raise ValueError("a member is there twice")
        wrong = [name for name in names if name not in (_MANIFEST, _TENSORS) and not _is_graph_name(name)]
        if wrong or not {_MANIFEST, _TENSORS} <= set(names):
            raise ValueError(f"unexpected or missing members: {', '.join(wrong) or _MANIFEST + ', ' + _TENSORS}")
        for entry in entries:
            # deflate shrinks by a factor of at most 1032 (zlib's technical details)
            if entry.file_size > 1032 * available + 1024 or entry.compress_size > available:
                raise ValueError(f"member {entry.filename} claims {entry.file_size} bytes, which the file cannot hold")
            if entry.filename != _TENSORS and entry.file_size > _LARGEST_TEXT:
                raise ValueError(f"member {entry.filename} claims {entry.file_size} bytes, more than a graph's text takes")
            members[entry.filename] = archive.read(entry)
    return members


def _is_graph_name(name: str) -> bool:
    return name.endswith(".ir") and name.removesuffix(".ir").isidentifier()


def _manifest(path: Path, members: Mapping[str, bytes]) -> dict[str, object]:
    manifest = json.loads(members[_MANIFEST])
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"its manifest does not say {FORMAT}")
    if manifest.get("version") != VERSION:
        raise FileFormatError(
            f"{path} has format version {manifest.get('version')}, this snnir reads version {VERSION}; "
            "compile the model again, or use the snnir that wrote it"
        )
    digests = manifest.get("sha256")
    expected = {name: hashlib.sha256(content).hexdigest() for name, content in members.items() if name != _MANIFEST}
    if digests != expected:
        raise ValueError("a member is not what the manifest's SHA-256 says: the file was changed or damaged")
    return manifest


def load_tensors(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file by name. Raises `ValueError`."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return dict(load(content))
    except (SafetensorError, KeyError) as error:  # KeyError: an element type that NumPy lacks
        raise ValueError(f"the tensors cannot be read: {error}") from error


def save_tensors(data: Mapping[str, np.ndarray]) -> bytes:
    """Arrays by name as a safetensors file: the same arrays give the same bytes."""
    from safetensors.numpy import save

    content: bytes = save({name: np.ascontiguousarray(data[name]) for name in sorted(data)})
    return content
