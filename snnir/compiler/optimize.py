"""Passes on a graph in text form: what `snnir opt` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from snnir.errors import UsageError
from snnir.ir import Dim, Graph
from snnir.ir.execute import drawn
from snnir.ir.storage import read_graph
from snnir.ir.verify import verify
from snnir.passes import Context, Stage, parse_pipeline, run_pipeline
from snnir.runtime.inputs import calibration_data

__all__ = ["draw_samples", "optimize"]

_OPEN_SIZE = 6
"""The size of dimensions other than the batch in data that are drawn."""


def optimize(
    source: str | Path | Graph,
    pipeline: str,
    calibration: np.ndarray | Mapping[str, np.ndarray] | None = None,
    draw: int | None = None,
    check: bool = True,
    on_stage: Callable[[Stage], None] | None = None,
) -> Graph:
    """The graph in a `.ir` file (or a graph) after the passes of `pipeline`; an empty one reads and verifies it.

    Passes that look at data get `calibration`, or `draw` samples that are drawn from one seed. Raises `FileFormatError`,
    `GraphError` for a graph that the verifier refuses, `PassError` where a pass does not keep its promise, `UsageError`.
    """
    if calibration is not None and draw is not None:
        raise UsageError("give calibration data or a number of samples to draw, not both")
    graph = source if isinstance(source, Graph) else read_graph(source)
    verify(graph)
    if not pipeline.strip():
        return graph
    data = None
    if calibration is not None:
        data = calibration_data(graph, calibration)
    elif draw is not None:
        data = draw_samples(graph, draw)
    stages = run_pipeline(graph, parse_pipeline(pipeline), Context(data), check=check, on_stage=on_stage)
    return stages[-1].graph


def draw_samples(graph: Graph, count: int) -> dict[str, np.ndarray]:
    """`count` samples for every input, the same ones always."""
    generator = np.random.default_rng(0)
    arrays = {}
    for value in graph.inputs:
        sizes = {str(size): _OPEN_SIZE for size in value.type.shape if isinstance(size, Dim)} | {"N": count}
        shape = value.type.substitute(dict(sizes)).static_shape(f"input {value.name}")
        arrays[value.name] = drawn(value.type, shape, generator)
    return arrays
