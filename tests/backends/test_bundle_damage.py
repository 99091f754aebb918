"""Damaged and hostile bundles: always one clear error, and memory that stays bounded."""

from __future__ import annotations

import hashlib
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnir.backends.bundle import Bundle
from snnir.errors import FileFormatError, SnnirError
from snnir.export.bundle import bundle, load_bundle
from tests.backends.test_bundle import program_of

BYTES, MANIFESTS = 2000, 400
"""Mutations of a file, and of a manifest whose digests are made right again."""
TRACED = 40
"""Mutations whose memory is traced, which is slow."""
_LARGEST_PEAK = 64 << 20


@pytest.fixture(scope="module")
def made() -> Bundle:
    """A bundle with a scan, routes, a maximum or a product, and golden vectors."""
    for seed in range(200):
        program, data = program_of(seed)
        if any(node.body is not None for node in program.graph().nodes):
            found = bundle(program, data, samples=1)
            if {"scan", "route", "population"} <= {op["op"] for op in json.loads(found.members()["manifest.json"])["program"]}:
                return found
    pytest.fail("no graph with a scan and a route among the seeds")


def refused(read: Callable[[], object]) -> str:
    """The one error's message."""
    with pytest.raises(FileFormatError) as caught:
        read()
    message = str(caught.value)
    assert message and "\n" not in message and len(message) < 600, message
    return message


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def signed(members: dict[str, bytes]) -> dict[str, bytes]:
    """Members with right digests, as someone who means harm would write them."""
    names = [name for name in ("manifest.json", "tensors.safetensors", "golden.safetensors") if name in members]
    return {**members, "SHA256SUMS": "".join(f"{hashlib.sha256(members[name]).hexdigest()}  {name}\n" for name in names).encode()}


def write_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, method)


def test_any_changed_byte_and_any_cut_is_refused(made: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "a.snnb"
    made.save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    tracemalloc.start()
    places = rng.integers(0, len(whole), BYTES)
    for index, place in enumerate(places.tolist()):
        if index % 4 == 0:
            changed = whole[:place]
        elif index % 4 == 1:
            changed = whole[:place] + rng.bytes(1 + index % 9) + whole[place:]
        elif index % 4 == 2:
            changed = whole[:place] + whole[place + 1 + index % 9 :]
        else:
            flipped = whole[place] ^ (1 + int(rng.integers(255)))
            changed = whole[:place] + bytes([flipped]) + whole[place + 1 :]
        path.write_bytes(changed)
        refused(lambda: load_bundle(path))
        if index == TRACED:
            assert tracemalloc.get_traced_memory()[1] < _LARGEST_PEAK
            tracemalloc.stop()
    for place in range(30 + len("SHA256SUMS")):  # every byte of the first header
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x11]) + whole[place + 1 :])
        refused(lambda: load_bundle(path))
    path.write_bytes(whole)
    assert load_bundle(path).members() == made.members()


