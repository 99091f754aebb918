"""What a user sees while Numba compiles the simulator's kernels, which happens once after installation.

Numba keeps what it compiled in `__pycache__` beside the kernels; where that cannot be written (an installation for all
users, a read-only image), in the user's cache folder (`$XDG_CACHE_HOME/numba`, `~/.cache/numba`); in `$NUMBA_CACHE_DIR`
where that is set. Without any of these the kernels are compiled anew in each process.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["Compilation", "load_numba_without_blas", "watch_compilation"]


_BLAS = "scipy.linalg.cython_blas"


def load_numba_without_blas() -> None:
    """Load Numba for a process in which nothing else uses it: SciPy's linear algebra, which it looks for, takes 0.15 s."""
    if _BLAS in sys.modules:
        return
    sys.modules[_BLAS] = None  # type: ignore[assignment]
    try:
        import numba.np.arraymath  # noqa: F401
    finally:
        del sys.modules[_BLAS]


@dataclass
class Compilation:
    """What was compiled so far: nothing, where the kernels came from the cache."""

    kernels: int = 0
    """Compiled functions, those that kernels call included."""
    seconds: float = 0.0
    folder: str | None = None
    """Where they are kept; None where no folder can be written."""

    def __str__(self) -> str:
        kept = f"kept in {self.folder}" if self.folder else "not kept: no folder can be written; set NUMBA_CACHE_DIR"
        return f"compiled {self.kernels} functions for this processor in {self.seconds:.1f} s ({kept})"


@contextmanager
def watch_compilation(begins: Callable[[str], None]) -> Iterator[Compilation]:
    """Within this context, call `begins` with the name of each kernel that Numba begins to compile."""
    from numba.core import event

    found = Compilation()

    class Watch(event.Listener):
        """Counts the outermost compilations: those of callees happen inside them. Numba compiles one at a time."""

        def __init__(self) -> None:
            self.depth, self.since = 0, 0.0

        def on_start(self, started: Any) -> None:
            if self.depth == 0:
                self.since = time.perf_counter()
            self.depth += 1
            found.kernels += 1
            begins(started.data["dispatcher"].py_func.__name__)

        def on_end(self, ended: Any) -> None:
            self.depth -= 1
            if self.depth == 0:
                found.seconds += time.perf_counter() - self.since
            found.folder = getattr(ended.data["dispatcher"].stats, "cache_path", None)

    with event.install_listener("numba:compile", Watch()):
        yield found
