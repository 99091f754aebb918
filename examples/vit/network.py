"""A small vision transformer (Dosovitskiy et al., arXiv:2010.11929) over patches of Fashion-MNIST."""

from __future__ import annotations

import torch
from torch import nn

from examples.transformers.encoder import encoder

__all__ = ["VisionTransformer"]


class VisionTransformer(nn.Module):
    """Images [N, 1, 28, 28] in patches of 7 x 7, as logits [N, 10]: pre-norm encoder layers and the mean over patches."""

    def __init__(self, width: int = 64, heads: int = 4, layers: int = 3, dropout: float = 0.05) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 7, 7)
        self.position = nn.Parameter(torch.randn(1, 16, width) * 0.02)
        self.encoder = encoder(width, heads, layers, dropout)
        self.head = nn.Linear(width, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [N, 10]."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.position
        return self.head(self.encoder(tokens).mean(1))
