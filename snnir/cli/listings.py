"""`snnir passes` and `snnir ops`: what there is, read from the declarations."""

from __future__ import annotations

import shutil

import click

from snnir.errors import UsageError

__all__ = ["ops_command", "passes_command"]

_JSON = click.option("--json", is_flag=True, help="Print one JSON object instead of tables.")


@click.command("passes")
@_JSON
def passes_command(json: bool) -> None:
    """List the passes, their levels and what each promises."""
    from snnir.cli import report

    report.show_passes(json)


@click.command("ops")
@click.argument("word", required=False)
@click.option("--markdown", is_flag=True, help="Print docs/operators.md.")
@_JSON
def ops_command(word: str | None, markdown: bool, json: bool) -> None:
    """List the ops of the IR; with WORD all that is known of ops and operators of ONNX and PyTorch so called."""
    from snnir.cli.operators import collected, found, overview, table

    if markdown:
        from snnir.cli.support import markdown_ops

        click.echo(markdown_ops(), nl=False)
        return
    if json:
        from snnir.cli.report import print_json

        print_json(collected())
        return
    width = shutil.get_terminal_size((100, 24)).columns
    if word is None:
        click.echo(overview(table(), width))
        return
    text = found(table(), word, width)
    if not text:
        raise UsageError(f"no op or operator is called like {word!r}; snnir ops lists all")
    click.echo(text)
