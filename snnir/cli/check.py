"""`snnir check`: what would become of a model, node by node."""

from __future__ import annotations

from pathlib import Path

import click

import snnir
from snnir.cli.check_report import checked
from snnir.cli.files import read_arrays
from snnir.cli.options import (
    BATCH_AXIS,
    CONSTANT,
    DIM,
    FILE,
    JSON,
    REQUANTIZE,
    SHAPE,
    batch_axes_of,
    compile_options,
    constants_of,
    dims_of,
)

__all__ = ["check_command"]


@click.command("check")
@click.argument("model", type=FILE)
@click.option("--calibration", type=FILE, help="Inputs like those to come, for certified steps instead of estimates.")
@compile_options("bits", "neuron", "steps", "allow_host")
@click.option("--all", "every", is_flag=True, help="List every node, not only those that are refused or on the host.")
@CONSTANT
@BATCH_AXIS
@DIM
@SHAPE
@REQUANTIZE
@JSON
def check_command(
    model: Path,
    calibration: Path | None,
    bits: int,
    neuron: str,
    steps: int,
    allow_host: bool,
    every: bool,
    constants: tuple[str, ...],
    batch_axes: tuple[str, ...],
    dims: tuple[str, ...],
    shapes: tuple[str, ...],
    requantize: bool,
    json: bool,
) -> int:
    """Say what would become of the ONNX file MODEL, node by node; exit code 1 where anything is refused."""
    data = read_arrays(calibration) if calibration is not None else None
    found = snnir.check(
        model,
        calibration=data,
        bits=bits,
        neuron=neuron,
        steps=steps,
        allow_host=allow_host,
        constants=constants_of(constants),
        batch_axes=batch_axes_of(batch_axes),
        dims=dims_of(dims, shapes),
        requantize=requantize,
    )
    checked(found, every, json)
    if click.get_current_context().find_root().params.get("debug"):
        for trace in dict.fromkeys(refusal.trace for refusal in found.refusals if refusal.trace):
            click.echo(trace, err=True)
    return 0 if found.ok else 1
