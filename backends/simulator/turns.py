"""Processes that need the kernels for the first time, all at once: one compiles, the others wait and load what it kept.

Numba's cache lets each of them compile the same for itself. While one writes, another may also find the index of the new
kernels beside the files of old ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["compiled_by_one"]


def compiled_by_one(kernel: Any, first_call: Callable[[], object]) -> None:
    """Have `kernel`, a function of Numba's, compiled by `first_call`, unless it is compiled or loaded already.

    No other process compiles it meanwhile, as far as they share a folder that is written and a system with file locks.
    """
    if not kernel.overloads:
        with _turn(kernel):
            first_call()


@contextlib.contextmanager
def _turn(kernel: Any) -> Iterator[None]:
    """Alone where the kernel is still to be compiled, else together with others that load it."""
    folder = Path(getattr(kernel.stats, "cache_path", None) or "")
    with contextlib.ExitStack() as stack:
        # a folder that cannot be written, a file system or a system without locks: nothing to wait for
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            if folder.name:  # none where nothing is kept
                file = stack.enter_context(open(folder / "kernels.lock", "a"))
                fcntl.flock(file, fcntl.LOCK_SH if _kept(kernel, folder) else fcntl.LOCK_EX)
        yield


def _kept(kernel: Any, folder: Path) -> bool:
    """Whether the index of the kernel's files is there, and is younger than its source."""
    function = kernel.py_func
    source = Path(function.__code__.co_filename)
    try:
        changed = source.stat().st_mtime
        return any(index.stat().st_mtime > changed for index in folder.glob(f"{source.stem}.{function.__name__}-*.nbi"))
    except OSError:
        return False
