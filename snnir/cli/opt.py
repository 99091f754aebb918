"""`snnir opt`: passes on a graph in text form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from snnir.cli import report
from snnir.cli.files import read_arrays
from snnir.cli.options import FILE, JSON

if TYPE_CHECKING:
    from snnir.passes import Stage

__all__ = ["opt_command"]


@click.command("opt")
@click.argument("source", type=FILE)
@click.option("--pipeline", default="", help="The passes to run: name,name{option=value}; none: read, verify and print.")
@click.option("--calibration", type=FILE, help="Inputs (.npy, or .npz by input name) for passes that look at data.")
@click.option("--draw", type=click.IntRange(min=1), help="Instead of --calibration: draw so many samples, the same ones always.")
@click.option("--check/--no-check", default=True, help="Execute the graph before and after every pass, and compare.")
@click.option("--timing", is_flag=True, help="Print the time and the rewrites of every pass, on stderr.")
@click.option("--output", "-o", type=FILE, help="A file for the graph (and its large constants beside it) instead of stdout.")
@JSON
def opt_command(
    source: Path,
    pipeline: str,
    calibration: Path | None,
    draw: int | None,
    check: bool,
    timing: bool,
    output: Path | None,
    json: bool,
) -> None:
    """Read the graph in SOURCE, the text form of any level (.ir), run passes on it and print it.

    Reproducers of failing passes are such files. Every pass is verified, and with --check held to its promise on samples.
    """
    from snnir.compiler.inspection import graph_facts
    from snnir.compiler.optimize import optimize
    from snnir.ir.storage import write_graph
    from snnir.ir.text import text

    stages: list[Stage] = []
    graph = optimize(source, pipeline, read_arrays(calibration) if calibration is not None else None, draw, check, stages.append)
    if timing:
        report.timing(stages)
    if output is not None:
        write_graph(graph, output)
    report.show_text("" if output is not None else text(graph), graph_facts(graph), json)
