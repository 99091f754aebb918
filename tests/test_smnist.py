"""The S-MNIST example: its data, its committed teachers, and that what was stopped goes on to the same numbers."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

import snnir
from examples.smnist import evaluate, measure, mnist, propagation
from examples.smnist.measure import Line
from snnir.errors import UsageError

Few = tuple[np.ndarray, np.ndarray]
"""Images and labels."""

TEACHERS = sorted(evaluate.teachers())


def write_idx(path: Path, array: np.ndarray) -> None:
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 40), ("t10k", 12)):
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte", rng.integers(0, 256, (count, 28, 28)))
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte", np.arange(count) % 10)
    return tmp_path


@pytest.fixture(scope="module")
def few() -> Few:
    with np.load(evaluate.ARTEFACTS / "few.npz") as file:
        return file["images"], file["labels"]


def test_splits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "VALIDATION", 15)
    train, validation, test = (mnist.read_split(name, folder) for name in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (25, 15, 12)
    assert validation.labels.tolist() == [index % 10 for index in range(25, 40)]
    whole = mnist.read_idx(folder / "train-images-idx3-ubyte")
    np.testing.assert_array_equal(np.concatenate([train.images, validation.images]), whole)


def test_files_that_are_not_what_they_say(folder: Path) -> None:
    path = folder / "train-images-idx3-ubyte"
    whole = path.read_bytes()
    for content, message in (
        (whole[:-1], r"says \(40, 28, 28\), 31360 bytes, and holds 31359"),
        (b"\x1f\x8b\x08\x00", "1f8b0800"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            mnist.read_split("train", folder)
    path.unlink()
    with pytest.raises(ValueError, match="make mnist-data"):
        mnist.read_split("train", folder)
    with pytest.raises(ValueError, match="choose train, validation or test"):
        mnist.read_split("all", folder)


def test_sequences() -> None:
    images = np.arange(2 * 784, dtype=np.uint8).reshape(2, 28, 28)
    order = mnist.permutation()
    assert order[:8].tolist() == [394, 591, 418, 255, 652, 267, 657, 637]
    assert sorted(order) == list(range(784))
    pixels, permuted, rows = (mnist.as_sequence(images, task) for task in mnist.TASKS)
    assert pixels.shape == permuted.shape == (2, 784, 1) and rows.shape == (2, 28, 28)
    np.testing.assert_array_equal(permuted, pixels[:, order])
    np.testing.assert_array_equal(rows.reshape(2, 784, 1), pixels)
    np.testing.assert_array_equal(mnist.as_sequence(images / np.float32(255), "smnist"), pixels)
    with pytest.raises(ValueError, match="choose one of smnist, psmnist, rows"):
        mnist.as_sequence(images, "columns")


@pytest.mark.parametrize("name", TEACHERS)
def test_a_committed_teacher_is_exact(name: str, few: Few) -> None:
    images, labels = few
    onnx, trained = evaluate.teachers()[name]
    assert all(path.stat().st_size < 5e6 for path in (onnx, *trained.values()))
    program, x = snnir.load(trained[evaluate.MAIN]), mnist.as_sequence(images, name)
    for delivery, execution in (("relay", "reset"), ("replay", "reset"), ("graded", "carry")):
        verification = program.verify(x, delivery=delivery, execution=execution)
        assert verification.mismatches == 0 and verification.within_bounds
        assert verification.compared > 10_000 * len(x)
    (logits,) = program.run(x).outputs.values()
    assert (logits.argmax(1) == labels).mean() > 0.9
    assert evaluate.float_accuracy(onnx, x, labels) > 0.9
    curves = propagation.propagation(program, x[:4])["curves"]
    assert isinstance(curves, list)
    with pytest.raises(UsageError, match="the torch backend charges inputs as s-analog only"):
        program.run(x, steps=4, encoding="m-analog", backend="torch")
    settled, few_steps = ([max(map(max, curve["layers"].values())) for curve in curves][index] for index in (0, 1))
    assert settled == 0 < few_steps


def test_a_stopped_evaluation_goes_on(tmp_path: Path, few: Few, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = few
    x, labels = mnist.as_sequence(images, TEACHERS[0])[:12], labels[:12]
    line = Line("main", snnir.load(evaluate.teachers()[TEACHERS[0]][1][evaluate.MAIN]), "source")
    monkeypatch.setattr(measure, "CHUNK", 4)
    whole = measure.measure(line, x, labels, tmp_path / "whole", 1)

    def stop(done: int, total: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure.measure(line, x, labels, tmp_path / "parts", 1, stop)
    kept = json.loads((tmp_path / "parts" / "main.json").read_text())["chunks"]
    assert sorted(kept) == ["0", "4"]
    run, calls = measure._chunk, []

    def counted(line: Line, x: np.ndarray, labels: np.ndarray, threads: int) -> dict[str, float]:
        calls.append(len(x))
        return run(line, x, labels, threads)

    monkeypatch.setattr(measure, "_chunk", counted)
    parts = measure.measure(line, x, labels, tmp_path / "parts", 1)
    assert len(calls) == 1, "the chunks that were kept are not run again"
    assert {key: value for key, value in parts.items() if "seconds" not in key} == {
        key: value for key, value in whole.items() if "seconds" not in key
    }
    row = measure.summary(line, parts, x)
    assert (row["images"], row["mismatches"], row["within_bounds"]) == (12, 0, True)
    assert row["quantized"] == row["spiking"]
    other = measure.measure(line, 1 - x, labels, tmp_path / "parts", 1)
    assert len(calls) == 4 and other["spikes"] != parts["spikes"], "other images, nothing kept counts"


def test_a_stopped_training_goes_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from examples.smnist import train

    monkeypatch.setattr(mnist, "VALIDATION", 15)
    layers = ["conv 4 3 2", "indrnn 8"]
    config = {
        "task": "rows",
        "layers": layers,
        "dropout": 0.1,
        "augment": True,
        "epochs": 3,
        "batch": 10,
        "rate": 0.01,
        "seed": 0,
    }
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(config | {"decay": 0.0, "seed": 0}))

    def run(output: str, *more: str) -> dict[str, torch.Tensor]:
        words = ["train", str(path), "--data", str(folder), "--output", str(tmp_path / output), *more]
        monkeypatch.setattr(sys, "argv", words)
        train.main()
        state: dict[str, torch.Tensor] = torch.load(tmp_path / output / "tiny.pt", weights_only=False)["network"]
        return state

    whole = run("whole")
    run("parts", "--stop-after", "1")
    assert not (tmp_path / "parts" / "tiny.onnx").exists()
    parts = run("parts")
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=0, atol=0, msg=name)
    x = mnist.as_sequence(mnist.read_split("test", folder).images, "rows")
    program = snnir.compile(tmp_path / "parts" / "tiny.onnx", calibration=x)
    assert program.verify(x).ok
