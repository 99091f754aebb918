"""Fashion-MNIST (Xiao, Rasul and Vollgraf, arXiv:1708.07747) as Debian's package dataset-fashion-mnist installs it."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

__all__ = ["FOLDER", "fashion"]

FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's dataset-fashion-mnist lies."""


def fashion(split: str, folder: Path = FOLDER) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [n, 1, 28, 28] in 0..1 and classes int64 [n]; `split` is `train` or `t10k`."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is not there; install Debian's dataset-fashion-mnist, or name the folder of its four files"
        )
    with gzip.open(folder / f"{split}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(folder / f"{split}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return images.astype(np.float32) / 255, labels.astype(np.int64)
