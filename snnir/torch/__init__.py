"""Modules of PyTorch that snnir compiles well. PyTorch is imported when one of them is asked for.

layer = snnir.torch.IndRNN(64, 128, num_layers=2, length=100)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from snnir.errors import UsageError

if TYPE_CHECKING:
    from snnir.torch.indrnn import IndRNN

__all__ = ["IndRNN"]

_HOMES = {"IndRNN": "snnir.torch.indrnn"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'snnir.torch' has no attribute {name!r}")
    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "torch":
            raise
        raise UsageError(f"snnir.torch.{name} needs PyTorch, which is not installed: pip install 'snnir[torch]'") from error
