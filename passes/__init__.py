"""Passes: each takes a graph and gives a graph, states what it promises, and is held to it."""

from snnir.passes.certify_bounds import settling_bounds
from snnir.passes.event_ranges import event_ranges
from snnir.passes.infra import PASSES, Context, Pass, Result, format_pipeline, parse_pipeline
from snnir.passes.manager import Stage, check_samples, run_pipeline
from snnir.passes.pipelines import default_pipeline, simplify
from snnir.passes.place_observers import Placed, try_observers
from snnir.passes.quantize_activations import accumulating

__all__ = [
    "PASSES",
    "Context",
    "Pass",
    "Placed",
    "Result",
    "Stage",
    "accumulating",
    "check_samples",
    "default_pipeline",
    "event_ranges",
    "format_pipeline",
    "parse_pipeline",
    "run_pipeline",
    "settling_bounds",
    "simplify",
    "try_observers",
]
