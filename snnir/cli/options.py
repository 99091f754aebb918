"""Arguments and options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import click

from snnir.cli.files import read_arrays
from snnir.errors import UsageError

__all__ = [
    "BITS",
    "COMPARE",
    "CONSTANT",
    "DELIVERY",
    "EXECUTION",
    "FILE",
    "JSON",
    "ROUNDING",
    "THREADS",
    "WEIGHT_BITS",
    "constants_of",
]

FILE = click.Path(path_type=Path)
JSON = click.option("--json", is_flag=True, help="Print one JSON object instead of tables.")
DELIVERY = click.option(
    "--delivery", type=click.Choice(["relay", "replay", "graded"]), default="relay", help="How recurrent spikes are delivered."
)
EXECUTION = click.option(
    "--execution",
    type=click.Choice(["reset", "carry"]),
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
COMPARE = click.option("--compare-executions", is_flag=True, help="Run reset and carry, and print how many spikes each sends.")
THREADS = click.option("--threads", type=click.IntRange(min=1), help="Threads over samples; all cores by default.")
BITS = click.option("--bits", default=4, show_default=True, help="Bits of activations, 2 to 8.")
WEIGHT_BITS = click.option("--weight-bits", default=8, show_default=True, help="Bits of weights, 2 to 16.")
ROUNDING = click.option(
    "--rounding",
    type=click.Choice(["exact", "half-up", "refuse"]),
    default="exact",
    show_default=True,
    help="Quantized models: what becomes of ties that no constant V(0) rounds as the model does.",
)


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
