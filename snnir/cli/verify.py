"""`snnir verify`: every settled count against the integer network."""

from __future__ import annotations

import functools
from pathlib import Path

import click

import snnir
from snnir.cli import report
from snnir.cli.files import read_arrays
from snnir.cli.import_options import CONSTANT, constants_of
from snnir.cli.options import COMPARE, DELIVERY, EXECUTION, FILE, JSON, MAX_MEMORY, THREADS
from snnir.cli.run import compared

__all__ = ["verify_command"]


@click.command("verify")
@click.argument("program", type=FILE)
@click.argument("inputs", type=FILE)
@click.option("--model", type=FILE, help="The ONNX or .pt2 file, to compare the import and the spiking outputs with.")
@DELIVERY
@EXECUTION
@COMPARE
@THREADS
@MAX_MEMORY
@CONSTANT
@JSON
def verify_command(
    program: Path,
    inputs: Path,
    model: Path | None,
    delivery: str,
    execution: str,
    compare_executions: bool,
    threads: int | None,
    max_memory: int | None,
    constants: tuple[str, ...],
    json: bool,
) -> int:
    """Compare every settled spike count with the integer network; exit code 1 on any mismatch."""
    loaded, data = snnir.load(program), read_arrays(inputs)
    error, own = None, None
    if model is not None:
        from snnir.compiler.importing import check_import, model_outputs
        from snnir.runtime.inputs import as_inputs

        graph = loaded.graph("float")
        given = constants_of(constants)
        error = check_import(model, graph, as_inputs(graph, data), constants=given)
        own = functools.partial(model_outputs, model, graph, constants=given)
    with report.simulating("verifying", json) as advance:
        verification = loaded.verify(
            data,
            delivery=delivery,
            execution=execution,
            threads=threads,
            max_memory=max_memory,
            progress=lambda done, total: advance("verifying", done, total),
            model=own,
        )
    comparison = compared(loaded, data, delivery, None, threads, {}, max_memory) if compare_executions else None
    report.verified(verification, error, comparison, json)
    return 0 if verification.ok else 1
