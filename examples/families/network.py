"""A small residual network for Fashion-MNIST: batch norm, max pooling, and one activation that a caller chooses."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

__all__ = ["Residual", "SmallResNet"]


class Residual(nn.Module):
    """`act(bn(conv(act(bn(conv(x))))) + x)` (He et al., arXiv:1512.03385)."""

    def __init__(self, width: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.inner = activation()
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        self.outer = activation()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, width, h, w], as it came."""
        y = self.inner(self.first_norm(self.first(x)))
        return self.outer(self.second_norm(self.second(y)) + x)


def widening(before: int, after: int, activation: Callable[[], nn.Module]) -> nn.Sequential:
    """A convolution to more channels, and the largest of every 2 x 2 of its activations."""
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), activation(), nn.MaxPool2d(2))


class SmallResNet(nn.Module):
    """Images [N, 1, 28, 28] as logits [N, 10]; `width` channels of the first stage, twice as many of the second."""

    def __init__(self, activation: Callable[[], nn.Module] = nn.ReLU, width: int = 32) -> None:
        super().__init__()
        self.features = nn.Sequential(
            widening(1, width, activation),
            Residual(width, activation),
            widening(width, 2 * width, activation),
            Residual(2 * width, activation),
            nn.AvgPool2d(7),
        )
        self.head = nn.Linear(2 * width, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [N, 10]."""
        return self.head(self.features(images).flatten(1))
