"""Whether two machine programs, or parts of them, say the same: field by field, arrays element by element."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import numpy as np

__all__ = ["same"]


def same(a: object, b: object) -> bool:
    """Whether both are of one type and hold the same; arrays also have the same dtype and shape."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
            return False
        return a.dtype == b.dtype and a.shape == b.shape and bool(np.array_equal(a, b))
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if is_dataclass(a) and type(a) is type(b):
        return all(same(getattr(a, field.name), getattr(b, field.name)) for field in fields(a))
    return bool(a == b) and isinstance(a, str) == isinstance(b, str)
