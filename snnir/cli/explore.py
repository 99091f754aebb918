"""`snnir explore`: a page that shows the graph after every pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from snnir.cli import report
from snnir.cli.files import check_output, read_arrays
from snnir.cli.import_options import import_options
from snnir.cli.options import (
    FILE,
    FORCE,
    JSON,
    PNG,
    chosen,
    compile_options,
)

__all__ = ["explore_command"]


@click.command("explore")
@click.argument("source", type=FILE)
@click.option(
    "--calibration", type=FILE, help="Inputs like those to come: shows the passes that need data, and what values hold."
)
@click.option("--output", "-o", type=FILE, default=Path("explore.html"), show_default=True, help="The page to write.")
@click.option("--samples", default=8, show_default=True, type=click.IntRange(min=1), help="Calibration samples to look at.")
@click.option(
    "--sensitivity/--no-sensitivity",
    default=None,
    help="Quantize every value alone, to see what it costs at the outputs; by default where that is cheap.",
)
@compile_options()
@import_options()
@PNG
@FORCE
@JSON
def explore_command(
    source: Path,
    calibration: Path | None,
    output: Path,
    samples: int,
    sensitivity: bool | None,
    imports: dict[str, Any],
    png: Path | None,
    force: bool,
    json: bool,
    **options: Any,
) -> None:
    """Write a page that shows SOURCE (a model, a .snnir program or a bundle) after every pass: graph, text, values, spikes.

    The page is one file that needs no network. With --json its data go to stdout instead.
    """
    from snnir.views.exploring import explore

    if not json:
        check_output(output, ".html", [source, calibration], force)
    data = read_arrays(calibration) if calibration is not None else None
    given: dict[str, Any] = {}
    if source.suffix not in (".snnir", ".snnb"):
        given = imports if data is None else {**imports, **chosen(options)}
    with report.simulating("exploring", json, kernels=data is not None) as advance:
        found = explore(source, data, samples=samples, sensitivity=sensitivity, progress=advance, **given)
    report.page_written(found, output, png, json)