def test_names_and_sizes_that_mean_harm(made: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "a.snnb"
    made.save(path)
    whole, members = path.read_bytes(), members_of(path)
    for name in ("../evil", "/etc/passwd", "manifest.json/..", "MANIFEST.JSON", "a" * 60_000, "é"):
        write_zip(path, {**members, name: b"x"})
        assert "unexpected" in refused(lambda: load_bundle(path)) or name == "é"
    for missing in members:
        write_zip(path, {name: content for name, content in members.items() if name != missing})
        refused(lambda: load_bundle(path))
    write_zip(path, members, zipfile.ZIP_DEFLATED)
    assert "stored as they are" in refused(lambda: load_bundle(path))
    bomb = dict(members, **{"tensors.safetensors": bytes(50 << 20)})
    write_zip(path, signed(bomb), zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    refused(lambda: load_bundle(path))
    assert tracemalloc.get_traced_memory()[1] < _LARGEST_PEAK
    tracemalloc.stop()
    for size in (0, 1, 1 << 20, (1 << 32) - 1):  # declared sizes, both fields of the first local header
        path.write_bytes(whole[:18] + struct.pack("<2I", size, size) + whole[26:])
        refused(lambda: load_bundle(path))
    for content in (b"", b"PK", b"PK\x05\x06" + bytes(18), bytes(100)):
        path.write_bytes(content)
        refused(lambda: load_bundle(path))


def test_folders_are_read_with_the_same_suspicion(made: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    made.save(folder)
    manifest = folder / "manifest.json"
    good = manifest.read_bytes()
    manifest.write_bytes(good + b" ")
    assert "SHA256SUMS" in refused(lambda: load_bundle(folder))
    manifest.write_bytes(good)
    (folder / "more").write_text("x")
    refused(lambda: load_bundle(folder))
    (folder / "more").unlink()
    (folder / "golden.safetensors").unlink()
    (folder / "golden.safetensors").mkdir()
    refused(lambda: load_bundle(folder))
    refused(lambda: load_bundle(tmp_path / "nothing.snnb"))


def places_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a JSON value."""
    found = [path]
    if isinstance(value, dict):
        for key in value:
            found += places_of(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(len(value)):
            found += places_of(value[index], (*path, index))
    return found


HARM: tuple[object, ...] = (
    -1,
    0,
    1,
    2,
    3,
    1 << 31,
    1 << 62,
    1 << 200,
    1.5,
    -0.0,
    1e300,
    True,
    None,
    "",
    "t0",
    "t1",
    "t9999",
    "x",
    [],
    [1 << 40],
    {},
    [[1, 2, 3]],
)


def test_manifests_that_mean_harm(made: Bundle) -> None:
    """Each place in the manifest replaced by what does not belong there, digests made right again."""
    members = made.members()
    original = json.loads(members["manifest.json"])
    rng = np.random.default_rng(1)
    places = [place for place in places_of(original) if place]
    tracemalloc.start()
    survived = 0
    for index in range(MANIFESTS):
        if index == TRACED:
            assert tracemalloc.get_traced_memory()[1] < _LARGEST_PEAK
            tracemalloc.stop()
        changed = json.loads(members["manifest.json"])
        *parents, last = places[int(rng.integers(len(places)))]
        target = changed
        for key in parents:
            target = target[key]
        if rng.random() < 0.15:
            del target[last]
        else:
            target[last] = HARM[int(rng.integers(len(HARM)))]
        read = read_or_refuse({**members, "manifest.json": json.dumps(changed).encode()})
        if read is not None:  # a name, a scale, a map to other addresses: still a program
            survived += 1
            if survived % 5 == 0:
                with suppress(SnnirError):
                    read.members()
    assert survived < MANIFESTS // 2


def read_or_refuse(members: dict[str, bytes]) -> Bundle | None:
    """The bundle, or None where it is refused with one readable error."""
    message = ""
    try:
        return Bundle.read(members)
    except FileFormatError as error:
        message = str(error)
    assert message and len(message) < 600
    return None


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"{}", b"[]", b"\xff\xfe", b'{"format": NaN}', b'{"a":' * 5000, b"1" * 10_000]
)
def test_manifests_that_are_none(made: Bundle, content: bytes) -> None:
    refused(lambda: Bundle.read({**made.members(), "manifest.json": content}))


def test_tensors_that_lie(made: Bundle) -> None:
    members = made.members()
    content = members["tensors.safetensors"]
    (length,) = struct.unpack_from("<Q", content)
    rng = np.random.default_rng(2)
    for index in range(200):
        place = int(rng.integers(0, 8 + length))
        changed = content[:place] + rng.bytes(1 + index % 3) + content[place + 1 + index % 3 :]
        read_or_refuse({**members, "tensors.safetensors": changed})
    huge = struct.pack("<Q", 1 << 60) + content[8:]
    refused(lambda: Bundle.read({**members, "tensors.safetensors": huge}))
    refused(lambda: Bundle.read({**members, "tensors.safetensors": b""}))
