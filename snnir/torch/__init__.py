"""What snnir offers to users of PyTorch, which is imported when something of it is asked for: `pip install snnir[torch]`.

layer = snnir.torch.IndRNN(64, 128, num_layers=2, length=100)
net = snnir.torch.trainable(graph, bits=3, weight_bits=4, calibration=x)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from snnir.errors import UsageError

if TYPE_CHECKING:
    from snnir.backends.torch import GraphModule, TrainableModule, to_module
    from snnir.compiler.training import trainable
    from snnir.torch.clipped import ClippedReLU
    from snnir.torch.indrnn import IndRNN

__all__ = ["ClippedReLU", "GraphModule", "IndRNN", "TrainableModule", "to_module", "trainable"]

_HOMES = {
    "ClippedReLU": "snnir.torch.clipped",
    "GraphModule": "snnir.backends.torch",
    "IndRNN": "snnir.torch.indrnn",
    "TrainableModule": "snnir.backends.torch",
    "to_module": "snnir.backends.torch",
    "trainable": "snnir.compiler.training",
}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'snnir.torch' has no attribute {name!r}")
        try:
            import_module("torch")
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] != "torch":
                raise
            raise UsageError(f"snnir.torch.{name} needs PyTorch, which is not installed: pip install 'snnir[torch]'") from error
        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
