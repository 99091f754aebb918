"""`snnir reduce`: the smallest graph that a command still fails on."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from pathlib import Path

import click

from snnir.cli import report
from snnir.cli.options import FILE, JSON
from snnir.errors import UsageError

__all__ = ["reduce_command"]


@click.command("reduce")
@click.argument("source", type=FILE)
@click.option("--command", required=True, help="What fails on the graph; {} stands for the file. It is run without a shell.")
@click.option("--message", help="Keep graphs whose failure prints this; by default those with the same exit code.")
@click.option("--output", "-o", type=FILE, required=True, help="The .ir file for the smallest graph found.")
@click.option("--attempts", type=click.IntRange(min=1), default=2000, show_default=True, help="Runs of the command at most.")
@JSON
def reduce_command(source: Path, command: str, message: str | None, output: Path, attempts: int, json: bool) -> None:
    """Shrink the graph in SOURCE (.ir) as long as a command fails on it: drop nodes, shrink sizes, simplify constants."""
    from snnir.compiler.inspection import graph_facts
    from snnir.compiler.reduction import reduce_graph
    from snnir.ir import Graph
    from snnir.ir.storage import read_graph, write_graph
    from snnir.ir.text import text

    if "{}" not in command:
        raise UsageError(f"--command {command!r}: write {{}} where the file goes")
    graph = read_graph(source)
    with tempfile.TemporaryDirectory() as folder:

        def run(candidate: Graph) -> tuple[int, str]:
            path = Path(folder) / "candidate.ir"
            write_graph(candidate, path)
            words = [word.replace("{}", str(path)) for word in shlex.split(command)]
            try:
                found = subprocess.run(words, capture_output=True, text=True, check=False)
            except OSError as error:
                raise UsageError(f"--command {command!r} cannot be run: {error}") from error
            return found.returncode, found.stdout + found.stderr

        code, printed = run(graph)
        if code == 0 or (message is not None and message not in printed):
            raise UsageError(
                f"the command does not fail on {source} as asked: exit code {code}, and it printed {printed[-500:]!r}"
            )

        def fails(candidate: Graph) -> bool:
            found, said = run(candidate)
            return found != 0 and (message in said if message is not None else found == code)

        with report.progress("reducing", quiet=json):
            small = reduce_graph(graph, fails, attempts)
    write_graph(small, output)
    facts = graph_facts(small) | {"output": str(output), "nodes_before": sum(1 for _ in graph.walk())}
    report.show_text(text(small), facts, json)
