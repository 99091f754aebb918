"""`snnir inspect`: a graph as text, at a level or around a pass; or what a bundle holds."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from snnir.cli import report
from snnir.cli.bundle import inspect_bundle, is_bundle
from snnir.cli.files import read_arrays
from snnir.cli.options import FILE, JSON
from snnir.cli.reading import changes, readable
from snnir.errors import UsageError
from snnir.ir import Graph
from snnir.ir.text import text

__all__ = ["inspect_command"]


@click.command("inspect")
@click.argument("source", type=FILE)
@click.option("--after", metavar="PASS", help="The graph after this pass (its first run; PASS:2 for its second).")
@click.option("--level", type=click.Choice(["float", "quantized", "spiking"]), help="The level to print, of a .snnir file.")
@click.option("--diff", metavar="PASS", help="What this pass changes, as a diff.")
@click.option("--calibration", type=FILE, help="Calibration inputs, for passes from calibrate on.")
@click.option("--pipeline", help="Passes instead of the default order.")
@click.option(
    "--width",
    type=click.IntRange(min=40),
    help="Fit the text to so many columns, for people; by default to a terminal's, and elsewhere it is what snnir opt reads.",
)
@JSON
def inspect_command(
    source: Path,
    after: str | None,
    level: str | None,
    diff: str | None,
    calibration: Path | None,
    pipeline: str | None,
    width: int | None,
    json: bool,
) -> None:
    """Print a graph of SOURCE (ONNX, .pt2 or .snnir): as imported, at a level, or around a pass; or what a bundle holds."""
    from snnir.compiler.inspection import around_pass, graph_facts, open_graph

    if sum(option is not None for option in (after, level, diff)) > 1:
        raise UsageError("choose one of --after, --level and --diff")
    if is_bundle(source):
        if after or level or diff:
            raise UsageError(f"{source} is a bundle: it has no levels and no passes; leave out --after, --level and --diff")
        inspect_bundle(source, json)
        return
    data = read_arrays(calibration) if calibration is not None else None
    name = after or diff
    graph, recorded, origin = open_graph(source, level if name is None else "float")
    if name is None:
        report.show_text(_form(graph, width, json), graph_facts(graph) | origin, json)
        return
    before, changed = around_pass(graph, pipeline or recorded, name, data)
    if after is not None:
        report.show_text(_form(changed, width, json), graph_facts(changed), json)
        return
    found = changes(before, changed, width or shutil.get_terminal_size((120, 24)).columns)
    report.show_text(found or f"{diff} changes nothing", graph_facts(changed), json)


def _form(graph: Graph, width: int | None, json: bool) -> str:
    """The text form that snnir reads back, for files and JSON; or one that fits a terminal."""
    if json or (width is None and not sys.stdout.isatty()):
        return text(graph)
    return readable(graph, width or shutil.get_terminal_size((120, 24)).columns)
