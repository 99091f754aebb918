"""`snnir compile`: a model becomes a program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import snnir
from snnir.cli import report
from snnir.cli.files import read_arrays
from snnir.cli.options import CONSTANT, FILE, JSON, chosen, compile_options, constants_of

__all__ = ["compile_command"]


@click.command("compile")
@click.argument("model", type=FILE)
@click.option("--calibration", type=FILE, help="Inputs like those to come: .npy, or .npz by input name.")
@click.option("--output", "-o", type=FILE, required=True, help="The .snnir file to write.")
@compile_options()
@click.option("--pipeline", help="Passes instead of the default order: name,name{option=value}.")
@click.option("--dump-ir", type=FILE, help="A folder for the graph after each pass that changed it.")
@click.option("--check/--no-check", default=True, help="Compare with the model itself; hold every pass to its promise.")
@CONSTANT
@JSON
def compile_command(
    model: Path,
    calibration: Path | None,
    output: Path,
    pipeline: str | None,
    dump_ir: Path | None,
    check: bool,
    constants: tuple[str, ...],
    json: bool,
    **options: Any,
) -> None:
    """Compile MODEL, an ONNX file or a .pt2 file of torch.export, to an exact spiking program."""
    data = read_arrays(calibration) if calibration is not None else None
    with report.progress("compiling", quiet=json) as advance:
        program = snnir.compile(
            model,
            calibration=data,
            pipeline=pipeline,
            constants=constants_of(constants),
            check=check,
            dump_ir=dump_ir,
            progress=advance,
            **chosen(options),
        )
        program.save(output)
    report.compiled(program, output, json)
