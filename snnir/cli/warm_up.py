"""`snnir warm-up`: compile the simulator's kernels before anybody waits for them."""

from __future__ import annotations

import click

from snnir.cli import report
from snnir.cli.compilation import load_numba_without_blas, watch_compilation
from snnir.cli.options import JSON
from snnir.cli.process import in_own_process
from snnir.errors import UsageError

__all__ = ["warm_up_command"]


@click.command("warm-up")
@JSON
def warm_up_command(json: bool) -> None:
    """Compile all kernels of the simulator for this processor, while an image is built for example.

    They go where later runs look for them: $NUMBA_CACHE_DIR, $XDG_CACHE_HOME/snnir or ~/.cache/snnir.
    """
    if in_own_process():
        load_numba_without_blas()
    from snnir.backends.simulator.library import cache_folder, names, prepare

    folder = cache_folder()
    if folder is None:
        raise UsageError("no cache folder can be written, so nothing compiled would be kept; set XDG_CACHE_HOME to one that can")
    with (
        report.progress("compiling", quiet=json) as advance,
        watch_compilation(advance) as found,
    ):
        prepare(names())
    loaded = len(names()) - found.kernels
    facts = {"compiled": found.kernels, "kept_before": loaded, "seconds": round(found.seconds, 2), "folder": str(folder)}
    if json:
        report.print_json(facts)
    else:
        report.rows_table("warm-up", {name.replace("_", " "): value for name, value in facts.items()})
