"""`snnir nir`: a program as a NIR file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

import snnir
from snnir.cli import report
from snnir.cli.files import check_output, read_arrays
from snnir.cli.options import FILE, FORCE, JSON
from snnir.errors import UsageError

if TYPE_CHECKING:
    from snnir.backends.nir import NirReport

__all__ = ["nir_command"]


@click.command("nir")
@click.argument("program", type=FILE)
@click.option("--output", "-o", type=FILE, required=True, help="The .nir file to write.")
@click.option("--lossy", is_flag=True, help="One nir.IF a population, measured against the integers on --data.")
@click.option("--data", type=FILE, help="Inputs (.npy, or .npz by input name) to measure a lossy file on.")
@click.option(
    "--unroll/--no-unroll", default=True, help="Write recurrent layers out, one copy for each sequence element (default)."
)
@click.option("--segments", is_flag=True, help="Cut at functions (softmax, ...): OUTPUT is a folder, with a file for each part.")
@click.option("--length", "lengths", multiple=True, metavar="NAME=SIZE", help="An open length, like T=8; may be given again.")
@FORCE
@JSON
def nir_command(
    program: Path,
    output: Path,
    lossy: bool,
    data: Path | None,
    unroll: bool,
    segments: bool,
    lengths: tuple[str, ...],
    force: bool,
    json: bool,
) -> None:
    """Write PROGRAM (.snnir) as a NIR file: exact, or lossy and measured."""
    if segments:
        if output.suffix or (not force and output.is_dir() and any(output.iterdir()) and not (output / "segments.json").exists()):
            raise UsageError(f"--output {output}: --segments writes a folder; give one without a suffix that holds nothing else")
    else:
        check_output(output, ".nir", [program, data], force)
    if data is not None and not lossy:
        raise UsageError("--data is what a lossy file is measured on; give --lossy, or leave it out")
    sizes = {}
    for item in lengths:
        name, sign, size = item.partition("=")
        if not sign or not name or not size.isdecimal() or not int(size):
            raise UsageError(f"--length {item!r}: give the name and its size, like T=8")
        sizes[name] = int(size)
    found = snnir.export_nir(
        snnir.load(program),
        output,
        "lossy" if lossy else "exact",
        calibration=read_arrays(data) if data is not None else None,
        unroll=unroll,
        lengths=sizes,
        segments=segments,
    )
    if json:
        facts = dataclasses.asdict(found)
        for row, mismatch in zip(facts["mismatches"], found.mismatches, strict=True):
            row["share"] = mismatch.share
        report.print_json(facts)
    else:
        _show(found)


def _show(found: NirReport) -> None:
    arithmetic = "float32 holds every sum exactly" if found.float32 else "sums need float64: they leave float32's exact integers"
    rows: dict[str, object] = {
        "written": found.path,
        "mode": found.mode,
        "populations": f"{found.populations} ({found.neurons:,} neurons), {found.nodes:,} NIR nodes",
        "inputs": "\n".join(
            f"{name}: clip(floor(x / {scale:.6g} + 1/2), {lo}, {hi}) at step 0" for name, scale, lo, hi in found.inputs
        ),
        "outputs": "\n".join(f"{name}: {readout}" for name, readout in found.outputs),
        "arithmetic": arithmetic,
    }
    if found.steps:
        rows["inputs"] = str(rows["inputs"]).replace("at step 0", f"held for {found.steps} steps")
        rows["outputs"] = f"{rows['outputs']}, summed over {found.steps} steps"
    rows["scans written out"] = "\n".join(found.unrolled_scans) or "none"
    rows["synapses as matrices"] = "\n".join(found.unrolled_synapses) or "none"
    rows["left to the host"] = "\n".join(found.host) or "none"
    report.rows_table("NIR", rows)
    if found.mode == "lossy":
        lines = {
            f"{item.name} ({item.reset})": f"{item.different:,} of {item.compared:,} differ ({item.share:.2%}), "
            f"mean {item.mean:.4g}, largest {item.largest:.4g}"
            for item in found.mismatches
        }
        report.rows_table(f"against the integers, {found.samples} samples", lines)
