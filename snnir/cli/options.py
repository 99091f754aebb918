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

from snnir.cli.files import read_arrays
from snnir.errors import UsageError
from snnir.ir.protocols import Delivery, Execution
from snnir.passes.options import CompileKeywords, CompileOptions, declaration

__all__ = [
    "BATCH_AXIS",
    "COMPARE",
    "CONSTANT",
    "DELIVERY",
    "DIM",
    "EXECUTION",
    "FILE",
    "FORCE",
    "JSON",
    "MAX_MEMORY",
    "PNG",
    "REQUANTIZE",
    "SHAPE",
    "THREADS",
    "batch_axes_of",
    "chosen",
    "compile_options",
    "constants_of",
    "dims_of",
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
CONSTANT = click.option(
    "--constant",
    "constants",
    multiple=True,
    metavar="NAME=VALUE",
    help="An input of an ONNX model that must be known: a .npy file, or JSON such as 3, true or [2, 4]; may be given again.",
)
BATCH_AXIS = click.option(
    "--batch-axis",
    "batch_axes",
    multiple=True,
    metavar="NAME=AXIS",
    help="The batch axis of an input, such as state=1, or state=none where it has none; may be given again.",
)
DIM = click.option(
    "--dim",
    "dims",
    multiple=True,
    metavar="NAME=NUMBER",
    help="A number for an open size of an input, by its name in the model or as INPUT:AXIS, or (like 'T<=512') its upper end; "
    "may be given again.",
)
SHAPE = click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="INPUT=SIZE,SIZE,...",
    help="Numbers for open sizes of one input, in order, like x=N,3,320,320; what is no number stays open.",
)
REQUANTIZE = click.option(
    "--requantize", is_flag=True, help="Read what is quantized dynamically as real numbers, and calibrate it like a float model."
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


def dims_of(items: Iterable[str], shapes: Iterable[str]) -> dict[str, int | str]:
    """Numbers and upper ends of open sizes, of what `--dim` and `--shape` were given. Raises `UsageError`."""
    found: dict[str, int | str] = {}
    for item in items:
        name, _, number = item.rpartition("=")
        if not name.removesuffix("<") or not number.isdecimal():
            raise UsageError(f"--dim {item!r}: give the size's name and a number, like height=320, x:2=320 or T<=512")
        found[name.removesuffix("<")] = f"<={number}" if name.endswith("<") else int(number)
    for item in shapes:
        name, sign, sizes = item.rpartition("=")
        words = [word.strip() for word in sizes.strip("[]").split(",")]
        if not sign or not name or not all(words):
            raise UsageError(f"--shape {item!r}: give the input's name and its sizes, like x=N,3,320,320")
        found.update((f"{name}:{axis}", int(word)) for axis, word in enumerate(words) if word.isdecimal())
    return found


def constants_of(items: Iterable[str]) -> dict[str, object]:
    """Values by name, of what `--constant` was given. Raises `UsageError`, and `InputError` naming a file."""
    found: dict[str, object] = {}
    for item in items:
        name, sign, value = item.partition("=")
        if not sign or not name:
            raise UsageError(f"--constant {item!r}: give the input's name and its value, like steps=3 or boxes=boxes.npy")
        if value.endswith(".npy"):
            found[name] = read_arrays(Path(value))
            continue
        try:
            found[name] = json.loads(value)
        except ValueError:
            raise UsageError(f"--constant {item!r}: give a .npy file, or JSON such as 3, true or [2, 4]") from None
    return found


def batch_axes_of(items: Iterable[str]) -> dict[str, int | None]:
    """Batch axes by input name, of what `--batch-axis` was given. Raises `UsageError`."""
    found: dict[str, int | None] = {}
    for item in items:
        name, sign, axis = item.rpartition("=")
        if not sign or not name or not (axis == "none" or axis.removeprefix("-").isdecimal()):
            raise UsageError(f"--batch-axis {item!r}: give the input's name and its axis, like state=1 or state=none")
        found[name] = None if axis == "none" else int(axis)
    return found
