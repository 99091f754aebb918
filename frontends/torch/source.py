"""What a model of PyTorch may be given as, and names for the parts of what it returns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree

from snnir.errors import ModelError

__all__ = ["Source", "loaded", "named"]

Source = torch.nn.Module | torch.export.ExportedProgram | str | Path
"""A module, an exported program, or the path of a `.pt2` file that `torch.export.save` wrote."""


def loaded(source: Source) -> torch.nn.Module | torch.export.ExportedProgram:
    """The module or program itself. Raises `ModelError` for a file that cannot be read."""
    if not isinstance(source, str | Path):
        return source
    from snnir.frontends.torch import layers as layers  # files may hold its operators

    if not Path(source).is_file():
        raise ModelError(f"{source} does not exist")
    try:
        return torch.export.load(str(source))
    except Exception as error:  # a damaged archive may raise anything
        raise ModelError(f"{source} cannot be read as an exported program; write one with torch.export.save ({error})") from error


def named(result: object) -> dict[str, Any]:
    """The parts of what a model returns, by name: `output` where it is one tensor, `output_0`, ... of a tuple, keys of a
    dict; nested ones are joined by underscores.
    """
    leaves, _ = pytree.tree_flatten_with_path(result)
    found = {}
    for path, leaf in leaves:
        words = [str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path]
        if not path or isinstance(path[0], pytree.SequenceKey):
            words.insert(0, "output")
        found["_".join(words)] = leaf
    return found
