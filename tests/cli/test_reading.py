"""What people read in a terminal: graphs and tables that fit its width, differences, and the list of ops."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from snnir.cli.main import COMMANDS, cli, main
from snnir.cli.operators import collected, found, overview, table
from snnir.cli.reading import changes, readable
from snnir.cli.tables import show_table
from snnir.ir import Graph, Node, TensorType, Value
from snnir.ir.dims import dim
from snnir.ir.ops import Mul
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.ir.text import lines
from tests.random_graphs import random_graph

SEEDS = range(6)


def words(text: str) -> list[str]:
    """Words of a text, lists of numbers left out."""
    return re.sub(r"\[[^\[\]]*\]", "[]", text).split()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("seed", SEEDS)
def test_graphs_fit_the_terminal_and_lose_no_word(seed: int, width: int) -> None:
    graph, _ = random_graph(seed)
    text = readable(graph, width)
    for line in text.splitlines():
        assert len(line) <= width or len(line.split()) <= 2, line  # a word alone may be longer than the line
    said = " ".join(f"{line.left} {line.type} {re.sub(r'digest=.*', '', line.comment)}" for line in lines(graph))
    assert words(text) == words(said)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_differs_from_itself_and_every_renamed_node_is_shown(seed: int) -> None:
    graph, _ = random_graph(seed)
    assert changes(graph, graph, 100) == ""
    chosen = graph.nodes[seed % len(graph.nodes)]

    def rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        if node is not chosen:
            return None
        return rewriter.emit_all(node.op, *operands, names=[f"{value.name}_new" for value in node.outputs], body=node.body)

    changed, _ = rebuild(graph, rule)
    text = changes(graph, changed, 100)
    marked = [line for line in text.splitlines() if line.startswith(("+", "-"))]
    assert any("_new" in line for line in marked if line.startswith("+"))
    assert not any("_new" in line for line in marked if line.startswith("-"))
    # the node, what takes it, and their lines that go on: not the columns of everything else
    uses = sum(len(value.uses) for value in chosen.outputs)
    assert sum(1 for line in marked if not re.match(r".\s{7,}", line)) <= 2 * (2 * uses + 2) + 2 * len(list(graph.walk()))


def test_other_values_of_a_constant_are_one_line() -> None:
    def graph(sign: float) -> Graph:
        made = Graph("g")
        x, w = made.input("x", TensorType((dim("N"), 9), "f32")), np.linspace(-sign, sign, 9, dtype=np.float32)
        made.output("y", made.add1(Mul(), x, made.constant("w", w), name="y"))
        return made

    text = changes(graph(1.0), graph(-1.0), 100)
    assert [line[0] for line in text.splitlines()].count("~") == 1 and "+" not in text
    assert "other values" in text and "digest" not in text


@pytest.mark.parametrize("width", [40, 80, 120])
def test_tables_never_cut_words(width: int) -> None:
    rows = [
        ["a-value-with-a-long-name/of/a/module.weight", "12,345,678", "some words that may stand on several lines of a cell"]
    ] * 3
    text = StringIO()
    show_table("title", ("value", "count", "why"), rows, right=("count",), console=Console(file=text, width=width))
    said = text.getvalue()
    assert said.count(rows[0][0]) == 3 and said.count(rows[0][1]) == 3
    assert set(rows[0][2].split()) <= set(said.split())


def test_ops_are_one_screen_and_a_word_finds_what_is_so_called(capsys: pytest.CaptureFixture[str]) -> None:
    known = table()
    text = overview(known, 80)
    assert len(text.splitlines()) <= 24 and max(map(len, text.splitlines())) <= 80 + 4
    assert {op["name"] for op in known["ops"]} <= set(text.split())
    assert main(["ops", "lstm"]) == 0
    assert {"lstm", "LSTM"} <= set(capsys.readouterr().out.replace(",", "").split())
    for op in known["ops"]:
        assert found(known, op["name"], 80).splitlines()
    for name, reason in list(known["refused"].items())[:20]:
        assert " ".join(reason.split())[:20] in " ".join(found(known, name, 100).split())
    assert main(["ops", "no-such-thing"]) == 2


def test_the_table_of_ops_that_is_installed_is_what_the_handlers_say() -> None:
    kept = json.loads((files("snnir") / "data" / "operators.json").read_text(encoding="utf-8"))
    assert kept == json.loads(json.dumps(collected())), "run: snnir ops --json > snnir/data/operators.json"


def test_every_command_is_found_by_its_own_name() -> None:
    for name in COMMANDS:
        command = cli.commands.get(name) or cli.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None and command.name == name


def test_listing_ops_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = """
import sys
from snnir.cli.main import main
main(["ops", "lstm"])
print([name for name in ("numpy", "torch", "onnx") if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
