"""`snnir demo`: handwritten digits, from a trained network to spikes."""

from __future__ import annotations

from pathlib import Path

import click

from snnir.cli.options import FILE, JSON, compile_options

__all__ = ["demo_command"]


@click.command("demo")
@click.option("--output", "-o", type=FILE, default=Path("out"), help="A folder for the program and the pictures.")
@compile_options("bits", "weight_bits")
@JSON
def demo_command(output: Path, bits: int, weight_bits: int, json: bool) -> int:
    """Compile a real CRNN for handwritten digits, simulate it on held-out digits, and prove it exact."""
    from snnir.cli.demo import run_demo

    return 0 if run_demo(output, bits, weight_bits, json) else 1
