"""The PyTorch backend: graphs as modules, and modules that train their own quantization.

Importing this package imports torch; nothing else of snnir does.
"""

from snnir.backends.torch.module import GraphModule, to_module

__all__ = ["GraphModule", "to_module"]
