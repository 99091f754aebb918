"""Machine programs in PyTorch: dense trains, batched, on any device that computes in float64.

`SpikingModule` fires the same spikes at the same steps as the simulator; with a surrogate gradient it can be trained
as a spiking network. PyTorch is imported with this package, and nowhere before.
"""

from snnir.errors import UsageError

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise UsageError("the torch backend needs PyTorch: pip install 'snnir[torch]'") from error

from snnir.backends.torch_spiking.device import usable_device
from snnir.backends.torch_spiking.module import SpikingModule
from snnir.backends.torch_spiking.result import TorchResult
from snnir.backends.torch_spiking.surrogates import SURROGATES

__all__ = ["SURROGATES", "SpikingModule", "TorchResult", "usable_device"]
