"""`snnir check`: what would become of a model, node by node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import snnir
from snnir.cli.check_report import checked
from snnir.cli.files import read_arrays
from snnir.cli.import_options import import_options
from snnir.cli.options import (
    FILE,
    JSON,
    compile_options,
)

__all__ = ["check_command"]


@click.command("check")
@click.argument("model", type=FILE)
@click.option("--calibration", type=FILE, help="Inputs like those to come, for certified steps instead of estimates.")
@compile_options("bits", "neuron", "steps", "allow_host")
@click.option("--all", "every", is_flag=True, help="List every node, not only those that are refused or on the host.")
@import_options(requantize=True)
@JSON
def check_command(
    model: Path,
    calibration: Path | None,
    bits: int,
    neuron: str,
    steps: int,
    allow_host: bool,
    every: bool,
    imports: dict[str, Any],
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
        **imports,
    )
    checked(found, every, json)
    if click.get_current_context().find_root().params.get("debug"):
        for trace in dict.fromkeys(refusal.trace for refusal in found.refusals if refusal.trace):
            click.echo(trace, err=True)
    return 0 if found.ok else 1
