"""Properties of random graphs fail on the smallest graph that can be found, and print it."""

from __future__ import annotations

from collections.abc import Callable

from snnir.compiler.reduction import reduce_graph
from snnir.errors import SnnirError
from snnir.ir import Graph
from snnir.ir.text import text

__all__ = ["on_smallest"]

_ATTEMPTS = 300


def on_smallest(graph: Graph, check: Callable[[Graph], None]) -> None:
    """`check(graph)`; where it fails, an `AssertionError` with the smallest graph on which it fails in the same way."""
    try:
        check(graph)
    except (AssertionError, SnnirError) as error:
        kind = type(error)

        def fails(candidate: Graph) -> bool:
            try:
                check(candidate)
            except (AssertionError, SnnirError) as other:
                return type(other) is kind
            return False

        small = reduce_graph(graph, fails, _ATTEMPTS)
        raise AssertionError(f"{kind.__name__}: {error}\nThe smallest graph on which it fails:\n{text(small)}") from error
