"""`snnir warm-up`: compile the simulator's kernels before anybody waits for them."""

from __future__ import annotations

from pathlib import Path

import click

from snnir.cli import report
from snnir.cli.compilation import watch_compilation
from snnir.cli.options import FILE, JSON
from snnir.errors import UsageError

__all__ = ["warm_up_command"]


@click.command("warm-up")
@click.option("--into", type=FILE, metavar="DIR", help="A folder of functions compiled ahead, for a wheel (docs/performance.md).")
@JSON
def warm_up_command(into: Path | None, json: bool) -> None:
    """Compile all kernels of the simulator for this processor, while an image is built for example.

    They go where later runs look for them: $NUMBA_CACHE_DIR, $XDG_CACHE_HOME/snnir or ~/.cache/snnir; with --into, into a
    folder that a wheel may hold.
    """
    from snnir.backends.simulator import shipped
    from snnir.backends.simulator.library import cache_folder, names, prepare

    if into is not None:
        written = shipped.make(into, names())
        _print({"files": len(written), "bytes": sum(path.stat().st_size for path in written), "folder": str(into)}, json)
        return
    folder = cache_folder()
    if folder is None:
        raise UsageError("no cache folder can be written, so nothing compiled would be kept; set XDG_CACHE_HOME to one that can")
    with (
        report.progress("compiling", quiet=json) as advance,
        watch_compilation(advance) as found,
    ):
        prepare(names())
    loaded = len(names()) - found.kernels
    _print({"compiled": found.kernels, "kept_before": loaded, "seconds": round(found.seconds, 2), "folder": str(folder)}, json)


def _print(facts: dict[str, object], json: bool) -> None:
    if json:
        report.print_json(facts)
    else:
        report.rows_table("warm-up", {name.replace("_", " "): value for name, value in facts.items()})
