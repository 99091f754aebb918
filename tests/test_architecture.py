"""The structure that docs/architecture.md promises."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("frontends", "passes", "backends")


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


FLOORS = (
    ("errors", "version", "html"),
    ("plugins",),
    ("ir",),
    ("machine",),
    ("frontends.onnx", "frontends.torch", "passes", "backends.*"),
    ("runtime",),
    ("compiler",),
    ("export",),
    ("views",),
    ("", "streaming", "torch"),
    ("cli",),
    ("__main__",),
)
"""Rooms from the ground up. A module imports modules of its own room and of the floors below; rooms on one floor never one
another (`room.*`: each package in it is a room of its own); `""` is the package `snnir` itself, which only names what it has."""


def _modules() -> dict[str, Path]:
    """All modules by their dotted names, as installed."""
    found = {}
    for folder in ("snnir", *LAYERS):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if folder == "snnir" and len(parts) > 1 and parts[1] in LAYERS:
                continue
            names = parts if folder == "snnir" else ("snnir", *parts)
            found[".".join(names[:-1] if names[-1] == "__init__" else names)] = path
    return found


def _edges(path: Path, known: Collection[str], typing: bool) -> set[str]:
    """Modules that a module imports anywhere in it, functions included; with `typing` those for type checkers too."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.update(name for name in ([inner] if inner in known else [node.module]) if name in known)
        elif not typing and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            pending.extend(node.orelse)
        else:
            pending.extend(ast.iter_child_nodes(node))
    return found


def _room(module: str) -> tuple[int, str]:
    """The floor and the room of a module."""
    inner = module.removeprefix("snnir").removeprefix(".")
    for floor, rooms in enumerate(FLOORS):
        for room in rooms:
            if room.endswith(".*"):
                start = room.removesuffix("*")
                if inner.startswith(start):
                    return floor, start + inner.removeprefix(start).split(".")[0]
            elif inner == room or (room and inner.startswith(f"{room}.")):
                return floor, room
    raise AssertionError(f"{module} is in no room; give it a floor in tests/test_architecture.py")


def test_no_module_imports_itself_by_way_of_others() -> None:
    modules = _modules()
    graph = networkx.DiGraph((name, other) for name, path in modules.items() for other in _edges(path, modules, typing=False))
    circles = [sorted(circle) for circle in networkx.strongly_connected_components(graph) if len(circle) > 1]
    assert not circles


def test_rooms_import_only_from_the_floors_below() -> None:
    modules = _modules()
    packages = {"snnir.frontends", "snnir.backends"}  # they hold a docstring each
    for name, path in modules.items():
        if name in packages:
            assert not _edges(path, modules, typing=True), name
            continue
        floor, room = _room(name)
        for other in _edges(path, modules, typing=True):
            below, there = _room(other)
            if (name, other) == ("snnir", "snnir.torch"):
                continue  # for type checkers only: the front door loads it when it is asked for
            assert below < floor or there == room, f"{name} imports {other}, which is not below it"


def _assert_only(folder: Path, allowed: str) -> None:
    """Modules of a folder import of snnir what matches only."""
    pattern = re.compile(rf"snnir\.({allowed})(\.|$)|snnir$")
    for path in sorted(folder.rglob("*.py")):
        own = {name for name in _imports(path) if name.split(".")[0] == "snnir"}
        wrong = {name for name in own if not pattern.match(name)}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


@pytest.mark.parametrize("layer", ["frontends", "passes"])
def test_layers_import_only_the_ir_and_errors(layer: str) -> None:
    _assert_only(ROOT / layer, f"ir|errors|plugins|{layer}")


def test_the_machine_level_imports_only_the_ir_and_errors() -> None:
    _assert_only(ROOT / "snnir" / "machine", "ir|errors|plugins|html|machine")


BACKENDS = sorted(path.name for path in (ROOT / "backends").iterdir() if path.is_dir() and path.name != "__pycache__")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_imports_no_other_backend(backend: str) -> None:
    _assert_only(ROOT / "backends" / backend, rf"ir|errors|machine|backends\.{backend}")


def test_the_ir_imports_no_other_layer() -> None:
    for path in sorted((ROOT / "snnir" / "ir").rglob("*.py")):
        wrong = {name for name in _imports(path) if re.match(r"snnir\.(?!ir\b|errors\b|plugins\b|version\b|html\b)", name)}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def _at_once(path: Path) -> set[str]:
    """What a module imports while it is imported: not under TYPE_CHECKING, not in functions."""
    names: set[str] = set()
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif not isinstance(node, ast.FunctionDef) and not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            pending.extend(ast.iter_child_nodes(node))
    return names


def test_torch_is_imported_only_where_it_is_asked_for() -> None:
    folders = ("frontends/torch", "backends/torch", "snnir/torch")
    for folder in ("snnir", *LAYERS):
        for path in sorted((ROOT / folder).rglob("*.py")):
            place = path.relative_to(ROOT).as_posix()
            if not place.startswith(folders):
                assert not any(name.split(".")[0] == "torch" for name in _at_once(path)), path
    for folder in folders[:2]:
        door = ROOT / folder / "__init__.py"
        assert not door.exists() or not any(name.split(".")[0] == "torch" for name in _at_once(door)), door


def test_packages_are_listed_and_listed_packages_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(project["tool"]["setuptools"]["packages"])
    found = set()
    for folder in ("snnir", *LAYERS):
        for path in (ROOT / folder).rglob("__init__.py"):
            relative = path.parent.relative_to(ROOT)
            if folder == "snnir" and len(relative.parts) > 1 and relative.parts[1] in LAYERS:
                continue
            found.add(".".join(relative.parts if folder == "snnir" else ("snnir", *relative.parts)))
    assert listed == found


def test_importing_snnir_imports_nothing_heavy() -> None:
    heavy = ("numpy", "onnx", "onnxruntime", "numba", "torch", "networkx")
    code = f"import sys, snnir; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_public_name_resolves() -> None:
    import snnir

    for name in snnir.__all__:
        assert getattr(snnir, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        snnir.nonsense  # type: ignore[attr-defined]  # noqa: B018
