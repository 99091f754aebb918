"""How much of the inputs lies beyond the levels that their encoders have: calibration saw no such values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnir.ir import Graph
from snnir.ir.ops import Encode

__all__ = ["MOST_CLIPPED", "clipped_inputs"]

MOST_CLIPPED = 0.01
"""A larger share gets a warning."""


def clipped_inputs(graph: Graph, inputs: Mapping[str, np.ndarray]) -> dict[str, float]:
    """For each input that an encoder takes as it is: the share of its numbers that saturate at the lowest or highest level."""
    found: dict[str, float] = {}
    for node in graph.nodes:
        value = node.operands[0] if isinstance(node.op, Encode) else None
        if value is None or value not in graph.inputs or value.name not in inputs:
            continue
        op = node.expect(Encode)
        array, levels = np.asarray(inputs[value.name], np.float64), op.quantization
        least, most = (levels.lo - 0.5) * np.asarray(levels.scale), (levels.hi + 0.5) * np.asarray(levels.scale)
        beyond = int(((array < least) | (array > most)).sum()) / array.size if array.size else 0.0
        found[value.name] = max(found.get(value.name, 0.0), beyond)
    return found
