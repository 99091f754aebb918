"""Arguments and options that several commands share."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from snnir.errors import UsageError
from snnir.ir.protocols import Delivery, Execution
from snnir.passes.options import CompileKeywords, CompileOptions, declaration

__all__ = [
    "COMPARE",
    "DELIVERY",
    "EXECUTION",
    "FILE",
    "FORCE",
    "JSON",
    "MAX_MEMORY",
    "PNG",
    "THREADS",
    "chosen",
    "compile_options",
    "options_from",
]


class _File(click.Path):
    """A path, which is not empty."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; fails for an empty one, which would be the present folder, and for one that no file can have."""
        try:
            if not str(value).strip():
                self.fail("the path is empty; give the name of a file", param, ctx)
            os.stat(value)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) in (None, errno.ENAMETOOLONG):
                self.fail(f"{str(value)[:60]!r}... is no name of a file: {getattr(error, 'strerror', error)}", param, ctx)
        return super().convert(value, param, ctx)


FILE = _File(path_type=Path)
JSON = click.option("--json", is_flag=True, help="Print one JSON object instead of tables.")
PNG = click.option("--png", type=FILE, metavar="DIR", help="A folder for the same as pictures, for papers and talks.")
FORCE = click.option("--force", is_flag=True, help="Overwrite a file of another kind, or write under another suffix.")
DELIVERY = click.option(
    "--delivery",
    type=click.Choice([each.value for each in Delivery]),
    default="relay",
    help="How recurrent spikes are delivered.",
)
EXECUTION = click.option(
    "--execution",
    type=click.Choice([each.value for each in Execution]),
    default="reset",
    help="What neurons of recurrent layers do at the next sequence element: start afresh, or go on and send changes only.",
)
COMPARE = click.option("--compare-executions", is_flag=True, help="Run reset and carry, and print how many spikes each sends.")


class _Bytes(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no arguments here
    """A number of bytes: 500000000, 500MB, 4GiB."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; fails for what is none."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([kmgt]?)(i?)b?", str(value).strip().lower())
        size = 0 if found is None else int(float(found[1]) * (1024 if found[3] else 1000) ** " kmgt".index(found[2] or " "))
        if size < 1:
            self.fail(f"{value!r} is no size: give a number of bytes, or one like 500MB or 4GiB", param, ctx)
        return size


MAX_MEMORY = click.option(
    "--max-memory",
    type=_Bytes(),
    metavar="SIZE",
    help="What results and events may take, like 4GiB: where it is little, fewer samples run at a time.  [default: half of "
    "what is free]",
)
THREADS = click.option("--threads", type=click.IntRange(min=1), help="Threads over samples; all cores by default.")


Command = TypeVar("Command", bound=Callable[..., object])


def compile_options(*names: str) -> Callable[[Command], Command]:
    """Decorator: the options of `CompileOptions` called `names` (all of them by default), as they are declared there."""
    items = [item for item in fields(CompileOptions) if not names or item.name in names]

    def add(command: Command) -> Command:
        for item in reversed(items):
            command = _compile_option(item)(command)
        return command

    return add


def _compile_option(item: Field[object]) -> Callable[[Command], Command]:
    declared, flag = declaration(item), f"--{item.name.replace('_', '-')}"
    if declared.metavar is not None:
        return click.option(flag, multiple=True, metavar=declared.metavar, help=declared.help)
    if isinstance(item.default, bool):
        words = f"{flag}/--no-{flag[2:]}" if item.default else flag
        return click.option(words, is_flag=True, default=item.default, show_default=item.default, help=declared.help)
    kind = click.Choice(declared.choices) if declared.choices else type(item.default)
    return click.option(flag, type=kind, default=item.default, show_default=True, help=declared.help)


def chosen(options: Mapping[str, object]) -> CompileKeywords:
    """The values of `compile_options` as `snnir.compile` takes them. Raises `UsageError`."""
    found: dict[str, Any] = dict(options)
    for item in fields(CompileOptions):
        if declaration(item).metavar is not None and item.name in found:
            found[item.name] = _sizes(f"--{item.name.replace('_', '-')}", found[item.name])
    return cast("CompileKeywords", found)


def options_from(file: Path, context: click.Context, given: CompileKeywords) -> CompileKeywords:
    """The options of a JSON file, and in their place those that the command line gives itself. Raises `UsageError`."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--options {file} cannot be read: {error.strerror}; give a JSON file of options") from error
    except ValueError as error:
        raise UsageError(f"--options {file}: it cannot be read as JSON: {error}") from error
    known = {item.name for item in fields(CompileOptions)}
    if not isinstance(found, dict) or not set(found) <= known:
        unknown = ", ".join(sorted(set(found) - known)) if isinstance(found, dict) else "no object"
        raise UsageError(f"--options {file}: expected options of snnir compile by name, found {unknown}")
    by_hand = click.core.ParameterSource.COMMANDLINE
    kept = {name: value for name, value in given.items() if context.get_parameter_source(name) is by_hand}
    return cast("CompileKeywords", {**given, **found, **kept})


def _sizes(flag: str, items: Iterable[str]) -> dict[str, int]:
    sizes = {}
    for each in items:
        name, sign, bits = each.rpartition("=")
        if not sign or not name or not bits.isdecimal():
            raise UsageError(f"{flag} {each!r}: give the value's name and its bits, like cell.next=12")
        sizes[name] = int(bits)
    return sizes
