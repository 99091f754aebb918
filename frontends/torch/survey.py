"""What an exported program says of itself before it is imported: its nodes, and which numbers are stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from snnir.errors import UsageError
from snnir.frontends.torch.export import functional
from snnir.frontends.torch.scope import origin_of
from snnir.frontends.torch.source import Source, loaded
from snnir.ir.lowering.survey import Survey, SurveyedNode

__all__ = ["survey_torch"]


def survey_torch(source: Source) -> Survey:
    """Read a program without importing it. Raises `ModelError` where it cannot be read, `UsageError` for a module."""
    program = loaded(source)
    if not isinstance(program, ExportedProgram):
        raise UsageError(
            f"check takes ONNX models and exported programs: give torch.export.export({type(program).__name__}(), example)"
        )
    name = Path(source).stem if isinstance(source, str | Path) else "model"
    specs = program.graph_signature.input_specs
    stored = frozenset(spec.arg.name for spec in specs if spec.kind != InputKind.USER_INPUT)
    made = f"torch.export, PyTorch {torch.__version__}"
    return Survey(name, made, {}, tuple(_nodes(functional(program).graph)), stored)


def _nodes(graph: torch.fx.Graph) -> Iterator[SurveyedNode]:
    for node in graph.nodes:
        if node.op == "call_function":
            takes = tuple(each.name for each in node.all_input_nodes)
            yield SurveyedNode(origin_of(node), str(node.target).removesuffix(".default"), node.name, takes, (node.name,), "")
