"""Passes: each takes a graph and gives a graph, states what it promises, and is held to it.

The passes are imported when they are first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from snnir.passes.infra import Context, Pass, Result, format_pipeline

if TYPE_CHECKING:
    from snnir.passes.host_part import function_interior
    from snnir.passes.infra import PASSES, parse_pipeline
    from snnir.passes.manager import Stage, check_samples, run_pipeline
    from snnir.passes.options import CompileOptions
    from snnir.passes.pipelines import before_calibration, default_pipeline, pipeline_for, simplify
    from snnir.passes.place_observers import Placed, try_observers
    from snnir.passes.quantize_activations import accumulating

__all__ = [
    "PASSES",
    "CompileOptions",
    "Context",
    "Pass",
    "Placed",
    "Result",
    "Stage",
    "accumulating",
    "before_calibration",
    "check_samples",
    "default_pipeline",
    "format_pipeline",
    "function_interior",
    "parse_pipeline",
    "pipeline_for",
    "run_pipeline",
    "simplify",
    "try_observers",
]

_HOMES = {
    "CompileOptions": "options",
    "PASSES": "infra",
    "Placed": "place_observers",
    "Stage": "manager",
    "accumulating": "quantize_activations",
    "before_calibration": "pipelines",
    "check_samples": "manager",
    "default_pipeline": "pipelines",
    "function_interior": "host_part",
    "parse_pipeline": "infra",
    "pipeline_for": "pipelines",
    "run_pipeline": "manager",
    "simplify": "pipelines",
    "try_observers": "place_observers",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'snnir.passes' has no attribute {name!r}")
    import_module("snnir.passes.pipelines")  # registers every pass
    return getattr(import_module(f"snnir.passes.{_HOMES[name]}"), name)
