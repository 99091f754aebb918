"""How kernels are compiled: without the interpreter lock, and kept for the next process where a folder can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

__all__ = ["compiled"]


def compiled(kernel: Callable[..., Any], **options: object) -> Any:
    """`kernel` as a function of Numba's. `options` are further ones of `numba.njit`."""
    compiler: Any = numba.njit
    try:
        return compiler(nogil=True, cache=True, **options)(kernel)
    except RuntimeError:  # no folder can be written: compile in memory
        return compiler(nogil=True, **options)(kernel)
