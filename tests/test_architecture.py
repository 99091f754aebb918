"""The structure that docs/architecture.md promises."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

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


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_import_only_the_ir_and_errors(layer: str) -> None:
    allowed = re.compile(rf"snnir\.(ir|errors|{layer})(\.|$)|snnir$")
    for path in sorted((ROOT / layer).rglob("*.py")):
        own = {name for name in _imports(path) if name.split(".")[0] == "snnir"}
        wrong = {name for name in own if not allowed.match(name)}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_the_ir_imports_no_other_layer() -> None:
    for path in sorted((ROOT / "snnir" / "ir").rglob("*.py")):
        wrong = {name for name in _imports(path) if re.match(r"snnir\.(?!ir\b|errors\b)", name)}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_torch_is_imported_in_its_own_packages_only() -> None:
    own = ROOT / "backends" / "torch_spiking"
    for folder in ("snnir", *LAYERS):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.resolve().is_relative_to(own):
                continue
            assert not any(name.split(".")[0] == "torch" for name in _imports(path)), path


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
        snnir.nonsense  # noqa: B018
