"""The files that docs/machine.md lists for `max` are those that know it, and at most 10."""

from __future__ import annotations

import re
from pathlib import Path

from snnir.machine import emitters, program
from snnir.machine.text import kind_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "machine.md").read_text(encoding="utf-8")


def listed() -> list[str]:
    walk = PAGE[PAGE.index("## Adding an emitter") :]
    return re.findall(r"^\| `([\w/.]+)` \|", walk, re.MULTILINE)


def test_the_files_of_max_are_at_most_ten_and_know_it() -> None:
    assert 1 < len(listed()) <= 10
    for name in listed():
        content = (ROOT / name).read_text(encoding="utf-8")
        assert re.search(r'\bMax\b|\bMaxPool\b|\bMAX\b|"max"|largest of a window', content), name


def test_no_other_file_of_the_machine_level_and_its_backends_knows_max() -> None:
    backends = [ROOT / "backends" / name for name in ("bundle", "nir", "simulator", "torch_spiking")]
    knowing = set()
    for folder in (ROOT / "snnir" / "machine", *backends):
        for path in folder.rglob("*.py"):
            if re.search(r"\bMax\b|\bMaxPool\b", path.read_text(encoding="utf-8")):
                knowing.add(path.relative_to(ROOT).as_posix())
    assert knowing <= set(listed())


def test_every_op_is_in_the_table() -> None:
    classes = [getattr(module, name) for module in (emitters, program) for name in module.__all__]
    ops = {kind_of(found) for found in classes if isinstance(found, type) and issubclass(found, emitters.Emitter)}
    ops -= {"emitter", "summing", "combining"}
    table = set(re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE))
    assert table == ops | {"route", "scan"}
