"""Two small transformers: a ViT over patches of Fashion-MNIST, and a BERT-like encoder of sentences."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["SentenceEncoder", "VisionTransformer"]


def _encoder(width: int, heads: int, layers: int, dropout: float) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)


class VisionTransformer(nn.Module):
    """Images [N, 1, 28, 28] in patches of 7 x 7, as classes [N, 10]: pre-norm encoder layers and the mean over patches."""

    def __init__(self, width: int = 64, heads: int = 4, layers: int = 3, dropout: float = 0.1) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 7, 7)
        self.position = nn.Parameter(torch.randn(1, 16, width) * 0.02)
        self.encoder = _encoder(width, heads, layers, dropout)
        self.head = nn.Linear(width, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [N, 10]."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.position
        return self.head(self.encoder(tokens).mean(1))


class SentenceEncoder(nn.Module):
    """Words [N, 32] (0: none) as classes [N, 2]: learned embeddings, padding masked in every layer, the mean over words."""

    def __init__(
        self, words: int, width: int = 64, heads: int = 4, layers: int = 2, length: int = 32, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=0)
        self.position = nn.Parameter(torch.randn(1, length, width) * 0.02)
        self.encoder = _encoder(width, heads, layers, dropout)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, 2)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """Logits [N, 2]."""
        there = words != 0
        states = self.encoder(self.dropout(self.embedding(words) + self.position), src_key_padding_mask=~there)
        weights = there.unsqueeze(-1).to(states.dtype)
        return self.head(self.dropout((states * weights).sum(1) / weights.sum(1).clamp(min=1)))
