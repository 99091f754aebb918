"""The command line. Exit codes: 0 done, 1 a failed check or refused model, 2 wrong usage."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

import click

import snnir
from snnir.cli import report
from snnir.cli.bundle import COMMANDS, inspect_bundle, is_bundle
from snnir.cli.check_report import checked
from snnir.cli.files import read_arrays
from snnir.cli.nir import nir_command
from snnir.cli.options import (
    BITS,
    COMPARE,
    CONSTANT,
    DELIVERY,
    EXECUTION,
    FILE,
    JSON,
    ROUNDING,
    THREADS,
    WEIGHT_BITS,
    constants_of,
)
from snnir.cli.run import compared, run_command
from snnir.errors import SnnirError, UsageError

__all__ = ["cli", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(snnir.__version__, prog_name="snnir")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
def cli(debug: bool) -> None:
    """Compile trained sequence networks into spiking networks, exactly."""


for command in COMMANDS:
    cli.add_command(command)


def _value_bits(items: tuple[str, ...]) -> dict[str, int]:
    found = {}
    for item in items:
        name, sign, bits = item.rpartition("=")
        if not sign or not name or not bits.isdecimal():
            raise UsageError(f"--value-bits {item!r}: give the value's name and its bits, like cell.next=12")
        found[name] = int(bits)
    return found


@cli.command("check")
@click.argument("model", type=FILE)
@click.option("--calibration", type=FILE, help="Inputs like those to come, for certified steps instead of estimates.")
@BITS
@click.option("--allow-host", is_flag=True, help="Let ops without spiking form inside the network run on the host.")
@click.option("--all", "every", is_flag=True, help="List every node, not only those that are refused or on the host.")
@CONSTANT
@JSON
def check_command(
    model: Path, calibration: Path | None, bits: int, allow_host: bool, every: bool, constants: tuple[str, ...], json: bool
) -> int:
    """Say what would become of the ONNX file MODEL, node by node; exit code 1 where anything is refused."""
    data = read_arrays(calibration) if calibration is not None else None
    found = snnir.check(model, calibration=data, bits=bits, allow_host=allow_host, constants=constants_of(constants))
    checked(found, every, json)
    return 0 if found.ok else 1


@cli.command("compile")
@click.argument("model", type=FILE)
@click.option("--calibration", type=FILE, help="Inputs like those to come: .npy, or .npz by input name.")
@click.option("--output", "-o", type=FILE, required=True, help="The .snnir file to write.")
@BITS
@WEIGHT_BITS
@click.option("--input-bits", default=8, show_default=True, help="Bits of the model's inputs, 2 to 16.")
@click.option("--state-bits", default=0, help="Bits of states that add up (LSTM cells, GRU); 0: two more than --bits.")
@click.option("--value-bits", multiple=True, metavar="NAME=BITS", help="Bits of one value; may be given again.")
@click.option("--allow-host", is_flag=True, help="Let ops without spiking form inside the network run on the host.")
@click.option("--method", default="mse", show_default=True, help="How scales are chosen: mse, percentile or minmax.")
@click.option("--percentile", default=99.9, show_default=True, help="Share of the data in range, for the percentile method.")
@ROUNDING
@click.option("--pipeline", help="Passes instead of the default order: name,name{option=value}.")
@click.option("--dump-ir", type=FILE, help="A folder for the graph after each pass that changed it.")
@click.option("--check/--no-check", default=True, help="Compare with the model itself; hold every pass to its promise.")
@CONSTANT
@JSON
def compile_command(
    model: Path,
    calibration: Path | None,
    output: Path,
    bits: int,
    weight_bits: int,
    input_bits: int,
    state_bits: int,
    value_bits: tuple[str, ...],
    allow_host: bool,
    method: str,
    percentile: float,
    rounding: str,
    pipeline: str | None,
    dump_ir: Path | None,
    check: bool,
    constants: tuple[str, ...],
    json: bool,
) -> None:
    """Compile MODEL, an ONNX file or a .pt2 file of torch.export, to an exact spiking program."""
    data = read_arrays(calibration) if calibration is not None else None
    with report.progress("compiling", quiet=json) as advance:
        program = snnir.compile(
            model,
            calibration=data,
            bits=bits,
            weight_bits=weight_bits,
            input_bits=input_bits,
            state_bits=state_bits,
            value_bits=_value_bits(value_bits),
            allow_host=allow_host,
            method=method,
            percentile=percentile,
            rounding=rounding,
            pipeline=pipeline,
            constants=constants_of(constants),
            check=check,
            dump_ir=dump_ir,
            progress=advance,
        )
        program.save(output)
    report.compiled(program, output, json)


cli.add_command(run_command)


@cli.command("verify")
@click.argument("program", type=FILE)
@click.argument("inputs", type=FILE)
@click.option("--model", type=FILE, help="The ONNX or .pt2 file, to compare the import with it as well.")
@DELIVERY
@EXECUTION
@COMPARE
@THREADS
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
    constants: tuple[str, ...],
    json: bool,
) -> int:
    """Compare every settled spike count with the integer network; exit code 1 on any mismatch."""
    loaded, data = snnir.load(program), read_arrays(inputs)
    error = None
    if model is not None:
        from snnir.compiler.compile import check_import
        from snnir.runtime.inputs import as_inputs

        graph = loaded.graph("float")
        error = check_import(model, graph, as_inputs(graph, data), constants=constants_of(constants))
    with report.simulating("verifying", json) as advance:
        verification = loaded.verify(
            data,
            delivery=delivery,
            execution=execution,
            threads=threads,
            progress=lambda done, total: advance("verifying", done, total),
        )
    comparison = compared(loaded, data, delivery, None, threads, {}) if compare_executions else None
    report.verified(verification, error, comparison, json)
    return 0 if verification.ok else 1


@cli.command("inspect")
@click.argument("source", type=FILE)
@click.option("--after", metavar="PASS", help="The graph after this pass (its first run; PASS:2 for its second).")
@click.option("--level", type=click.Choice(["float", "quantized", "spiking"]), help="The level to print, of a .snnir file.")
@click.option("--diff", metavar="PASS", help="What this pass changes, as a diff.")
@click.option("--calibration", type=FILE, help="Calibration inputs, for passes from calibrate on.")
@click.option("--pipeline", help="Passes instead of the default order.")
@JSON
def inspect_command(
    source: Path,
    after: str | None,
    level: str | None,
    diff: str | None,
    calibration: Path | None,
    pipeline: str | None,
    json: bool,
) -> None:
    """Print a graph of SOURCE (ONNX, .pt2 or .snnir): as imported, at a level, or around a pass; or what a bundle holds."""
    from snnir.compiler.inspection import around_pass, graph_facts, open_graph
    from snnir.ir.text import text

    if sum(option is not None for option in (after, level, diff)) > 1:
        raise UsageError("choose one of --after, --level and --diff")
    if is_bundle(source):
        if after or level or diff:
            raise UsageError(f"{source} is a bundle: it has no levels and no passes; leave out --after, --level and --diff")
        inspect_bundle(source, json)
        return
    data = read_arrays(calibration) if calibration is not None else None
    name = after or diff
    graph, recorded, told = open_graph(source, level if name is None else "float")
    if name is None:
        report.show_text(text(graph), graph_facts(graph) | told, json)
        return
    before, changed = around_pass(graph, pipeline or recorded, name, data)
    if after is not None:
        report.show_text(text(changed), graph_facts(changed), json)
        return
    lines = difflib.unified_diff(
        text(before).splitlines(), text(changed).splitlines(), f"before {diff}", f"after {diff}", lineterm="", n=2
    )
    report.show_text("\n".join(lines) or f"{diff} changes nothing", graph_facts(changed), json)


@cli.command("passes")
@JSON
def passes_command(json: bool) -> None:
    """List the passes, their levels and what each promises."""
    report.show_passes(json)


@cli.command("ops")
@click.option("--markdown", is_flag=True, help="Print docs/operators.md.")
@JSON
def ops_command(markdown: bool, json: bool) -> None:
    """List the ops of the IR and the operators of ONNX and PyTorch they come from."""
    from snnir.cli.support import markdown_ops

    if markdown:
        click.echo(markdown_ops(), nl=False)
    else:
        report.show_ops(json)


@cli.command("demo")
@click.option("--output", "-o", type=FILE, default=Path("out"), help="A folder for the program and the pictures.")
@BITS
@WEIGHT_BITS
@JSON
def demo_command(output: Path, bits: int, weight_bits: int, json: bool) -> int:
    """Compile a real CRNN for handwritten digits, simulate it on held-out digits, and prove it exact."""
    from snnir.cli.demo import run_demo

    return 0 if run_demo(output, bits, weight_bits, json) else 1


cli.add_command(nir_command)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line with `arguments` (those of the process by default); returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    try:
        code = cli.main([word for word in given if word != "--debug"], prog_name="snnir", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        report.error("interrupted; nothing half-written was left behind")
        return 1
    except SnnirError as error:
        if debug:
            raise
        report.error(str(error))
        return 2 if isinstance(error, UsageError) else 1
