"""Options that several commands of the command line share."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["BITS", "COMPARE", "DELIVERY", "EXECUTION", "FILE", "JSON", "THREADS", "WEIGHT_BITS"]

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
COMPARE = click.option("--compare-executions", is_flag=True, help="Run reset and carry, and print how many spikes each sends.")
THREADS = click.option("--threads", type=click.IntRange(min=1), help="Threads over samples; all cores by default.")
BITS = click.option("--bits", default=4, show_default=True, help="Bits of activations, 2 to 8.")
WEIGHT_BITS = click.option("--weight-bits", default=8, show_default=True, help="Bits of weights, 2 to 16.")
