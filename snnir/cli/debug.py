"""`snnir debug`: where quantization loses accuracy, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

import snnir
from snnir.cli import report
from snnir.cli.files import read_arrays
from snnir.cli.options import BITS, CONSTANT, FILE, JSON, WEIGHT_BITS, constants_of, value_bits_of
from snnir.runtime.accuracy import MOST_DB, distance_text

if TYPE_CHECKING:
    from snnir.compiler.debugging import LayerTable

__all__ = ["debug_command"]


@click.command("debug")
@click.argument("model", type=FILE)
@click.option("--calibration", type=FILE, required=True, help="Inputs like those to come: .npy, or .npz by input name.")
@click.option("--samples", default=8, show_default=True, type=click.IntRange(min=1), help="Calibration samples to measure on.")
@BITS
@WEIGHT_BITS
@click.option("--input-bits", default=8, show_default=True, help="Bits of the model's inputs, 2 to 16.")
@click.option("--state-bits", default=0, help="Bits of states that add up (LSTM cells, GRU); 0: two more than --bits.")
@click.option("--value-bits", multiple=True, metavar="NAME=BITS", help="Bits of one value; may be given again.")
@click.option("--allow-host", is_flag=True, help="Let ops without spiking form inside the network run on the host.")
@click.option("--method", default="mse", show_default=True, help="How scales are chosen: mse, percentile or minmax.")
@CONSTANT
@JSON
def debug_command(
    model: Path,
    calibration: Path,
    samples: int,
    bits: int,
    weight_bits: int,
    input_bits: int,
    state_bits: int,
    value_bits: tuple[str, ...],
    allow_host: bool,
    method: str,
    constants: tuple[str, ...],
    json: bool,
) -> None:
    """Compile MODEL and print what every value and weight costs: together with all before it, alone, and at the outputs."""
    with report.progress("compiling", quiet=json) as advance:
        table = snnir.debug(
            model,
            calibration=read_arrays(calibration),
            samples=samples,
            progress=advance,
            bits=bits,
            weight_bits=weight_bits,
            input_bits=input_bits,
            state_bits=state_bits,
            value_bits=value_bits_of(value_bits),
            allow_host=allow_host,
            method=method,
            constants=constants_of(constants),
        )
    if json:
        report.print_json(table.facts())
    else:
        _show(table)


def _show(table: LayerTable) -> None:
    console = Console()
    Console(soft_wrap=True, highlight=False, markup=False).print(f"distance to float: {distance_text(table.distances)}")
    values = Table(title=f"values that become levels, {table.losses.samples} samples, SQNR in dB", title_justify="left")
    for column in ("value", "levels", "range", "clipped", "levels in use", "so far", "alone", "output, it alone"):
        values.add_column(column, justify="left" if column == "value" else "right", overflow="fold")
    for loss, output in table.activations():
        scale = loss.levels.scale
        values.add_row(
            loss.name,
            f"{loss.levels.lo}..{loss.levels.hi} * {scale:.4g}",
            f"{loss.low:.4g} to {loss.high:.4g}",
            f"{100 * loss.clipped:.2f} %",
            f"{loss.used} of {loss.levels_available}",
            _decibels(loss.sqnr),
            _decibels(loss.alone),
            _decibels(output),
        )
    console.print(values)
    weights = Table(title="weights", title_justify="left")
    for column in ("weight", "layer", "became 0", "largest / median", "output, it alone (dB)"):
        weights.add_column(column, justify="left" if column in ("weight", "layer") else "right", overflow="fold")
    for weight, cost in table.weights():
        share = f"{100 * weight.zeros:.1f} %"
        weights.add_row(weight.name, weight.layer, share, f"{weight.outlier:.1f}", "" if cost is None else _decibels(cost))
    console.print(weights)
    report.warn(table.warnings)


def _decibels(value: float) -> str:
    return "no loss" if value == MOST_DB else f"{value:.1f}"
