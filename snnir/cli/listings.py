"""`snnir passes` and `snnir ops`: what there is, read from the declarations."""

from __future__ import annotations

import click

from snnir.cli import report
from snnir.cli.options import JSON

__all__ = ["ops_command", "passes_command"]


@click.command("passes")
@JSON
def passes_command(json: bool) -> None:
    """List the passes, their levels and what each promises."""
    report.show_passes(json)


@click.command("ops")
@click.option("--markdown", is_flag=True, help="Print docs/operators.md.")
@JSON
def ops_command(markdown: bool, json: bool) -> None:
    """List the ops of the IR and the operators of ONNX and PyTorch they come from."""
    from snnir.cli.support import markdown_ops

    if markdown:
        click.echo(markdown_ops(), nl=False)
    else:
        report.show_ops(json)
