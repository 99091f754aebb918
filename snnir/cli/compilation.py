"""What a user sees while Numba compiles the simulator's kernels: once after installation, those that a network needs.

They are kept in the user's cache folder (`$XDG_CACHE_HOME/snnir`, `~/.cache/snnir`), or below `$NUMBA_CACHE_DIR` where that is
set. Where none of these can be written, each process compiles them anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Compilation", "watch_compilation"]


@dataclass
class Compilation:
    """What was compiled so far: nothing, where the kernels came from the cache."""

    kernels: int = 0
    """Compiled functions, without those that became part of them."""
    seconds: float = 0.0
    folder: str | None = None
    """Where they are kept; None where no folder can be written."""

    def __str__(self) -> str:
        kept = f"kept in {self.folder}" if self.folder else "not kept: no folder can be written; set XDG_CACHE_HOME"
        return f"compiled {self.kernels} functions for this processor in {self.seconds:.1f} s ({kept})"


@contextmanager
def watch_compilation(advance: Callable[[str, int, int], None]) -> Iterator[Compilation]:
    """Within this context, call `advance` with what is done and the kernels that are compiled so far, and all that are needed."""
    from snnir.backends.simulator.library import cache_folder, listeners

    found = Compilation()

    def watch(done: int, total: int, seconds: float | None) -> None:
        advance("compiling (once)", done, total)
        if seconds is None:
            return
        folder = cache_folder()
        found.kernels, found.seconds, found.folder = (
            found.kernels + 1,
            found.seconds + seconds,
            None if folder is None else str(folder),
        )

    listeners.append(watch)
    try:
        yield found
    finally:
        listeners.remove(watch)
