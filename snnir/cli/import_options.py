"""The options that say how a model is imported: known inputs, batch axes, open sizes."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from snnir.cli.files import read_arrays
from snnir.errors import UsageError

__all__ = ["CONSTANT", "constants_of", "dims_of", "import_options"]

CONSTANT = click.option(
    "--constant",
    "constants",
    multiple=True,
    metavar="NAME=VALUE",
    help="An input of an ONNX model that must be known: a .npy file, or JSON such as 3, true or [2, 4]; may be given again.",
)
_BATCH_AXIS = click.option(
    "--batch-axis",
    "batch_axes",
    multiple=True,
    metavar="NAME=AXIS",
    help="The batch axis of an input, such as state=1, or state=none where it has none; may be given again.",
)
_DIM = click.option(
    "--dim",
    "dims",
    multiple=True,
    metavar="NAME=NUMBER",
    help="A number for an open size of an input, by its name in the model or as INPUT:AXIS, or (like 'T<=512') its upper end; "
    "may be given again.",
)
_SHAPE = click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="INPUT=SIZE,SIZE,...",
    help="Numbers for open sizes of one input, in order, like x=N,3,320,320; what is no number stays open.",
)
_REQUANTIZE = click.option(
    "--requantize", is_flag=True, help="Read what is quantized dynamically as real numbers, and calibrate it like a float model."
)


def import_options(*, requantize: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the options of importing, with `--requantize` where wanted. The command gets `imports`, what they say as
    `snnir.compile` takes it. Raises `UsageError`, and `InputError` naming a file.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def called(
            *, constants: Iterable[str], batch_axes: Iterable[str], dims: Iterable[str], shapes: Iterable[str], **given: Any
        ) -> Any:
            imports = {"constants": constants_of(constants), "batch_axes": _batch_axes(batch_axes), "dims": dims_of(dims, shapes)}
            if requantize:
                imports["requantize"] = given.pop("requantize")
            return command(imports=imports, **given)

        options = [CONSTANT, _BATCH_AXIS, _DIM, _SHAPE, *([_REQUANTIZE] if requantize else [])]
        return functools.reduce(lambda function, option: option(function), reversed(options), called)

    return add


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


def _batch_axes(items: Iterable[str]) -> dict[str, int | None]:
    """Batch axes by input name, of what `--batch-axis` was given. Raises `UsageError`."""
    found: dict[str, int | None] = {}
    for item in items:
        name, sign, axis = item.rpartition("=")
        if not sign or not name or not (axis == "none" or axis.removeprefix("-").isdecimal()):
            raise UsageError(f"--batch-axis {item!r}: give the input's name and its axis, like state=1 or state=none")
        found[name] = None if axis == "none" else int(axis)
    return found
