"""`snnir run`: a program on a data set, at once or in chunks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

import snnir
from snnir.cli import report
from snnir.cli.files import check_output, read_arrays, read_labels, write_npz
from snnir.cli.options import COMPARE, DELIVERY, EXECUTION, FILE, FORCE, JSON, MAX_MEMORY, THREADS
from snnir.errors import InputError, UsageError
from snnir.machine.options import RunOptions
from snnir.runtime.inputs import by_name

if TYPE_CHECKING:
    from snnir.backends.simulator import SimulationResult
    from snnir.runtime.comparison import Comparison
    from snnir.runtime.program import Program

__all__ = ["compared", "run_command"]

_LARGE = 256 << 20
"""Bytes of results from which on a run says beforehand what it takes."""


@click.command("run")
@click.argument("program", type=FILE)
@click.argument("inputs", type=FILE)
@click.option("--labels", type=FILE, help="Class indices (.npy), to print the accuracy.")
@click.option("--steps", default="auto", show_default=True, help="auto: to quiescence (exact); N: a cap per window.")
@DELIVERY
@EXECUTION
@COMPARE
@click.option("--backend", default="simulator", show_default=True, help="What runs the spikes: simulator, torch, or a plugin.")
@click.option("--device", help="The device of the torch backend: cpu (default), cuda, cuda:1 ...")
@click.option(
    "--output", "-o", type=FILE, help="A .npz file for outputs, steps, spikes and synaptic operations; in chunks, or a folder."
)
@click.option("--chunk", type=click.IntRange(min=1), help="Run in chunks of so many samples: written as they come, resumed.")
@click.option("--cluster", metavar="ADDRESS", help="Spread chunks over a Dask cluster: its scheduler's address or file.")
@THREADS
@MAX_MEMORY
@FORCE
@JSON
def run_command(
    program: Path,
    inputs: Path,
    labels: Path | None,
    steps: str,
    delivery: str,
    execution: str,
    compare_executions: bool,
    backend: str,
    device: str | None,
    output: Path | None,
    chunk: int | None,
    cluster: str | None,
    threads: int | None,
    max_memory: int | None,
    force: bool,
    json: bool,
) -> None:
    """Simulate PROGRAM (.snnir) on INPUTS, event by event.

    INPUTS are a .npy file, or a .npz by input name. With --chunk or --cluster, or where INPUTS are a folder of these, .zarr or
    .parquet, the data set is read and written in chunks; --output is then a folder or a .npz file, and a run that was
    interrupted goes on when the same command is given again.
    """
    if steps != "auto" and not (steps.isdecimal() and int(steps) >= 1):
        raise UsageError(f"--steps {steps!r}: give auto, or a number of inner time-steps from 1 on")
    if compare_executions and backend != "simulator":
        raise UsageError("--compare-executions is for the simulator; leave out --backend")
    cap = None if steps == "auto" else int(steps)
    loaded = snnir.load(program)
    in_chunks = chunk is not None or cluster is not None or inputs.is_dir() or inputs.suffix in (".zarr", ".parquet")
    if in_chunks:
        if compare_executions:
            raise UsageError("--compare-executions runs all samples at once; run in chunks with each --execution instead")
        _run_in_chunks(
            loaded, inputs, labels, cap, delivery, execution, backend, device, output, chunk, cluster, threads, max_memory, json
        )
        return
    if output is not None:
        check_output(output, ".npz", [program, inputs, labels], force)
    data = read_arrays(inputs)
    by_input = by_name(loaded.graph("spiking"), data)
    if not all(np.size(array) for array in by_input.values()):
        raise InputError(f"{inputs} holds arrays of size 0, and nothing would run; give at least one sample")
    if backend == "simulator" and not json:
        needs = loaded.simulator.memory(by_input, RunOptions(max_memory=max_memory))
        if max_memory is not None or needs.known >= _LARGE:
            report.note(f"memory: {needs}")
    with report.simulating("simulating", json, backend == "simulator") as advance:
        result = loaded.run(
            data,
            steps=cap,
            delivery=delivery,
            execution=execution,
            threads=threads,
            max_memory=max_memory,
            progress=lambda done, total: advance("simulating", done, total),
            backend=backend,
            device=device,
        )
    report.warn_clipped(loaded, result.clipped_counts)
    comparison = compared(loaded, data, delivery, cap, threads, {execution: result}, max_memory) if compare_executions else None
    grouped = bool(loaded.graph("spiking").groups)
    count = len(next(iter(result.outputs.values()))) if grouped else len(result.steps)
    answers = read_labels(labels, count) if labels is not None else None
    if output is not None:
        arrays = {f"output/{name}": array for name, array in result.outputs.items()}
        arrays |= {f"spikes/{name}": array for name, array in result.spikes.items()}
        arrays |= {f"synops/{name}": array for name, array in result.synops.items()}
        write_npz(output, arrays | {"steps": result.steps, "settled": np.array(result.settled)})
    right = report.accuracy(result.outputs, answers) if answers is not None else None
    report.ran(
        report.run_facts(loaded, data, result, delivery, execution),
        right,
        comparison,
        json,
        distance=report.distance_rows(loaded),
    )


def _run_in_chunks(
    program: Program,
    inputs: Path,
    labels: Path | None,
    steps: int | None,
    delivery: str,
    execution: str,
    backend: str,
    device: str | None,
    output: Path | None,
    chunk: int | None,
    cluster: str | None,
    threads: int | None,
    max_memory: int | None,
    json: bool,
) -> None:
    from snnir.runtime.streaming import DEFAULT_CHUNK, Options, open_source, run_stream

    if output is None:
        raise UsageError("a run in chunks writes results as it goes: give --output, a folder or a .npz file")
    options = Options(steps, delivery, execution, backend, device)
    samples = open_source(program.graph("spiking"), inputs).samples
    if not samples:
        raise InputError(f"{inputs} holds 0 samples, and nothing would run; give at least one")
    answers = read_labels(labels, samples) if labels is not None else None
    try:
        with report.simulating("simulating", json, backend == "simulator" and cluster is None) as advance:
            result = run_stream(
                program,
                inputs,
                output,
                options,
                chunk=chunk or DEFAULT_CHUNK,
                labels=answers,
                threads=threads,
                max_memory=max_memory,
                cluster=cluster,
                progress=lambda done, total: advance("simulating", done, total),
            )
    except KeyboardInterrupt:
        report.error(f"interrupted; what is done is kept with {output}: the same command goes on from there")
        raise click.exceptions.Exit(1) from None
    facts = report.run_facts(program, result.first, result.totals, delivery, execution)
    report.warn_clipped(program, result.totals.clipped_counts)
    facts |= {"output": str(result.output), "resumed_samples": result.resumed}
    before = f"\n{result.resumed:,} samples by an earlier run" if result.resumed else ""
    report.ran(facts, result.accuracy, None, json, written=f"{result.output}{before}", distance=report.distance_rows(program))


def compared(
    program: Program,
    data: np.ndarray | Mapping[str, np.ndarray],
    delivery: str,
    steps: int | None,
    threads: int | None,
    known: Mapping[str, SimulationResult],
    max_memory: int | None,
) -> Comparison:
    """Both executions on `data`, of which `known` has results already."""
    from snnir.runtime.comparison import compare_executions
    from snnir.runtime.inputs import as_inputs

    return compare_executions(program, as_inputs(program.graph("spiking"), data), delivery, steps, threads, known, max_memory)
