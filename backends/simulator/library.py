"""The compiled functions of `kernels/routines.py`, by name: loaded from what came with the package (`shipped.py`) or from the
cache, or compiled when they are first needed.

The cache is a folder whose name follows from all that compiled code depends on: the source of the package and the tables that it
reads, Numba, llvmlite, Python and the processor. So an edit of any file of the package compiles anew, several versions stand
beside one another, and checkouts of the same source share one folder.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snnir.backends.simulator import shipped
from snnir.backends.simulator.kernels import SOURCE, source_digest

if TYPE_CHECKING:
    from snnir.backends.simulator.kernels.numba_compat import Native

__all__ = ["address", "cache_folder", "function", "listeners", "names", "prepare"]

listeners: list[Callable[[int, int, float | None], None]] = []
"""Each is called before the process compiles a function with how many of those now needed are ready, how many are needed, and
None; and after it with the seconds that it took.
"""
_LOG = logging.getLogger("snnir")

_lock = threading.RLock()


@functools.cache
def _natives() -> dict[str, Native]:
    from snnir.backends.simulator.kernels.routines import NATIVE

    return NATIVE


@functools.cache
def _key() -> str:
    """A digest of all that compiled code depends on."""
    from snnir.backends.simulator.kernels import numba_compat, types

    structs = [struct.name for struct in (types.PROGRAM, types.RUN, types.WORKER)]
    known = (SOURCE, structs, numba_compat.target(), sys.version_info[:2], sys.implementation.cache_tag)
    return hashlib.sha256(repr(known).encode()).hexdigest()[:20]


@functools.cache
def cache_folder() -> Path | None:
    """Where compiled functions are kept: below `$NUMBA_CACHE_DIR`, `$XDG_CACHE_HOME` or `~/.cache`; None where nothing can be
    written there, and where the source was edited while this process had it imported.
    """
    if source_digest() != SOURCE:
        return None
    parents = [Path(os.environ["NUMBA_CACHE_DIR"])] if os.environ.get("NUMBA_CACHE_DIR") else []
    if not parents:
        parents = [Path(os.environ["XDG_CACHE_HOME"])] if os.environ.get("XDG_CACHE_HOME") else []
        with contextlib.suppress(RuntimeError):  # no home
            parents.append(Path.home() / ".cache")
    for parent in parents:
        folder = parent / "snnir" / f"kernels-{_key()}"
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            return folder
    return None


@contextlib.contextmanager
def _alone(folder: Path | None) -> Iterator[None]:
    """While no other process compiles into the folder, where the system has file locks: others wait, and load what it kept."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            if folder is not None:
                file = stack.enter_context(open(folder / "lock", "a"))
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def names() -> list[str]:
    """The names of all functions."""
    return list(_natives())


def prepare(names: Sequence[str]) -> None:
    """Have the functions of these names loaded or compiled."""
    natives = _natives()
    missing = [name for name in dict.fromkeys(names) if natives[name].address is None]
    if not missing:
        return
    with _lock:
        if (ahead := shipped.folder()) is not None:
            missing = [name for name in missing if natives[name].address is None and not natives[name].load(ahead)]
        folder = cache_folder()
        missing = [name for name in missing if natives[name].address is None and not natives[name].load(folder)]
        if not missing:
            return
        with _alone(folder):
            _LOG.info("compiling up to %d functions of the simulator for this processor, once", len(missing))
            since = time.perf_counter()
            for number, name in enumerate(missing):
                if not natives[name].load(folder):
                    _compile(natives[name], folder, number, len(missing))
            _LOG.info("compiled in %.1f s, kept in %s", time.perf_counter() - since, folder or "no folder")


def _compile(native: Native, folder: Path | None, number: int, total: int) -> None:
    since = time.perf_counter()
    for listener in listeners:
        listener(number, total, None)
    native.compile(folder)
    for listener in listeners:
        listener(number + 1, total, time.perf_counter() - since)


def address(name: str) -> int:
    """The address of a compiled function."""
    prepare([name])
    found = _natives()[name].address
    if found is None:
        raise RuntimeError(f"{name} was not compiled: a fault of snnir. Please report it")
    return found


@functools.cache
def function(name: str) -> Callable[..., int | None]:
    """A compiled function for Python to call with numbers, without the interpreter's lock."""
    prepare([name])
    return _natives()[name].ctypes
