"""The ranges that values inside functions take on the calibration data."""

from __future__ import annotations

import math

import numpy as np

from snnir.errors import CalibrationError, UnsupportedError
from snnir.ir import Graph, Node, Value
from snnir.ir.execute import execute
from snnir.ir.ops import Masked, Saturate
from snnir.passes.infra import Context

__all__ = ["saturations"]


def saturations(graph: Graph, context: Context) -> dict[Node, Saturate]:
    """For each `saturate` of the graph (bodies included) whose ends are not known, the range that the calibration data take.

    It is widened on each side by half.
    An end never gets to the other side of 0, and of positive numbers the lower end is a quarter: what is divided by, or has a
    logarithm, stays positive. Raises `CalibrationError` without data, or where a value is not finite;
    `UnsupportedError` for masked values that no softmax takes.
    """
    nodes = {node.output: node for _, node in graph.walk() if isinstance(node.op, Saturate) and math.isinf(node.op.high)}
    if not nodes:
        return {}
    if context.calibration is None:
        raise CalibrationError("functions inside the network need calibration data: give inputs like those the model will see")
    ranges: dict[Value, tuple[float, float]] = {}

    def observe(value: Value, array: np.ndarray) -> None:
        if value in nodes and array.size:
            low, high = float(array.min()), float(array.max())
            source = nodes[value].operands[0].producer
            if source is not None and isinstance(source.op, Masked):
                raise UnsupportedError(f"{source.describe()}: minus infinity is no level; only a softmax takes masked values")
            if not (np.isfinite(low) and np.isfinite(high)):
                raise CalibrationError(f"calibration data makes {nodes[value].describe()} NaN or infinite")
            least, most = ranges.get(value, (low, high))
            ranges[value] = min(low, least), max(high, most)

    for data in (context.calibration, *context.shortened):
        execute(graph, data, observe)
    return {nodes[value]: Saturate(*_widened(*ends)) for value, ends in ranges.items()}


def _widened(low: float, high: float) -> tuple[float, float]:
    more = (high - low) / 2
    least = max(low - more, low / 4) if low > 0 else low - more
    most = min(high + more, high / 4) if high < 0 else high + more
    if low == 0:
        least = 0.0
    return float(f"{least:.4g}") if least else 0.0, float(f"{most:.4g}") if most else 0.0
