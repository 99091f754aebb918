"""How kernels are compiled: without the interpreter lock, and kept for the next process where a folder can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numba

__all__ = ["compiled"]

_Kernel = Callable[..., Any]


def compiled(kernel: _Kernel, **options: object) -> _Kernel:
    """`kernel` as a function of Numba's. `options` are further ones of `numba.njit`."""
    compiler: Any = numba.njit
    try:
        return cast(_Kernel, compiler(nogil=True, cache=True, **options)(kernel))
    except RuntimeError:  # no folder can be written: compile in memory
        return cast(_Kernel, compiler(nogil=True, **options)(kernel))
