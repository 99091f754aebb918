"""Dynamically quantized layers of PyTorch as the real ones that their integers stand for.

`torch.ao.quantization.quantize_dynamic` puts modules in the place of Linear, LSTM and GRU that quantize their inputs anew in
every call. Their weights are unpacked, and the float layers stand there again.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["requantized"]


def requantized(model: Any) -> tuple[Any, int]:
    """A copy of a module with real layers, and how many of them there are; what is no module as it is, and 0."""
    if not isinstance(model, torch.nn.Module):
        return model, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _real(model)
        if found is not None:
            return found.eval(), 1
        read = copy.deepcopy(model)
        count = _replace(read)
    return (read.eval(), count) if count else (model, 0)


def _replace(module: torch.nn.Module) -> int:
    """Put real layers in the place of quantized ones below `module`; how many."""
    count = 0
    for name, child in list(module.named_children()):
        real = _real(child)
        if real is None:
            count += _replace(child)
        else:
            setattr(module, name, real)
            count += 1
    return count


def _real(module: torch.nn.Module) -> torch.nn.Module | None:
    """The float layer that a dynamically quantized one stands for; None for all others."""
    kind = f"{type(module).__module__}.{type(module).__name__}"
    if ".quantized.dynamic." not in kind:
        return None
    make = _LAYERS.get(type(module).__name__)
    return None if make is None else make(module)


def _linear(module: Any) -> torch.nn.Module:
    weight, bias = module.weight(), module.bias()
    real = torch.nn.Linear(module.in_features, module.out_features, bias is not None)
    with torch.no_grad():
        real.weight.copy_(_dequantized(weight))
        if bias is not None:
            real.bias.copy_(bias)
    return real


def _recurrent(kind: Callable[..., torch.nn.RNNBase]) -> Callable[[Any], torch.nn.Module]:
    def layer(module: Any) -> torch.nn.Module:
        real = kind(
            module.input_size,
            module.hidden_size,
            module.num_layers,
            bias=module.bias,
            batch_first=module.batch_first,
            dropout=module.dropout,
            bidirectional=module.bidirectional,
        )
        parameters = {**module.get_weight(), **(module.get_bias() if module.bias else {})}
        with torch.no_grad():
            for name, parameter in real.named_parameters():
                parameter.copy_(_dequantized(parameters[name]))
        return real

    return layer


def _dequantized(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.dequantize() if tensor.is_quantized else tensor.float()


_LAYERS: dict[str, Callable[[Any], torch.nn.Module]] = {
    "Linear": _linear,
    "LinearReLU": lambda module: torch.nn.Sequential(_linear(module), torch.nn.ReLU()),
    "LSTM": _recurrent(torch.nn.LSTM),
    "GRU": _recurrent(torch.nn.GRU),
}
