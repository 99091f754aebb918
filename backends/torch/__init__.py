"""The PyTorch backend: graphs as modules, and modules that train their own quantization.

Importing this package imports torch; nothing else of snnir does.
"""

from snnir.backends.torch.module import GraphModule, to_module
from snnir.backends.torch.trainable import TrainableModule

__all__ = ["GraphModule", "TrainableModule", "to_module"]
