"""`snnir debug`: where quantization loses accuracy, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

import snnir
from snnir.cli import report
from snnir.cli.files import read_arrays
from snnir.cli.import_options import import_options
from snnir.cli.options import FILE, JSON, chosen, compile_options
from snnir.cli.tables import show_table
from snnir.runtime.accuracy import MOST_DB, distance_text

if TYPE_CHECKING:
    from snnir.compiler.debugging import LayerTable

__all__ = ["debug_command"]


@click.command("debug")
@click.argument("model", type=FILE)
@click.option("--calibration", type=FILE, required=True, help="Inputs like those to come: .npy, or .npz by input name.")
@click.option("--samples", default=8, show_default=True, type=click.IntRange(min=1), help="Calibration samples to measure on.")
@compile_options("bits", "weight_bits", "input_bits", "state_bits", "value_bits", "allow_host", "method", "fit")
@import_options()
@JSON
def debug_command(
    model: Path,
    calibration: Path,
    samples: int,
    imports: dict[str, Any],
    json: bool,
    **options: Any,
) -> None:
    """Compile MODEL and print what every value and weight costs: together with all before it, alone, and at the outputs."""
    with report.progress("compiling", quiet=json) as advance:
        table = snnir.debug(
            model,
            calibration=read_arrays(calibration),
            samples=samples,
            progress=advance,
            **imports,
            **chosen(options),
        )
    if json:
        report.print_json(table.facts())
    else:
        _show(table)


def _show(table: LayerTable) -> None:
    Console(soft_wrap=True, highlight=False, markup=False).print(f"distance to float: {distance_text(table.distances)}")
    values = []
    for loss, output in table.activations():
        scale = loss.levels.scale
        values.append(
            [
                loss.name,
                f"{loss.levels.lo}..{loss.levels.hi} * {scale:.4g}",
                f"{loss.low:.4g} to {loss.high:.4g}",
                f"{100 * loss.clipped:.2f} %",
                f"{loss.used} of {loss.levels_available}",
                _decibels(loss.sqnr),
                _decibels(loss.alone),
                _decibels(output),
            ]
        )
    columns = ("value", "levels", "range", "clipped", "levels in use", "so far", "alone", "output, it alone")
    title = f"values that become levels, {table.losses.samples} samples, SQNR in dB"
    show_table(title, columns, values, right=columns[1:])
    weights = [
        [
            weight.name,
            weight.layer,
            f"{100 * weight.zeros:.1f} %",
            f"{weight.outlier:.1f}",
            "" if cost is None else _decibels(cost),
        ]
        for weight, cost in table.weights()
    ]
    names = ("weight", "layer", "became 0", "largest / median", "output, it alone (dB)")
    show_table("weights", names, weights, right=names[2:])
    report.warn(table.warnings)


def _decibels(value: float) -> str:
    return "no loss" if value == MOST_DB else f"{value:.1f}"
