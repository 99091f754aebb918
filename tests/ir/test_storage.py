"""Files are written whole or not at all, and read back exactly or refused with one error."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from snnir.errors import FileFormatError, UsageError
from snnir.ir import Graph
from snnir.ir.parse import parse
from snnir.ir.storage import atomic_write, read_archive, read_graph, write_archive, write_graph
from snnir.ir.text import tensors, text
from tests.random_graphs import random_graph

SEED = 10


def write(path: Path, seed: int = SEED) -> Graph:
    graph, _ = random_graph(seed)
    write_archive(path, {"float": text(graph), "again": text(graph)}, tensors(graph), {"model": "a model", "bits": 4})
    return graph


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "model.snnir"
    write(path)
    return path


def content(path: Path) -> tuple[object, ...]:
    texts, data, manifest = read_archive(path)
    return texts, {name: (array.dtype, array.shape, array.tobytes()) for name, array in data.items()}, manifest


@pytest.mark.parametrize("seed", range(0, 40, 2))
def test_graphs_on_disk_read_back(tmp_path: Path, seed: int) -> None:
    graph, _ = random_graph(seed)
    path = tmp_path / "deep.name.ir"
    write_graph(graph, path)
    assert read_graph(path) == graph
    assert {file.name for file in tmp_path.iterdir()} <= {"deep.name.ir", "deep.name.ir.safetensors"}


@pytest.mark.parametrize("seed", range(0, 40, 2))
def test_archives_read_back(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "model.snnir"
    graph = write(path, seed)
    texts, data, manifest = read_archive(path)
    assert parse(texts["float"], data) == graph
    assert set(texts) == {"float", "again"}
    assert manifest["model"] == "a model" and manifest["bits"] == 4
    assert [file.name for file in tmp_path.iterdir()] == ["model.snnir"]


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    graph, _ = random_graph(SEED)
    data = tensors(graph)
    write_archive(tmp_path / "a", {"x": "one", "y": "two"}, data, {"p": 1, "q": 2})
    write_archive(tmp_path / "b", {"y": "two", "x": "one"}, dict(reversed(data.items())), {"q": 2, "p": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_archive_without_tensors(tmp_path: Path) -> None:
    write_archive(tmp_path / "a", {"x": "one"}, {}, {})
    assert read_archive(tmp_path / "a")[:2] == ({"x": "one"}, {})


def test_truncation_is_found_everywhere(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    damaged = tmp_path / "damaged.snnir"
    for length in sorted({*range(0, len(whole), max(len(whole) // 150, 1)), *range(len(whole) - 60, len(whole))}):
        damaged.write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match=r"damaged\.snnir"):
            read_archive(damaged)


def test_a_changed_byte_is_found_or_harmless(archive: Path, tmp_path: Path) -> None:
    """A byte that says nothing (a time, a permission) may change; the content read never does."""
    whole, expected = archive.read_bytes(), content(archive)
    damaged = tmp_path / "damaged.snnir"
    rng = np.random.default_rng(0)
    places = {*range(0, len(whole), max(len(whole) // 300, 1)), *range(60), *range(len(whole) - 400, len(whole))}
    refused = 0
    for place in sorted(places):
        for flip in (1 << int(rng.integers(8)), int(rng.integers(1, 256))):
            changed = bytearray(whole)
            changed[place] ^= flip
            damaged.write_bytes(changed)
            try:
                assert content(damaged) == expected
            except FileFormatError as error:
                refused += 1
                last = str(error)
    assert refused > len(places)
    assert "damaged.snnir" in last


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def forge(path: Path, contents: list[tuple[str, bytes]], honest: bool = True) -> None:
    """An archive of any members, with a manifest that vouches for them where `honest`."""
    if honest:
        manifest = json.loads(dict(contents)["manifest.json"])
        manifest["sha256"] = {name: hashlib.sha256(data).hexdigest() for name, data in contents if name != "manifest.json"}
        contents = [(name, json.dumps(manifest).encode() if name == "manifest.json" else data) for name, data in contents]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in contents:
            file.writestr(name, data)
    path.write_bytes(buffer.getvalue())


def with_manifest(change: Callable[[dict[str, object]], object]) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    def edit(parts: dict[str, bytes]) -> dict[str, bytes]:
        manifest = json.loads(parts["manifest.json"])
        change(manifest)
        return {**parts, "manifest.json": json.dumps(manifest).encode()}

    return edit


FORGERIES: dict[str, tuple[Callable[[dict[str, bytes]], dict[str, bytes]], str]] = {
    "a member more": (lambda parts: {**parts, "run.py": b"print()"}, "unexpected or missing members: run.py"),
    "a graph more": (lambda parts: {**parts, "more.ir": b"graph more level=float\n"}, "SHA-256"),
    "a path upwards": (lambda parts: {**parts, "../evil.ir": b""}, "unexpected or missing members"),
    "an absolute path": (lambda parts: {**parts, "/tmp/evil.ir": b""}, "unexpected or missing members"),
    "a folder": (lambda parts: {**parts, "folder/": b""}, "unexpected or missing members"),
    "no tensors": (lambda parts: {name: parts[name] for name in parts if name != "tensors.safetensors"}, "missing members"),
    "no manifest": (lambda parts: {name: parts[name] for name in parts if name != "manifest.json"}, "missing members"),
    "a graph less": (lambda parts: {name: parts[name] for name in parts if name != "again.ir"}, "SHA-256"),
    "another graph": (lambda parts: {**parts, "float.ir": parts["float.ir"] + b"\n"}, "SHA-256"),
    "a manifest that is no JSON": (lambda parts: {**parts, "manifest.json": b"{"}, "is not a whole .snnir file"),
    "a manifest that is a list": (lambda parts: {**parts, "manifest.json": b"[]"}, "manifest does not say"),
    "a manifest that is no text": (lambda parts: {**parts, "manifest.json": b"\xff\xfe\x00"}, "is not a whole .snnir file"),
    "a manifest without end": (lambda parts: {**parts, "manifest.json": b"[" * 200_000}, "is not a whole .snnir file"),
    "another format": (with_manifest(lambda manifest: manifest.update(format="other")), "does not say snnir-archive"),
    "a later version": (with_manifest(lambda manifest: manifest.update(version=99)), "version 99, this snnir reads version 1"),
    "no digests": (with_manifest(lambda manifest: manifest.pop("sha256")), "SHA-256"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forgeries_are_refused(archive: Path, name: str) -> None:
    change, message = FORGERIES[name]
    forge(archive, list(change(members(archive)).items()), honest=False)
    with pytest.raises(FileFormatError) as caught:
        read_archive(archive)
    assert message in str(caught.value)
    assert str(archive) in str(caught.value)


def bf16() -> bytes:
    head = json.dumps({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    return len(head).to_bytes(8, "little") + head + bytes(4)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("tensors.safetensors", b""),
        ("tensors.safetensors", b"\xff" * 100),
        ("tensors.safetensors", bf16()),
        ("tensors.safetensors", (1 << 40).to_bytes(8, "little") + b"{}"),
        ("float.ir", b"\xff\xfe"),
    ],
)
def test_vouched_nonsense_is_refused(archive: Path, name: str, data: bytes) -> None:
    forge(archive, list({**members(archive), name: data}.items()))
    with pytest.raises(FileFormatError):
        read_archive(archive)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice_is_refused(archive: Path) -> None:
    parts = list(members(archive).items())
    forge(archive, [*parts, ("float.ir", b"graph other level=float\n")], honest=False)
    with pytest.raises(FileFormatError, match="a member is there twice"):
        read_archive(archive)


def test_a_member_that_claims_to_be_huge_is_refused_unread(archive: Path) -> None:
    """A zip bomb: the size is checked before anything is unpacked."""
    parts = members(archive)
    forge(archive, list(parts.items()))
    data = bytearray(archive.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (0xFFFFFFF0).to_bytes(4, "little")
    archive.write_bytes(data)
    with pytest.raises(FileFormatError, match="which the file cannot hold"):
        read_archive(archive)


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), bytes(1000)])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.snnir"
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match=r"x\.snnir is (not a whole \.snnir file|no program of snnir|empty)"):
        read_archive(path)


def test_folders_and_absent_files(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="does not exist"):
        read_archive(tmp_path / "absent.snnir")
    for path in (tmp_path, tmp_path / "absent.ir"):
        with pytest.raises(FileFormatError, match="cannot be read"):
            read_graph(path)
    with pytest.raises(FileFormatError, match="is a folder"):
        read_archive(tmp_path)


def test_damaged_graph_files_are_refused(tmp_path: Path) -> None:
    graph, _ = random_graph(SEED)
    path, beside = tmp_path / "g.ir", tmp_path / "g.ir.safetensors"
    write_graph(graph, path)
    source, data = path.read_bytes(), beside.read_bytes()
    for changed_source, changed_data in (
        (source[: len(source) // 2], data),
        (b"\xff" + source, data),
        (b"", data),
        (source, data[: len(data) // 2]),
        (source, b""),
        (source, bf16()),
        (source, data[:-1] + bytes([data[-1] ^ 1])),
    ):
        path.write_bytes(changed_source)
        beside.write_bytes(changed_data)
        with pytest.raises(FileFormatError, match=r"g\.ir"):
            read_graph(path)
    path.write_bytes(source)
    beside.unlink()
    with pytest.raises(FileFormatError, match="is missing from the tensors"):
        read_graph(path)


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    graph, _ = random_graph(SEED)
    folder = tmp_path / "folder"
    (folder / "inside").mkdir(parents=True)
    file = tmp_path / "file"
    file.write_text("a file")
    before = sorted(tmp_path.rglob("*"))
    for path in (folder, tmp_path / "absent" / "x", file / "x", tmp_path / ("long" * 100), tmp_path / "nul\0"):
        attempts = (
            partial(atomic_write, path, b"x"),
            partial(write_graph, graph, path),
            partial(write_archive, path, {"float": text(graph)}, tensors(graph), {}),
        )
        for attempt in attempts:
            with pytest.raises(UsageError, match="cannot write"):
                attempt()
            assert sorted(tmp_path.rglob("*")) == before
    assert file.read_text() == "a file"


def test_a_failed_write_keeps_the_old_file(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = archive.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(UsageError, match="No space left on device"):
        write(archive, SEED + 1)
    assert archive.read_bytes() == before
    assert [file.name for file in archive.parent.iterdir()] == [archive.name]


def test_written_files_have_ordinary_permissions(tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.write_bytes(b"")
    atomic_write(tmp_path / "ours", b"x")
    assert (tmp_path / "ours").stat().st_mode == ordinary.stat().st_mode
