"""`snnir report` and `snnir plot`: what the spikes did, as a page and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

import snnir
from snnir.cli import report
from snnir.cli.files import check_output, read_arrays, read_labels
from snnir.cli.options import FILE, FORCE, JSON, PNG
from snnir.errors import UsageError
from snnir.ir.protocols import Delivery, Execution
from snnir.runtime.inputs import as_inputs, sample_count
from snnir.runtime.program import Program

__all__ = ["plot_command", "report_command"]

_SAMPLE = click.option(
    "--sample", default=0, show_default=True, type=click.IntRange(min=0), help="The sample whose spikes are drawn."
)


@click.command("report")
@click.argument("program", type=FILE)
@click.argument("inputs", type=FILE)
@click.option("--labels", type=FILE, help="Class indices or words (.npy), for accuracy.")
@click.option("--model", type=FILE, help="The ONNX or .pt2 file, to compare the outputs with.")
@click.option(
    "--also", multiple=True, type=FILE, metavar="PROGRAM", help="Another program on the same inputs; may be given again."
)
@click.option(
    "--delivery",
    "deliveries",
    multiple=True,
    type=click.Choice([each.value for each in Delivery]),
    help="relay by default; may be given again.",
)
@click.option(
    "--execution",
    "executions",
    multiple=True,
    type=click.Choice([each.value for each in Execution]),
    help="reset by default; may be given again.",
)
@click.option("--losses/--no-losses", default=True, help="Measure what quantization cost, value by value.")
@_SAMPLE
@click.option(
    "--trace",
    "traces",
    multiple=True,
    metavar="POPULATION:NEURON",
    help="A neuron whose membrane is drawn, beside those that fire most; may be given again.",
)
@click.option("--output", "-o", type=FILE, default=Path("report.html"), show_default=True, help="The page to write.")
@PNG
@FORCE
@JSON
def report_command(
    program: Path,
    inputs: Path,
    labels: Path | None,
    model: Path | None,
    also: tuple[Path, ...],
    deliveries: tuple[str, ...],
    executions: tuple[str, ...],
    losses: bool,
    sample: int,
    traces: tuple[str, ...],
    output: Path,
    png: Path | None,
    force: bool,
    json: bool,
) -> int:
    """Write a page on what PROGRAM (.snnir) did with INPUTS: accuracy, steps, spikes, operations, rasters, energy.

    The page is one file that needs no network. With --json its data go to stdout instead. Exit code 1 on any mismatch.
    """
    from snnir.views.reporting import report as make_report

    if not json:
        check_output(output, ".html", [program, inputs, labels, model, *also], force)
    programs = _named([program, *also])
    data = read_arrays(inputs)
    answers = _answers(labels, next(iter(programs.values())), data)
    with report.simulating("reporting", json) as advance:
        found = make_report(
            programs,
            data,
            answers,
            model=model,
            deliveries=list(dict.fromkeys(deliveries)) or ["relay"],
            executions=list(dict.fromkeys(executions)) or ["reset"],
            sample=sample,
            losses=losses,
            traced=_traced(traces),
            progress=advance,
        )
    report.page_written(found, output, png, json)
    variants = found.data["variants"]
    assert isinstance(variants, list)
    return 0 if all(not each["verification"]["mismatches"] and each["verification"]["within_bounds"] for each in variants) else 1


def _traced(traces: Sequence[str]) -> dict[str, list[int]]:
    """Addresses by population, of words `population:address`."""
    found: dict[str, list[int]] = {}
    for word in traces:
        population, _, address = word.rpartition(":")
        if not population or not address.isdecimal():
            raise UsageError(f"--trace {word}: expected POPULATION:NEURON, such as relu:3")
        found.setdefault(population, []).append(int(address))
    return found


def _named(paths: Sequence[Path]) -> dict[str, Program]:
    """Programs by the names of their files; by their paths where two are called alike."""
    stems = [path.stem for path in paths]
    return {stem if stems.count(stem) == 1 else str(path): snnir.load(path) for stem, path in zip(stems, paths, strict=True)}


def _answers(labels: Path | None, program: Program, data: np.ndarray | dict[str, np.ndarray]) -> np.ndarray | None:
    if labels is None:
        return None
    graph = program.graph("spiking")
    return read_labels(labels, sample_count(graph, as_inputs(graph, data)))


@click.command("plot")
@click.argument("program", type=FILE)
@click.argument("inputs", type=FILE)
@click.option("--labels", type=FILE, help="Class indices or words (.npy), for the curve of accuracy.")
@_SAMPLE
@click.option("--output", "-o", type=FILE, default=Path("plots"), show_default=True, help="A folder for the pictures (PNG).")
@JSON
def plot_command(program: Path, inputs: Path, labels: Path | None, sample: int, output: Path, json: bool) -> None:
    """Draw what PROGRAM (.snnir) did with INPUTS: spike rasters, accuracy by steps, steps, spikes by layer, membranes."""
    from snnir.views.figures import report_figures
    from snnir.views.reporting import report_data

    programs = _named([program])
    data = read_arrays(inputs)
    answers = _answers(labels, next(iter(programs.values())), data)
    with report.simulating("drawing", json) as advance:
        found = report_data(programs, data, answers, sample=sample, losses=False, progress=advance)
    pictures = report_figures(found, output)
    report.written(pictures, json)
