"""A bundle: an integer program with all that is certified of it, golden vectors, and how it lies on cores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from snnir.backends.bundle.container import GOLDEN, HOST, MANIFEST, TENSORS, read_members, write_members
from snnir.backends.bundle.decode import decode_program
from snnir.backends.bundle.fields import checked_manifest
from snnir.backends.bundle.golden import Golden, decode_golden, encode_golden
from snnir.backends.bundle.host import decode_host, encode_host
from snnir.backends.bundle.manifest import FORMAT, VERSION, encode_program
from snnir.backends.bundle.tensors import TensorReader, TensorWriter
from snnir.errors import FileFormatError
from snnir.machine.host_graphs import HostGraphs
from snnir.machine.program import IntegerProgram
from snnir.machine.ranges import Bounds, certify
from snnir.machine.settling import Settling, settling

__all__ = ["Bundle"]


@dataclass
class Bundle:
    """A program, golden vectors or None, `mapping`: limits and the cores that the program was fitted to, and what the host
    computes around the program (None: not known, as in files of versions 1 and 2)."""

    program: IntegerProgram
    golden: Golden | None = None
    mapping: dict[str, object] = field(default_factory=dict)
    host: HostGraphs | None = None

    def __repr__(self) -> str:
        vectors = "with golden vectors" if self.golden is not None else "without golden vectors"
        return f"<Bundle {self.program.name}: {len(self.program.ops)} ops, {self.program.delivery} delivery, {vectors}>"

    @cached_property
    def bounds(self) -> Bounds:
        """Certified ranges of everything in the program."""
        return certify(self.program)

    @cached_property
    def settling(self) -> Settling:
        """Certified steps."""
        return settling(self.program, self.bounds)

    def members(self) -> dict[str, bytes]:
        """The contents of the files that a bundle is made of, by name: the same bundle gives the same bytes."""
        tensors, golden = TensorWriter(), TensorWriter("g")
        manifest: dict[str, object] = encode_program(self.program, self.bounds, self.settling, tensors)
        manifest["mapping"] = self.mapping
        members = {MANIFEST: b"", TENSORS: tensors.content()}
        if self.golden is not None:
            manifest["golden"] = encode_golden(self.golden, golden)
            members[GOLDEN] = golden.content()
        if self.host is not None:
            manifest["model"], members[HOST] = encode_host(self.host)
        members[MANIFEST] = json.dumps(manifest, sort_keys=True, allow_nan=False, separators=(",", ":")).encode()
        return members

    def save(self, path: str | Path) -> None:
        """Write to one `.snnb` file, or to a folder where the name has no suffix. Raises `UsageError`."""
        write_members(Path(path), self.members())

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Read what `save` wrote. Raises `FileFormatError` for anything else."""
        members = read_members(Path(path))
        try:
            return cls.read(members)
        except FileFormatError as error:
            raise FileFormatError(f"{path}: {error}; make the bundle again with `snnir bundle`") from error

    @classmethod
    def read(cls, members: Mapping[str, bytes]) -> Bundle:
        """A bundle from the contents of its files. Raises `FileFormatError`."""
        try:
            value = json.loads(members[MANIFEST], parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise FileFormatError(f"its manifest is no JSON: {error}") from error
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise FileFormatError(f"its manifest: its format is not {FORMAT}")
        if value.get("version") not in range(1, VERSION + 1):
            version = str(value.get("version"))[:40]
            raise FileFormatError(f"its manifest: it has version {version}, this snnir reads versions 1 to {VERSION}")
        manifest = checked_manifest(value)
        program = decode_program(manifest, TensorReader(manifest["tensors"], members[TENSORS]))
        golden = None
        if ("golden" in manifest) != (GOLDEN in members):
            raise manifest.error(f"{GOLDEN} and what the manifest says of it do not go together")
        if GOLDEN in members:
            fields = manifest.object("golden")
            golden = decode_golden(fields, TensorReader(fields["tensors"], members[GOLDEN]), program)
        host = None
        if ("model" in manifest) != (HOST in members):
            raise manifest.error(f"{HOST} and what the manifest says of it do not go together")
        if HOST in members:
            host = decode_host(manifest.object("model"), members[HOST], program)
        return cls(program, golden, manifest["mapping"], host)


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no number")
