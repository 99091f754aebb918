"""Rows of tables and stretches of flat arrays, numbered as they are added."""

from __future__ import annotations

import numpy as np

__all__ = ["Rows"]

_ARRAYS = ("counts", "sums", "levels", "factors", "members", "thresholds", "index", "neurons", "narrow", "wide", "w0", "w1", "w2")


class Rows:
    """The rows of every table, by the table's type, and how much of every flat array is taken.

    `sizes` are the entries taken of arrays of one run, `kept` those that a scan's body keeps from window to window.
    """

    def __init__(self) -> None:
        self.rows: dict[np.dtype, list[tuple[int, ...]]] = {}
        self.sizes = dict.fromkeys(_ARRAYS, 0)
        self.kept = dict.fromkeys(("encoders", "combinations", "states", "crossing"), 0)

    def add(self, table: np.dtype, *row: int) -> int:
        """Append a row to a table; its number."""
        rows = self.rows.setdefault(table, [])
        rows.append(tuple(int(number) for number in row))
        return len(rows) - 1

    def take(self, what: str, size: int) -> int:
        """Where `size` further entries of a flat array begin."""
        first = self.sizes[what]
        self.sizes[what] += int(size)
        return first

    def keep(self, what: str, size: int) -> int:
        """Where `size` further entries begin that a body keeps from window to window."""
        first = self.kept[what]
        self.kept[what] += int(size)
        return first

    def count(self, table: np.dtype) -> int:
        """How many rows a table has."""
        return len(self.rows.get(table, []))

    def table(self, kind: np.dtype) -> np.ndarray:
        """The rows of a table as records."""
        return np.array(self.rows.get(kind, []), kind)
