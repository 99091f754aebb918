"""What a failing property prints."""

from __future__ import annotations

import pytest

from snnir.errors import PassError
from snnir.ir import Graph
from snnir.ir.ops import Add
from tests.random_graphs import random_graph
from tests.small_failures import on_smallest


def test_a_failing_property_prints_the_smallest_graph() -> None:
    def no_additions(graph: Graph) -> None:
        assert not any(isinstance(node.op, Add) for _, node in graph.walk()), "it adds"

    seed = next(seed for seed in range(50) if any(isinstance(node.op, Add) for node in random_graph(seed)[0].nodes))
    with pytest.raises(AssertionError, match="it adds") as failure:
        on_smallest(random_graph(seed)[0], no_additions)
    message = str(failure.value)
    assert "The smallest graph on which it fails:" in message
    assert message.count(" = add ") == 1 and "# 1 nodes" in message


def test_a_property_that_holds_is_checked_once() -> None:
    seen: list[Graph] = []
    on_smallest(random_graph(1)[0], seen.append)
    assert len(seen) == 1


def test_failures_of_another_kind_are_not_taken_for_the_same() -> None:
    def check(graph: Graph) -> None:
        if len(graph.nodes) < 3:
            raise PassError("too small")
        raise AssertionError("as asked")

    with pytest.raises(AssertionError, match="as asked") as failure:
        on_smallest(random_graph(1)[0], check)
    assert "# 3 nodes" in str(failure.value) or "# 4 nodes" in str(failure.value)
