"""`snnir inspect`: a graph as text, at a level or around a pass; or what a bundle holds."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np

from snnir.cli import report
from snnir.cli.bundle import inspect_bundle, is_bundle
from snnir.cli.files import check_output, read_arrays
from snnir.cli.options import FILE, FORCE, JSON
from snnir.cli.reading import changes, readable
from snnir.errors import UsageError
from snnir.ir import Graph
from snnir.ir.execute import bind_sizes
from snnir.ir.text import text
from snnir.runtime.inputs import as_inputs
from snnir.runtime.program import Program
from snnir.views.page import to_json

__all__ = ["inspect_command"]

Arrays = np.ndarray | dict[str, np.ndarray] | None

OVERLAYS = ("spikes", "operations", "error", "bits", "bounds")


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
@click.option(
    "--format", "form", type=click.Choice(["text", "onnx"]), default="text", help="onnx: files for Netron and Model Explorer."
)
@click.option("--output", "-o", type=FILE, help="With --format onnx: the .onnx file, or a folder for one file a level.")
@click.option("--overlay", type=FILE, help="With --format onnx: a file of node data for Model Explorer.")
@click.option("--overlay-of", type=click.Choice(OVERLAYS), default="bits", show_default=True, help="What the overlay shows.")
@FORCE
@JSON
def inspect_command(
    source: Path,
    after: str | None,
    level: str | None,
    diff: str | None,
    calibration: Path | None,
    pipeline: str | None,
    width: int | None,
    form: str,
    output: Path | None,
    overlay: Path | None,
    overlay_of: str,
    force: bool,
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
    if form == "onnx":
        if output is None or diff is not None:
            raise UsageError("--format onnx writes files: give --output, and no --diff")
        graphs = _graphs(source, after, level, pipeline, data, output.suffix == ".onnx")
        report.written(_onnx_files(source, graphs, data, output, overlay, overlay_of, force), json)
        return
    if output is not None or overlay is not None:
        raise UsageError("--output and --overlay are for --format onnx")
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


def _graphs(
    source: Path, after: str | None, level: str | None, pipeline: str | None, data: Arrays, one: bool
) -> dict[str, Graph]:
    """Graphs to write, by level: the one that is asked for, else all levels of a program."""
    from snnir.compiler.inspection import around_pass, open_graph

    if after is not None:
        graph, recorded, _ = open_graph(source, "float")
        return {after: around_pass(graph, pipeline or recorded, after, data)[1]}
    if level is None and not one and source.suffix == ".snnir":
        program = Program.load(source)
        return {each: program.graph(each) for each in program.levels}
    graph, _, _ = open_graph(source, level)
    return {graph.level: graph}


def _onnx_files(
    source: Path, graphs: Mapping[str, Graph], data: Arrays, output: Path, overlay: Path | None, kind: str, force: bool
) -> list[Path]:
    from snnir.ir.storage import atomic_write
    from snnir.views.exploring import explore_data
    from snnir.views.onnx_file import measures, onnx_model, overlay_of

    measured: dict[str, dict[str, float]] = {}
    sizes: dict[str, int] | None = None
    if data is not None and source.suffix == ".snnir":
        first = next(iter(graphs.values()))
        measured = measures(Program.load(source), as_inputs(first, data))
        if kind == "error":
            losses = explore_data(source, data, sensitivity=False)["losses"]
            assert isinstance(losses, dict)
            measured["sqnr_db"] = {name: float(loss["sqnr"]) for name, loss in losses.items()}
        sizes = {**bind_sizes(first, as_inputs(first, data)), "N": 1}
    one = output.suffix == ".onnx"
    if not one:
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--output {output}: no folder can be made there: {error.strerror}") from error
    paths = {level: output if one else output / f"{level}.onnx" for level in graphs}
    for path in paths.values():
        check_output(path, ".onnx", [source], force)
    for level, graph in graphs.items():
        atomic_write(paths[level], onnx_model(graph, measured, sizes).SerializeToString())
    written = list(paths.values())
    if overlay is not None:
        check_output(overlay, ".json", [source], force)
        atomic_write(overlay, to_json(overlay_of(kind, list(graphs.values())[-1], measured, sizes), indent=2).encode())
        written.append(overlay)
    return written
