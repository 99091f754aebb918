"""The teachers: strided causal convolutions over the sequence, IndRNN layers, a classifier at the last element."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

import snnir.torch
from examples.smnist.mnist import TASKS

__all__ = ["Convolution", "Network", "Recurrent", "parameters", "parse_layer"]


@dataclass(frozen=True)
class Convolution:
    """`channels` maps of `kernel` elements, one every `stride` elements, looking back only; batch norm and ReLU."""

    channels: int
    kernel: int
    stride: int


@dataclass(frozen=True)
class Recurrent:
    """An IndRNN layer of `hidden` neurons with batch norm of its input."""

    hidden: int


def parse_layer(words: str) -> Convolution | Recurrent:
    """A layer of a configuration: `conv CHANNELS KERNEL STRIDE` or `indrnn HIDDEN`. Raises `ValueError`."""
    kind, *numbers = words.split()
    given = [int(number) for number in numbers]
    if kind == "conv" and len(given) == 3 and given[1] >= given[2] >= 1:
        return Convolution(*given)
    if kind == "indrnn" and len(given) == 1:
        return Recurrent(*given)
    raise ValueError(f"layer {words!r}: write `conv CHANNELS KERNEL STRIDE` (KERNEL at least STRIDE) or `indrnn HIDDEN`")


class Network(nn.Module):
    """x [N, T, inputs] to logits [N, 10]."""

    def __init__(self, task: str, layers: list[str], dropout: float = 0.0) -> None:
        super().__init__()
        if task not in TASKS:
            raise ValueError(f"task {task!r}; choose one of {', '.join(TASKS)}")
        length, size = (28, 28) if task == "rows" else (784, 1)
        self.task = task
        self.kinds = [parse_layer(words) for words in layers]
        self.layers = nn.ModuleList()
        self.dropout = dropout
        for kind in self.kinds:
            if isinstance(kind, Convolution):
                length = -(-length // kind.stride)
                convolution = nn.Conv2d(size, kind.channels, (1, kind.kernel), (1, kind.stride), bias=False)
                self.layers.append(nn.Sequential(convolution, nn.BatchNorm2d(kind.channels)))
                size = kind.channels
            else:
                self.layers.append(snnir.torch.IndRNN(size, kind.hidden, batch_norm="input", length=length))
                size = kind.hidden
        self.length = length
        self.classifier = nn.Linear(size, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits after the last element."""
        for kind, layer in zip(self.kinds, self.layers, strict=True):
            if isinstance(kind, Convolution):
                x = functional.pad(x, (0, 0, kind.kernel - kind.stride, 0)).transpose(1, 2).unsqueeze(2)
                # a picture of one row, channels last in memory: no copies, and the fastest batch norm
                x = torch.relu(layer(x)).squeeze(2).transpose(1, 2)
            else:
                x, _ = layer(x)
            if self.training and self.dropout:  # one mask for all elements of a sequence (arXiv:1512.05287)
                keep = torch.full((x.shape[0], 1, x.shape[2]), 1 - self.dropout, device=x.device)
                x = x * (torch.bernoulli(keep) / (1 - self.dropout))
        logits: torch.Tensor = self.classifier(x[:, -1])
        return logits


def parameters(network: nn.Module) -> int:
    """The number of trained values."""
    return sum(parameter.numel() for parameter in network.parameters())
