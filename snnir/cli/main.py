"""The command line. Exit codes: 0 done, 1 a failed check or refused model, 2 wrong usage."""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from types import ModuleType

import click

import snnir
from snnir.errors import SnnirError, UnsupportedError

__all__ = ["COMMANDS", "cli", "main"]

COMMANDS = {
    "check": "check:check_command",
    "compile": "compile:compile_command",
    "debug": "debug:debug_command",
    "tune": "tune:tune_command",
    "run": "run:run_command",
    "verify": "verify:verify_command",
    "explore": "explore:explore_command",
    "report": "reporting:report_command",
    "plot": "reporting:plot_command",
    "inspect": "inspect:inspect_command",
    "opt": "opt:opt_command",
    "reduce": "reduce:reduce_command",
    "passes": "listings:passes_command",
    "ops": "listings:ops_command",
    "demo": "digits:demo_command",
    "warm-up": "warm_up:warm_up_command",
    "nir": "nir:nir_command",
    "bundle": "bundle:bundle_command",
    "replay": "bundle:replay_command",
    "targets": "bundle:targets_command",
}
"""Every command: the file in `snnir/cli` that holds it, and its name there. A file is imported when its command is given."""


class Commands(click.Group):
    """The commands of `COMMANDS`, each imported when it is asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        """All names, in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command called `name`."""
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].partition(":")
        command: click.Command = getattr(import_module(f"snnir.cli.{module}"), attribute)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(snnir.__version__, prog_name="snnir")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
def cli(debug: bool) -> None:
    """Compile trained sequence networks into spiking networks, exactly."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line with `arguments` (those of the process by default); returns the exit code."""
    logging.getLogger("snnir").addHandler(logging.NullHandler())  # commands print their own warnings
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    try:
        words = [*(["--debug"] if debug else []), *(word for word in given if word != "--debug")]
        code = cli.main(words, prog_name="snnir", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        if "--json" in given:
            _report().json_error("UsageError", error.format_message(), ())
        else:
            error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        _report().error("interrupted; nothing half-written was left behind")
        return 1
    except SnnirError as error:
        if debug:
            raise
        if "--json" in given:
            nodes = [str(refusal) for refusal in error.refusals] if isinstance(error, UnsupportedError) else []
            _report().json_error(type(error).__name__, str(error), nodes)
        else:
            _report().error(str(error))
        return error.exit_code


def _report() -> ModuleType:
    """What prints, imported where there is something to print."""
    return import_module("snnir.cli.report")
