"""What the documentation tells users to type does what it says, and what it shows of the source is the source."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import numpy as np
import onnx
import pytest

from snnir.cli.main import main
from tests.frontends.exports import FIXTURES
from tests.models import data
from tests.quantized_models import conv_net, static

DOCS = Path(__file__).parents[1] / "docs"


def test_commands_and_code_of_the_page_on_quantized_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (DOCS / "quantized-models.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    (snnir .*)$", page, re.MULTILINE)
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(commands) == 3
    rng = np.random.default_rng(0)
    x = data(rng, 8, 2, 8, 8)
    onnx.save(static(conv_net(rng), x, tmp_path, "QUInt8", "QInt8"), tmp_path / "quantized.onnx")
    np.save(tmp_path / "x.npy", x)
    monkeypatch.chdir(tmp_path)
    for command in commands:
        assert main(shlex.split(command)[1:]) == 0, command
    assert (tmp_path / "model.snnir").exists()
    capsys.readouterr()
    exec(compile(code, "quantized-models.md", "exec"), {})
    assert capsys.readouterr().out.split() == ["0", "0"]


def test_operators_that_the_page_on_quantized_models_lists_are_those_with_a_handler() -> None:
    from snnir.frontends.onnx import handlers as handlers
    from snnir.frontends.onnx.registry import QUANTIZING

    page = (DOCS / "quantized-models.md").read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", page))
    assert words >= QUANTIZING


def test_files_that_the_documentation_names_exist() -> None:
    for name in ("quantized-models.md", "frameworks.md", "architecture.md", "exactness.md"):
        page = (DOCS / name).read_text(encoding="utf-8")
        for path in re.findall(r"`(tests/[\w/.]+\.py|passes/[\w/.]+\.py|snnir/[\w/.]+\.py|benchmarks/[\w/.]+\.py)`", page):
            assert (DOCS.parent / path).exists(), f"docs/{name} names {path}"
        for path in re.findall(r"\]\(([\w-]+\.md)", page):
            assert (DOCS / path).exists(), f"docs/{name} links to {path}"


def test_every_export_is_kept_with_the_script_that_made_it() -> None:
    for path in FIXTURES.glob("*/*.onnx"):
        assert list(path.parent.glob("*.py")), path.parent


def test_the_glossary_is_in_order_and_names_files_that_exist() -> None:
    page = (DOCS / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^\*\*(.+?)\.\*\*", page, re.MULTILINE)
    assert len(terms) >= 60 and terms == sorted(terms, key=str.lower) and len(set(terms)) == len(terms)
    entries = page.split("\n\n")[2:]
    assert len(entries) == len(terms)
    assert all(entry.strip().endswith(".") for entry in entries)


@pytest.mark.parametrize("name", ["architecture.md", "glossary.md", "extending.md"])
def test_paths_in_pages_exist(name: str) -> None:
    page = (DOCS / name).read_text(encoding="utf-8")
    paths = re.findall(r"`((?:snnir|passes|frontends|backends|tests|examples)/[\w/.]*)`", page)
    assert paths
    for path in paths:
        assert (DOCS.parent / path).exists(), path
    folders = ("snnir", "passes", "frontends", "backends", "tests", "examples")
    known = {path.name for folder in folders for path in (DOCS.parent / folder).rglob("*.py")}
    for path in re.findall(r"`(?:[\w/]+/)?(\w+\.py)`", page):
        assert path in known, f"docs/{name} names {path}"


LISTING = re.compile(r"^```python\n# (\S+): (\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_listings_of_the_guides_are_the_source() -> None:
    page = (DOCS / "extending.md").read_text(encoding="utf-8")
    listings = LISTING.findall(page)
    assert len(listings) == page.count("```python") >= 5
    for file, name, listing in listings:
        source = (DOCS.parent / file).read_text(encoding="utf-8")
        (node,) = (each for each in ast.parse(source).body if getattr(each, "name", None) == name)
        assert isinstance(node, ast.FunctionDef | ast.ClassDef)
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        assert listing == "".join(line + "\n" for line in source.splitlines()[first - 1 : node.end_lineno]), f"{file}: {name}"


def test_names_in_the_guides_exist() -> None:
    """Every name in backticks is a word of the source, of a page of its own kind, or one of snnir's ops, passes and commands."""
    page = LISTING.sub("", (DOCS / "extending.md").read_text(encoding="utf-8"))
    folders = ("snnir", "frontends", "passes", "backends", "examples/plugin", "tests")
    source = "\n".join(
        path.read_text(encoding="utf-8") for folder in folders for path in sorted((DOCS.parent / folder).rglob("*.py"))
    )
    words = set(re.findall(r"[A-Za-z_][\w-]*", source))
    for name in re.findall(r"`([A-Za-z_][\w.-]*)`", page):
        assert all(part in words for part in name.split(".")), f"docs/extending.md names {name}"


PAGES = sorted(DOCS.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_first_what_its_reader_can_do_after_it(page: Path) -> None:
    title, said = page.read_text(encoding="utf-8").split("\n\n")[:2]
    assert title.startswith("# ")
    assert re.match(r"After (reading|looking|these)", said), said[:80]


def test_the_readme_is_short_and_its_links_and_pictures_exist() -> None:
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert len(readme.split()) < 900
    pages = {f"docs/{page.name}": page.read_text(encoding="utf-8") for page in PAGES} | {"README.md": readme}
    for name, text in pages.items():
        folder = (DOCS.parent / name).parent
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
            assert (folder / target).exists(), f"{name} links to {target}"
