"""The commands for bundles: `bundle`, `replay`, and what `inspect` says of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

import snnir
from snnir.cli import report
from snnir.cli.files import check_output, read_arrays, write_npz
from snnir.cli.options import DELIVERY, EXECUTION, FILE, FORCE, JSON
from snnir.errors import UsageError
from snnir.export.hardware import EMITTERS, emit_bundle

__all__ = ["COMMANDS", "inspect_bundle", "is_bundle"]

_LIMITS = {
    "weight_bits": "Bits of a weight.",
    "membrane_bits": "Bits of a membrane.",
    "max_fan_in": "Synapses into one neuron.",
    "max_neurons_per_core": "Neurons on one core.",
    "payload": "Largest magnitude of an event between neurons; 1: no graded spikes.",
    "cores": "Cores of the chip.",
    "core_memory_bits": "Bits of synapse memory of one core.",
}


def is_bundle(path: Path) -> bool:
    """Whether a path is meant as a bundle: a `.snnb` file, or a folder."""
    return path.suffix == ".snnb" or path.is_dir()


def _limits(command: Callable[..., None]) -> Callable[..., None]:
    for name, text in reversed(_LIMITS.items()):
        option = f"--{name.replace('_', '-')}"
        command = click.option(option, type=click.IntRange(min=1), help=f"Limit of the target. {text}")(command)
    return command


_OWN = ("manifest.json", "model.snnu", "memory.json", "map.json", "snnir_population.v")
"""Files by which a folder is known that snnir wrote: one of them is in each."""


def _written_before(folder: Path) -> bool:
    return any((folder / name).exists() for name in _OWN)


@click.command("bundle")
@click.argument("program", type=FILE)
@click.option("--output", "-o", type=FILE, help="The .snnb file, or a folder (no suffix); beside PROGRAM by default.")
@click.option("--samples", type=FILE, help="Inputs (.npy, or .npz by input name) whose first become golden vectors.")
@click.option("--count", type=click.IntRange(min=1), default=4, show_default=True, help="How many golden vectors.")
@click.option("--size", "sizes", multiple=True, metavar="NAME=SIZE", help="An open dimension, where no samples are given.")
@click.option("--emit", type=click.Choice(list(EMITTERS)), help="A folder instead of a bundle: replay in C, images, Verilog.")
@click.option("--unroll", is_flag=True, help="Every synapse as an entry of an address-event list.")
@click.option("--target", help="Limits of a named target; `snnir targets` lists them.")
@_limits
@click.option("--fit", is_flag=True, help="Split over cores and compartments, and use fewer weight bits, where needed.")
@click.option("--calibration", type=FILE, help="Calibration inputs, for --fit with fewer weight bits.")
@DELIVERY
@EXECUTION
@FORCE
@JSON
def bundle_command(
    program: Path,
    output: Path | None,
    samples: Path | None,
    count: int,
    sizes: tuple[str, ...],
    emit: str | None,
    unroll: bool,
    target: str | None,
    fit: bool,
    calibration: Path | None,
    delivery: str,
    execution: str,
    force: bool,
    json: bool,
    **limits: int | None,
) -> None:
    """Write the spiking part of PROGRAM (.snnir) as a fixed-point bundle, with proven ranges and golden vectors."""
    from snnir.backends.bundle import Limits
    from snnir.backends.bundle import target as named
    from snnir.export.fitting import fitted_bundle

    allowed = Limits(**limits)
    if target is not None:
        allowed = named(target)[0] | allowed
    output = output or program.with_suffix(".snnb" if emit is None else "")
    if emit is not None and (output.suffix or (EMITTERS[emit].golden and samples is None)):
        needs = "with golden vectors: give --samples, and" if EMITTERS[emit].golden else "of files: give"
        raise UsageError(f"--emit {emit} writes a folder {needs} --output without a suffix")
    if output.suffix not in ("", ".snnb"):
        raise UsageError(f"--output {output}: give a .snnb file, or a folder without a suffix")
    if output.suffix:
        check_output(output, ".snnb", [program, samples, calibration], force)
    elif not force and output.is_dir() and any(output.iterdir()) and not _written_before(output):
        raise UsageError(f"--output {output} is a folder that holds other things; choose another, or give --force")
    made = fitted_bundle(
        snnir.load(program),
        read_arrays(samples) if samples is not None else None,
        allowed,
        fit=fit,
        calibration=read_arrays(calibration) if calibration is not None else None,
        samples=count,
        sizes=_sizes(sizes),
        delivery=delivery,
        execution=execution,
        unroll=unroll,
    )
    if emit is None:
        made.save(output)
        _show(output, made, json)
        return
    written = emit_bundle(made, emit, output)
    names = [path.relative_to(output).as_posix() for path in written]
    facts = {"folder": str(output), "files": names, "then": EMITTERS[emit].then.format(folder=output)}
    if json:
        report.print_json(facts)
    else:
        report.rows_table(f"the bundle as {emit}", {key: _text(value) for key, value in facts.items()})


def _sizes(items: tuple[str, ...]) -> dict[str, int]:
    found = {}
    for item in items:
        name, sign, size = item.rpartition("=")
        if not sign or not name or not size.isdecimal() or int(size) < 1:
            raise UsageError(f"--size {item!r}: give the dimension's name and its size, like T=100")
        found[name] = int(size)
    return found


@click.command("replay")
@click.argument("bundle", type=FILE)
@click.argument("inputs", type=FILE, required=False)
@click.option("--output", "-o", type=FILE, help="A .npz file for settled counts and outputs.")
@click.option("--engine", type=click.Choice(["numpy", "c"]), default="numpy", show_default=True, help="c: compile and run C99.")
@FORCE
@JSON
def replay_command(bundle: Path, inputs: Path | None, output: Path | None, engine: str, force: bool, json: bool) -> int:
    """Run BUNDLE with integers only and hold it against its golden vectors; run INPUTS (.npy, .npz) too where given.

    Registers have exactly the certified widths. With --engine c everything runs in C as well, INPUTS against what NumPy makes of
    them. Exit code 1 where a count, an event or a certified range is not right.
    """
    from snnir.backends.bundle import Bundle, run_engine
    from snnir.export.replay import replay_bundle, run_inputs

    if output is not None:
        check_output(output, ".npz", [bundle, inputs], force)
    found = snnir.load_bundle(bundle)
    data = read_arrays(inputs) if inputs is not None else None
    if output is not None and data is None:
        raise UsageError("--output is for INPUTS; give some")
    facts: dict[str, object] = {}
    ok = True
    if found.golden is None and data is None:
        raise UsageError(f"{bundle} has no golden vectors; give INPUTS, or make it with --samples")
    if engine == "c":
        facts["engine"] = "c"
        if found.golden is not None:
            run = run_engine(found)
            ok = run.ok
            facts |= run.facts()
    elif found.golden is not None:
        checked = replay_bundle(found)
        ok = checked.ok
        facts |= checked.facts()
    if data is not None:
        taken = run_inputs(found, data)
        facts["outputs"] = {name: list(array.shape) for name, array in taken.outputs.items()}
        if engine == "c":
            run = run_engine(Bundle(found.program, taken.golden()))
            ok = ok and run.ok
            facts["inputs_in_c"] = run.facts()
        if output is not None:
            arrays = {f"output/{name}": array for name, array in taken.outputs.items()}
            write_npz(output, arrays | {f"count/{name}": array for name, array in taken.counts.items()})
    if json:
        report.print_json(facts)
    else:
        made_of: Any = facts.get("registers")
        shown = facts if made_of is None else facts | {"registers": _registers(made_of)}
        given: Any = shown.pop("inputs_in_c", {})
        shown |= {f"inputs, {key}": value for key, value in given.items()}
        report.rows_table(f"{bundle}, replayed", {key.replace("_", " "): _text(value) for key, value in shown.items()})
    return 0 if ok else 1


@click.command("targets")
@JSON
def targets_command(json: bool) -> None:
    """List the targets whose limits are known, with the publication each is from."""
    from snnir.backends.bundle import target, target_names

    found = {name: target(name) for name in target_names()}
    if json:
        report.print_json({name: {**limits.facts(), "source": source} for name, (limits, source) in found.items()})
        return
    rows = {name: f"{_text(limits.facts())}\n{source}" for name, (limits, source) in found.items()}
    report.rows_table("targets of snnir bundle --target", rows)


COMMANDS = (bundle_command, replay_command, targets_command)


def inspect_bundle(path: Path, json: bool) -> None:
    """Print what a bundle holds."""
    _show(path, snnir.load_bundle(path), json)


def _show(path: Path, made: snnir.Bundle, json: bool) -> None:
    from snnir.export.replay import bundle_facts

    facts = {"file": str(path), **bundle_facts(made)}
    if json:
        report.print_json(facts)
        return
    made_of: Any = facts["populations"]
    shown = {**facts, "populations": {name: _population(item) for name, item in made_of.items()}}
    report.rows_table("a fixed-point bundle", {key.replace("_", " "): _text(value) for key, value in shown.items()})


def _population(item: Mapping[str, Any]) -> str:
    kind = " ".join(str(item[key]) for key in ("kind", "thresholds") if key in item)
    return f"{item['size']:,} {kind}; bits: " + ", ".join(f"{key} {bits}" for key, bits in item["bits"].items())


def _registers(found: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    return {
        name: {key: f"{bits['bits_certified']} bits certified, {bits['bits_needed']} needed" for key, bits in registers.items()}
        for name, registers in found.items()
    }


def _text(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_text(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int | np.integer) else str(value)
