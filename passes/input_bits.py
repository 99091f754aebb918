"""How many bits inputs need: as few as their loss stays small beside that of everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from snnir.ir import Graph, Node, Quantization, Value
from snnir.ir.execute import execute
from snnir.ir.ops import FakeQuantize
from snnir.ir.rewrite import Rewriter, rebuild

__all__ = ["INPUT_BITS", "fewest_input_bits"]

INPUT_BITS = (8, 10, 12, 14)
"""What is tried, from the fewest on."""


def fewest_input_bits(
    graph: Graph,
    inputs: Sequence[Mapping[Node, Quantization]],
    others: Mapping[Node, Quantization],
    share: float,
    data: Mapping[str, np.ndarray],
) -> int:
    """The index of the first of `inputs` that is enough: levels of all inputs by `observe` node, with more and more bits.

    The noise at the outputs where only inputs are levels must be at most `share` of that where only the rest is (`others`). The
    last index where none is enough, 0 where there is nothing to compare with.
    """
    expected = execute(graph, data)
    if not others:
        return 0
    limit = share * _noise(graph, expected, others, data)
    for index, levels in enumerate(inputs):
        if _noise(graph, expected, levels, data) <= limit:
            return index
    return len(inputs) - 1


def _noise(
    graph: Graph, expected: Mapping[str, np.ndarray], levels: Mapping[Node, Quantization], data: Mapping[str, np.ndarray]
) -> float:
    """The squared error of all outputs of real numbers, relative to their squares, with these values rounded."""

    def rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        return rewriter.copy(node, operands, FakeQuantize(levels[node], "half-up")) if node in levels else None

    found, total = execute(rebuild(graph, rule)[0], data), 0.0
    for name, value in graph.outputs.items():
        if value.type.is_real:
            finite = np.isfinite(expected[name]) & np.isfinite(found[name])
            x, y = (np.where(finite, array, 0).astype(np.float64) for array in (expected[name], found[name]))
            total += float(((y - x) ** 2).sum()) / max(float((x**2).sum()), 1e-30)
    return total
