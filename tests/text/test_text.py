"""Every `.ir` file below this folder: its RUN lines, and what its CHECK lines say of their output."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from snnir.cli.main import main
from snnir.ir import FLOAT
from snnir.ir.parse import parse
from snnir.ir.worklist import rewrite
from snnir.passes import PASSES
from snnir.passes.canonicalize import RULES
from tests.text.filecheck import FileCheckError, check, directives, runs

FOLDER = Path(__file__).parent
FILES = sorted(FOLDER.rglob("*.ir"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).with_suffix("").as_posix())
def test_file(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = path.read_text(encoding="utf-8")
    commands = runs(source)
    assert commands, "no RUN line"
    output = ""
    for words in commands:
        fails = words[0] == "not"
        program, *arguments = words[1:] if fails else words
        assert program == "snnir"
        code = main([word.replace("%s", str(path)) for word in arguments])
        printed = capsys.readouterr()
        assert (code != 0) == fails, f"exit code {code}\n{printed.err}"
        output += printed.out + (printed.err if fails else "")
    check(path, source, output)


def test_every_pass_has_text_tests() -> None:
    tried = {
        name for path in FILES for words in runs(path.read_text(encoding="utf-8")) for name in PASSES if name in " ".join(words)
    }
    assert tried == set(PASSES)


def test_every_rewrite_rule_has_a_text_test() -> None:
    hits: Counter[str] = Counter()
    for path in FILES:
        source = path.read_text(encoding="utf-8")
        if "canonicalize" in source and (graph := parse(source)).level == FLOAT:
            rewrite(graph, RULES, hits)
    assert {rule.name for rule in RULES} <= set(hits)


@pytest.mark.parametrize(
    ("source", "output", "why"),
    [
        ("# CHECK: a\n# CHECK: b", "b\na", "CHECK 'b' is not there"),
        ("# CHECK: a\n# CHECK-NEXT: b", "a\nc\nb", "not in the next line"),
        ("# CHECK: a\n# CHECK-NOT: b\n# CHECK: c", "a\nb\nc", "is there"),
        ("# CHECK-NOT: b", "a\nb", "is there"),
        ("# CHECK-COUNT-2: a", "a\nb", "is not there"),
        ("# CHECK: x{{[0-9]+}}y", "xy", "is not there"),
        ("graph", "graph", "no CHECK line"),
        ("# CHECK-NEVER: a", "a", "is no directive"),
    ],
)
def test_checks_can_fail(source: str, output: str, why: str) -> None:
    with pytest.raises(FileCheckError, match=why):
        check(Path("file.ir"), source, output)


def test_checks_that_hold() -> None:
    source = "# CHECK: a  b\n# CHECK-NEXT: c{{[0-9]}}\n# CHECK-NOT: never\n# CHECK-COUNT-2: d"
    check(Path("file.ir"), source, "before\nx a   b\nc1\nd\nd\nafter")
    assert [item.kind for item in directives(source)] == ["CHECK", "NEXT", "NOT", "CHECK", "CHECK"]
