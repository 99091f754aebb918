"""Local threshold balancing (Bu, Li and Yu, arXiv:2409.03368): thresholds that follow what lies above them.

From theta = 0 on, in each batch and in order of layers, of the values z (equation of their algorithm 1):

    theta += 2 rate mean(max(z - theta, 0))

over all numbers of a channel, or of a whole value; then z is cut at theta, and layers behind it see the cut values. Theta grows
towards the largest z, ever slower the fewer lie above it, so that the number of iterations is an early stop.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnir.ir import Graph, Node, Value
from snnir.ir.execute import bind_sizes, check_inputs, compute

__all__ = ["balanced_thresholds"]

_SMALLEST = 1e-3
"""The least threshold of a channel, relative to the largest: silent channels have one as well."""


def balanced_thresholds(
    graph: Graph, axes: Mapping[Node, int | None], batches: list[dict[str, np.ndarray]], iterations: int, rate: float = 1.0
) -> dict[Node, np.ndarray]:
    """The threshold of each channel along an axis, float64 [channels] ([1] for None), of `observe` nodes outside scans.

    Each iteration takes one batch, in turns.
    """
    found: dict[Node, np.ndarray] = {}
    for iteration in range(iterations):
        inputs = check_inputs(graph, batches[iteration % len(batches)])
        sizes = bind_sizes(graph, inputs)
        arrays: dict[Value, np.ndarray] = {value: inputs[value.name] for value in graph.inputs}
        arrays.update((value, value.array) for value in graph.constants)
        for node in graph.nodes:
            results = compute(node, [arrays[value] for value in node.operands], sizes)
            if node in axes:
                results = (_cut(found, node, axes[node], np.asarray(results[0]), rate),)
            arrays.update(zip(node.outputs, results, strict=True))
    return {node: np.maximum(theta, max(theta.max() * _SMALLEST, 1e-9)) for node, theta in found.items()}


def _cut(found: dict[Node, np.ndarray], node: Node, axis: int | None, z: np.ndarray, rate: float) -> np.ndarray:
    """Move the thresholds of a node by what it sees, and cut that at them."""
    rest = tuple(each for each in range(z.ndim) if each != axis)
    count = 1 if axis is None else z.shape[axis]
    shape = [count if each == axis else 1 for each in range(z.ndim)]
    theta = found.setdefault(node, np.zeros(count)).reshape(shape)
    theta = theta + 2 * rate * np.maximum(z - theta, 0).mean(axis=rest, keepdims=True, dtype=np.float64).reshape(shape)
    found[node] = theta.reshape(-1)
    return np.asarray(np.minimum(z, theta), z.dtype)
