"""`snnir compile`: a model becomes a program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import snnir
from snnir.cli import report
from snnir.cli.files import check_output, read_arrays
from snnir.cli.import_options import import_options
from snnir.cli.options import (
    FILE,
    FORCE,
    JSON,
    chosen,
    compile_options,
    options_from,
)
from snnir.errors import UsageError
from snnir.runtime.accuracy import worst_sqnr

if TYPE_CHECKING:
    from snnir.passes import Stage

__all__ = ["compile_command"]


@click.command("compile")
@click.argument("model", type=FILE)
@click.option("--calibration", type=FILE, help="Inputs like those to come: .npy, or .npz by input name.")
@click.option("--output", "-o", type=FILE, required=True, help="The .snnir file to write.")
@compile_options()
@click.option("--options", "file", type=FILE, help="A JSON file of options, as snnir tune writes it; flags go first.")
@click.option("--timing", is_flag=True, help="Print the time and the rewrites of every pass, on stderr.")
@click.option("--pipeline", help="Passes instead of the default order: name,name{option=value}.")
@click.option("--dump-ir", type=FILE, help="A folder for the graph after each pass that changed it.")
@click.option("--check/--no-check", default=True, help="Compare with the model itself; hold every pass to its promise.")
@click.option("--min-sqnr", type=float, metavar="DB", help="Exit with code 1, writing nothing, where an output has less SQNR.")
@import_options(requantize=True)
@FORCE
@JSON
def compile_command(
    model: Path,
    calibration: Path | None,
    output: Path,
    file: Path | None,
    timing: bool,
    pipeline: str | None,
    dump_ir: Path | None,
    check: bool,
    min_sqnr: float | None,
    imports: dict[str, Any],
    force: bool,
    json: bool,
    **options: Any,
) -> int:
    """Compile MODEL, an ONNX file or a .pt2 file of torch.export, to an exact spiking program."""
    check_output(output, ".snnir", [model, calibration], force)
    data = read_arrays(calibration) if calibration is not None else None
    stages: list[Stage] = []
    with report.progress("compiling", quiet=json) as advance:
        program = snnir.compile(
            model,
            calibration=data,
            pipeline=pipeline,
            **imports,
            check=check,
            dump_ir=dump_ir,
            progress=advance,
            on_stage=stages.append,
            **(chosen(options) if file is None else options_from(file, click.get_current_context(), chosen(options))),
        )
        enough = _reaches(program, min_sqnr)
        if enough:
            program.save(output)
    if timing:
        report.timing(stages)
    report.compiled(program, output if enough else None, json)
    if not enough:
        report.error(f"an output has an SQNR below --min-sqnr {min_sqnr:g}; {output} was not written")
    return 0 if enough else 1


def _reaches(program: snnir.Program, least: float | None) -> bool:
    """Whether all outputs have at least this SQNR on calibration data. Raises `UsageError` where none was measured."""
    if least is None:
        return True
    if not program.distances:
        raise UsageError("--min-sqnr needs --calibration: without data no distance to the float model is measured")
    return worst_sqnr(program.distances) >= least
