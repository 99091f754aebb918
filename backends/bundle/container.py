"""Members of a bundle in one `.snnb` file or a folder: written in one way only, and read with suspicion.

A `.snnb` file is a zip whose members are stored as they are, in the order of `MEMBERS`, with fixed headers. `SHA256SUMS` holds
the digests of the others, as the tool `sha256sum` writes them. A file that differs from this in any byte is refused.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

from snnir.errors import FileFormatError, UsageError
from snnir.ir.storage import atomic_write

__all__ = ["GOLDEN", "HOST", "MANIFEST", "TENSORS", "read_members", "write_members"]

MANIFEST, TENSORS, GOLDEN, HOST = "manifest.json", "tensors.safetensors", "golden.safetensors", "host.safetensors"
SUMS = "SHA256SUMS"
MEMBERS = (SUMS, MANIFEST, TENSORS, GOLDEN, HOST)
"""In this order; the last two may be missing."""

_LARGEST = (1 << 32) - (1 << 20)
_LARGEST_MANIFEST = 1 << 28
_LARGEST_SUMS = 1 << 10
_VERSION, _DATE = 20, 0x0021  # zip 2.0; 1 January 1980
_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_LOCAL_FIELDS = struct.Struct("<4s5H3I2H")


def write_members(path: Path, members: Mapping[str, bytes]) -> None:
    """Write members to a `.snnb` file, or to a folder where the name has no suffix. Raises `UsageError`."""
    whole = {SUMS: _sums(members), **members}
    if path.suffix:
        atomic_write(path, _zip(whole, path))
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; choose a folder that can be made") from error
    unknown = [entry for entry in os.listdir(path) if entry not in MEMBERS]
    if unknown:
        raise UsageError(f"cannot write {path}: it holds {unknown[0]}, which is no part of a bundle; choose an empty folder")
    (path / SUMS).unlink(missing_ok=True)  # until it is written again, the folder is no bundle
    (path / GOLDEN).unlink(missing_ok=True)
    (path / HOST).unlink(missing_ok=True)
    for name in (name for name in reversed(MEMBERS) if name in whole):
        atomic_write(path / name, whole[name])


def read_members(path: Path) -> dict[str, bytes]:
    """The members by name, without the digests, which are checked. Raises `FileFormatError`."""
    try:
        members = _folder(path) if path.is_dir() else _unzip(path)
    except FileNotFoundError:
        raise FileFormatError(f"{path} does not exist; `snnir bundle` writes .snnb files") from None
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path} is not a whole bundle ({error}); make it again with `snnir bundle`") from error
    sums = members.pop(SUMS)
    if sums != _sums(members):
        raise FileFormatError(f"{path}: a member is not what {SUMS} says; it was changed or damaged, so make it again")
    return members


def _sums(members: Mapping[str, bytes]) -> bytes:
    lines = [f"{hashlib.sha256(members[name]).hexdigest()}  {name}\n" for name in MEMBERS if name in members]
    return "".join(lines).encode()


def _largest(name: str) -> int:
    return {SUMS: _LARGEST_SUMS, MANIFEST: _LARGEST_MANIFEST}.get(name, _LARGEST)


def _folder(path: Path) -> dict[str, bytes]:
    names = sorted(os.listdir(path))
    _check_names(names)
    for name in names:
        if not (path / name).is_file() or (path / name).stat().st_size > _largest(name):
            raise ValueError(f"member {name} is no file, or larger than {_largest(name)} bytes")
    return {name: (path / name).read_bytes() for name in names}


def _check_names(names: list[str]) -> None:
    wrong = [name for name in names if name not in MEMBERS]
    if wrong or len(set(names)) != len(names) or not {SUMS, MANIFEST, TENSORS} <= set(names):
        found = ", ".join(repr(name) for name in wrong[:3]) or ", ".join(names) or "none"
        raise ValueError(f"unexpected, double or missing members: found {found}, needed {', '.join(MEMBERS[:3])}")


def _zip(members: Mapping[str, bytes], path: Path) -> bytes:
    bodies, directory, offset = [], [], 0
    for name in (name for name in MEMBERS if name in members):
        content, encoded = members[name], name.encode()
        common = struct.pack(
            "<5H3I2H", _VERSION, 0, 0, 0, _DATE, zlib.crc32(content), len(content), len(content), len(encoded), 0
        )
        bodies += [_LOCAL, common, encoded, content]
        directory += [_CENTRAL, struct.pack("<H", _VERSION), common, struct.pack("<3H2I", 0, 0, 0, 0, offset), encoded]
        offset += 30 + len(encoded) + len(content)
        if offset > _LARGEST:
            raise UsageError(f"cannot write {path}: a .snnb file holds less than 4 GiB; give the name of a folder instead")
    size = sum(len(part) for part in directory)
    count = len(bodies) // 4
    return b"".join([*bodies, *directory, _END, struct.pack("<4H2IH", 0, 0, count, count, size, offset, 0)])


def _unzip(path: Path) -> dict[str, bytes]:
    """The members of a zip as `_zip` writes it; whatever it says of sizes is held against the bytes that are there."""
    if path.stat().st_size > _LARGEST:
        raise ValueError("it is larger than 4 GiB")
    content = path.read_bytes()
    members: dict[str, bytes] = {}
    names: list[str] = []
    at = 0
    while content[at : at + 4] == _LOCAL:
        if len(content) < at + 30:
            raise ValueError("it ends within a header")
        _, _, flags, method, _, _, _, packed, size, name_size, extra = _LOCAL_FIELDS.unpack_from(content, at)
        name = content[at + 30 : at + 30 + name_size].decode("ascii", "backslashreplace")
        first = at + 30 + name_size + extra
        if name not in MEMBERS or name in members:
            raise ValueError(f"unexpected or double member {name[:80]!r}")
        if method or flags or packed != size:
            raise ValueError(f"member {name} is compressed or encrypted; members of a bundle are stored as they are")
        if size > _largest(name) or first + size > len(content):
            raise ValueError(f"member {name} claims {size} bytes, which the file cannot hold")
        members[name] = content[first : first + size]
        names.append(name)
        at = first + size
    _check_names(names)
    if _zip(members, path) != content:
        raise ValueError("its bytes are not those of a bundle with these members: it was changed, cut or damaged")
    return members
