"""Sizes that a model forces: what a mismatch of an open size and a known one says about the open one.

The MatMul of a value with `width` columns by a weight of 180 rows computes only where `width` is 180. A frontend that meets
such a mismatch starts again with that size; there are as many beginnings as open sizes, at most.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from snnir.errors import SizeError, UsageError
from snnir.ir.dims import Dim, Dimension, names_of, solve, substitute
from snnir.ir.graph import Value

__all__ = ["SizesForcedError", "Undecided", "forced", "open_sizes", "split_dims"]


class Undecided:
    """The truth of a comparison of sizes that is known only where these are; `usual` for most of them."""

    def __init__(self, text: str, names: frozenset[str], usual: bool) -> None:
        self.text, self.names, self.usual = text, names, usual

    def __bool__(self) -> bool:
        return self.usual

    def __str__(self) -> str:
        return self.text

    def opposite(self) -> Undecided:
        """Its negation."""
        return Undecided(f"not {self.text}", self.names, not self.usual)


class SizesForcedError(Exception):
    """An import has to begin again with these sizes: `node` computes with no others."""

    def __init__(self, sizes: Mapping[str, Dimension], node: str) -> None:
        super().__init__(f"{node} needs " + ", ".join(f"{name} = {size}" for name, size in sizes.items()))
        self.sizes = dict(sizes)
        self.node = node


def split_dims(dims: Mapping[str, int | str] | None) -> tuple[dict[str, int], dict[str, int]]:
    """Numbers, and upper ends, written `<=512`, of open sizes by their names. Raises `UsageError` for what is neither."""
    numbers, limits = dict[str, int](), dict[str, int]()
    for name, value in (dims or {}).items():
        word = str(value)
        found = limits if word.startswith("<=") else numbers
        digits = word.removeprefix("<=").strip()
        if isinstance(value, bool) or not digits.isdecimal() or int(digits) < 1:
            raise UsageError(f"size {name}: {value!r} is neither a number from 1 on nor an upper end like '<=512'")
        found[name] = int(digits)
    return numbers, limits


def forced(error: BaseException, names: Collection[str]) -> dict[str, Dimension]:
    """What open sizes called `names` must be for the sizes to be equal that `error` says must be; empty where it says nothing."""
    found: dict[str, Dimension] = {}
    if not isinstance(error, SizeError):
        return found
    for a, b in error.equal:
        if not isinstance(a, int | Dim) or not isinstance(b, int | Dim):
            continue
        new = solve(substitute(a, found), substitute(b, found))
        if set(new) <= set(names):
            found = {name: substitute(value, new) for name, value in found.items()} | new
    return found


def open_sizes(operands: Iterable[object]) -> frozenset[str]:
    """The names that the shapes of `operands`, and known sizes among them, depend on."""
    found: set[str] = set()
    for operand in operands:
        sizes: Iterable[object] = ()
        if isinstance(operand, Value):
            sizes = operand.type.shape
        elif isinstance(operand, np.ndarray) and operand.dtype == object:
            sizes = operand.reshape(-1).tolist()
        for size in sizes:
            if isinstance(size, Dim):
                found |= names_of(size)
            elif isinstance(size, Undecided):
                found |= size.names
    return frozenset(found)
