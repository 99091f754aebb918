"""Which composite operators `ExportedProgram.run_decompositions` keeps whole: those that snnir may want.

PyTorch keeps every composite operator that its table does not name, and changes the dispatch of some 500 of them before,
and back after, each program: most of the time that a small program takes. Only those of the program and those
with a handler matter here. PyTorch has no public option for it; where its own function is not found, all are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch.export.exported_program as exported
from torch.export import ExportedProgram

from snnir.frontends.torch.registry import find

__all__ = ["few_composites"]

_COLLECT = "_collect_all_valid_cia_ops"


@cache
def _handled(collect: Any) -> frozenset[Any]:
    """Composite operators that a handler imports as they are."""
    return frozenset(operator for operator in collect() if find(str(operator)) is not None)


def _used(program: ExportedProgram) -> set[object]:
    """Operators of a program, bodies included."""
    modules = [module for module in program.graph_module.modules() if isinstance(module, torch.fx.GraphModule)]
    targets = {node.target for module in modules for node in module.graph.nodes}
    return {target for target in targets if isinstance(target, torch._ops.OpOverload)}


@contextmanager
def few_composites(program: ExportedProgram) -> Iterator[None]:
    """Within this context, PyTorch keeps whole only the composite operators that `program` uses or that have a handler."""
    collect: object = getattr(exported, _COLLECT, None)
    keeps: Any = getattr(getattr(torch, "_export").utils, "_is_preservable_cia_op", None)  # noqa: B009
    if collect is None or keeps is None:
        yield
        return
    kept = _handled(collect) | {operator for operator in _used(program) if keeps(operator)}
    setattr(exported, _COLLECT, lambda: kept)
    try:
        yield
    finally:
        setattr(exported, _COLLECT, collect)
