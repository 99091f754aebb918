"""The command line. Exit codes: 0 done, 1 a failed check or refused model, 2 wrong usage."""

from __future__ import annotations

import sys

import click

import snnir
from snnir.cli import report
from snnir.cli.bundle import COMMANDS as BUNDLE_COMMANDS
from snnir.cli.check import check_command
from snnir.cli.compile import compile_command
from snnir.cli.debug import debug_command
from snnir.cli.digits import demo_command
from snnir.cli.explore import explore_command
from snnir.cli.inspect import inspect_command
from snnir.cli.listings import ops_command, passes_command
from snnir.cli.nir import nir_command
from snnir.cli.opt import opt_command
from snnir.cli.reduce import reduce_command
from snnir.cli.reporting import plot_command, report_command
from snnir.cli.run import run_command
from snnir.cli.tune import tune_command
from snnir.cli.verify import verify_command
from snnir.cli.warm_up import warm_up_command
from snnir.errors import SnnirError, UnsupportedError

__all__ = ["cli", "main"]

COMMANDS = (
    check_command,
    compile_command,
    debug_command,
    tune_command,
    run_command,
    verify_command,
    explore_command,
    report_command,
    plot_command,
    inspect_command,
    opt_command,
    reduce_command,
    passes_command,
    ops_command,
    demo_command,
    warm_up_command,
    nir_command,
    *BUNDLE_COMMANDS,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(snnir.__version__, prog_name="snnir")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
def cli(debug: bool) -> None:
    """Compile trained sequence networks into spiking networks, exactly."""


for command in COMMANDS:
    cli.add_command(command)


def main(arguments: list[str] | None = None, own_process: bool = False) -> int:
    """Run the command line with `arguments` (those of the process by default); returns the exit code.

    `own_process` says that the process does nothing else, so that libraries may be loaded for snnir alone.
    """
    given = sys.argv[1:] if arguments is None else arguments
    debug, obj = "--debug" in given, report.OWN_PROCESS if own_process else None
    try:
        words = [*(["--debug"] if debug else []), *(word for word in given if word != "--debug")]
        code = cli.main(words, prog_name="snnir", standalone_mode=False, obj=obj)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        if "--json" in given:
            report.json_error("UsageError", error.format_message(), ())
        else:
            error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        report.error("interrupted; nothing half-written was left behind")
        return 1
    except SnnirError as error:
        if debug:
            raise
        if "--json" in given:
            nodes = [str(refusal) for refusal in error.refusals] if isinstance(error, UnsupportedError) else []
            report.json_error(type(error).__name__, str(error), nodes)
        else:
            report.error(str(error))
        return error.exit_code
