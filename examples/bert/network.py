"""A small encoder of sentences in the manner of BERT (Devlin et al., arXiv:1810.04805), over fixed word vectors."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from examples.transformers.encoder import encoder

__all__ = ["SentenceEncoder"]


class SentenceEncoder(nn.Module):
    """Words [N, T] (0: none) as logits [N, 2]: padding is masked in every layer, and left out of the mean over words.

    `vectors` [words, 50] stay as they are, in half precision.
    """

    vectors: torch.Tensor

    def __init__(
        self, vectors: np.ndarray, width: int = 64, heads: int = 4, layers: int = 2, length: int = 32, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.from_numpy(vectors.astype(np.float16)))
        self.inward = nn.Linear(vectors.shape[1], width)
        self.position = nn.Parameter(torch.randn(1, length, width) * 0.02)
        self.encoder = encoder(width, heads, layers, dropout)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, 2)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """Logits [N, 2]."""
        there = words != 0
        states = self.inward(self.dropout(nn.functional.embedding(words, self.vectors).float())) + self.position
        states = self.encoder(states, src_key_padding_mask=~there)
        weights = there.unsqueeze(-1).to(states.dtype)
        return self.head(self.dropout((states * weights).sum(1) / weights.sum(1).clamp(min=1)))
