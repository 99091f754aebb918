"""Look at graphs: open a model or program, and stop before and after a pass."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from snnir.compiler.importing import import_model
from snnir.errors import UsageError
from snnir.ir import Graph
from snnir.passes import Context, default_pipeline, format_pipeline, parse_pipeline, run_pipeline
from snnir.runtime.inputs import calibration_data
from snnir.runtime.program import Program

__all__ = ["around_pass", "graph_facts", "open_graph"]

_ORIGIN = ("provenance", "metadata")


def open_graph(source: Path, level: str | None) -> tuple[Graph, str, dict[str, object]]:
    """The graph of a model (as imported) or program (at `level`, spiking by default), the pipeline that goes with it, and
    where the model came from (`provenance` and `metadata`).
    """
    if source.suffix == ".snnir":
        program = Program.load(source)
        kept: dict[str, object] = {key: program.facts[key] for key in _ORIGIN if key in program.facts}
        pipeline = program.facts.pipeline or format_pipeline(default_pipeline())
        return program.graph(level or "spiking"), pipeline, kept
    if level not in (None, "float"):
        raise UsageError(f"--level {level} needs a compiled .snnir file; for a model, use --after PASS --calibration X.npy")
    origin: dict[str, object] = {}
    if source.suffix != ".pt2":
        from snnir.frontends.onnx import survey

        found = survey(source)
        origin = {"provenance": found.provenance, "metadata": dict(found.metadata)}
    return import_model(source), format_pipeline(default_pipeline()), origin


def around_pass(
    graph: Graph, pipeline: str, name: str, calibration: np.ndarray | Mapping[str, np.ndarray] | None
) -> tuple[Graph, Graph]:
    """The graphs before and after the pass called `name` (its first run; `name:2` for the second). Raises `UsageError`."""
    passes = parse_pipeline(pipeline)
    wanted, _, count = name.partition(":")
    places = [index for index, pass_ in enumerate(passes) if pass_.name == wanted]
    turn = int(count) if count.isdecimal() else 1
    if not 1 <= turn <= len(places):
        raise UsageError(f"pass {name!r} is not in the pipeline {pipeline}")
    data = None if calibration is None else calibration_data(graph, calibration)
    stages = run_pipeline(graph, passes[: places[turn - 1] + 1], Context(data), check=False)
    return (stages[-2].graph if len(stages) > 1 else graph), stages[-1].graph


def graph_facts(graph: Graph) -> dict[str, object]:
    """What a program would read of a graph."""
    return {
        "name": graph.name,
        "level": graph.level,
        "after": graph.after,
        "nodes": sum(1 for _ in graph.walk()),
        "parameters": graph.parameter_count(),
        "inputs": {value.name: str(value.type) for value in graph.inputs},
        "outputs": {name: str(value.type) for name, value in graph.outputs.items()},
    }
