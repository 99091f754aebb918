"""What the two transformers share: pre-norm encoder layers of PyTorch, closed by a layer normalisation."""

from __future__ import annotations

from torch import nn

__all__ = ["encoder"]


def encoder(width: int, heads: int, layers: int, dropout: float) -> nn.TransformerEncoder:
    """Layers over [N, T, width] with GELU and hidden layers twice as wide."""
    layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
