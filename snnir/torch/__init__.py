"""What snnir offers to users of PyTorch. Nothing is imported until it is used: `pip install snnir[torch]`."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from snnir.errors import UsageError

if TYPE_CHECKING:
    from snnir.backends.torch import GraphModule, TrainableModule, to_module
    from snnir.training import trainable

__all__ = ["GraphModule", "TrainableModule", "to_module", "trainable"]

_HOMES = {
    "GraphModule": "snnir.backends.torch",
    "TrainableModule": "snnir.backends.torch",
    "to_module": "snnir.backends.torch",
    "trainable": "snnir.training",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'snnir.torch' has no attribute {name!r}")
    if find_spec("torch") is None:
        raise UsageError(f"snnir.torch.{name} needs PyTorch: pip install snnir[torch]")
    return getattr(import_module(_HOMES[name]), name)
