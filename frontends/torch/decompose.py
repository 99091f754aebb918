"""Taking apart operators that no handler knows, by PyTorch's own decompositions."""

from __future__ import annotations

import warnings

import torch
from torch.export import ExportedProgram

from snnir.frontends.torch.layers import KeepLayers
from snnir.frontends.torch.registry import find

__all__ = ["decomposed"]


def decomposed(program: ExportedProgram) -> ExportedProgram | None:
    """The program with unknown operators taken apart; None where PyTorch knows no decomposition of any of them."""
    used = {node.target for node in program.graph.nodes if isinstance(node.target, torch._ops.OpOverload)}
    unknown = {target for target in used if find(str(target)) is None}
    try:
        with warnings.catch_warnings(), KeepLayers():
            warnings.simplefilter("ignore")
            table: dict[object, object] = dict(torch.export.default_decompositions().items())  # type: ignore[no-untyped-call]
            # what a decomposition is made of may need one itself, but what has a handler stays whole
            chosen = {target: rule for target, rule in table.items() if find(str(target)) is None}
            return program.run_decompositions(chosen) if unknown & set(chosen) else None
    except Exception:  # a decomposition may fail on open sizes; the error about the operator itself says more
        return None
