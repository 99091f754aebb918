"""Few bits without losing digits: the CRNN of the demo at 4, 3 and 2 bits, converted as it is and trained for it.

    python examples/qat/digits.py [--bits 4 3 2] [--weight-bits 4] [--epochs 150] [--seed 0] [--output qat-digits]

For each number of bits of the activations: post-training quantization (`snnir.compile`), then quantization-aware training
(`snnir.torch.trainable`, an ordinary loop, `snnir.compile`). Training data are the digits that the CRNN itself was trained
on (`examples/digits/train.py`, same split); the held-out third chooses nothing. Prints a table, and writes it as JSON and
as a picture: accuracy against bits, steps and spikes.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import snnir
import snnir.torch

BATCH, TEMPERATURE = 64, 2.0


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images for training, images and labels held out: the split of `examples/digits/train.py`."""
    data = load_digits()
    images = (data.images / 16).astype(np.float32)
    x, test, _, answers = train_test_split(
        images, data.target.astype(np.int64), test_size=1 / 3, random_state=2408, stratify=data.target
    )
    return x, test, answers


def train(module: nn.Module, teacher: nn.Module, x: np.ndarray, epochs: int, what: str) -> None:
    """Distil the float network (Hinton et al., arXiv:1503.02531): Adam with a one-cycle schedule.

    Half of the digits are shifted by up to a pixel, all have a little noise; labels are not needed.
    """
    inputs = torch.from_numpy(x)
    optimizer = torch.optim.Adam(module.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=epochs * -(-len(x) // BATCH))
    started = time.perf_counter()
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(x)).split(BATCH):
            images = shifted(inputs[chosen])
            images = (images + 0.05 * torch.randn_like(images)).clamp(0, 1)
            with torch.no_grad():
                goal = (teacher(images) / TEMPERATURE).softmax(1)
            found = (module(images) / TEMPERATURE).log_softmax(1)
            loss = TEMPERATURE**2 * nn.functional.kl_div(found, goal, reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(chosen)
        if (epoch + 1) % 25 == 0 or epoch + 1 == epochs:
            seconds = time.perf_counter() - started
            print(f"  {what}: epoch {epoch + 1:3} of {epochs}, loss {total / len(x):.4f}, {seconds:.0f} s", flush=True)


def shifted(images: torch.Tensor) -> torch.Tensor:
    """Half of the images moved by -1, 0 or 1 pixel along both axes, zeros coming in."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    moved = torch.rand(len(images), 1, 1) < 0.5
    down, right = (torch.where(moved, torch.randint(0, 3, (len(images), 1, 1)), 1) for _ in range(2))
    rows, columns = torch.arange(8).view(1, 8, 1) + down, torch.arange(8).view(1, 1, 8) + right
    return padded[torch.arange(len(images)).view(-1, 1, 1), rows, columns]


def measure(program: snnir.Program, test: np.ndarray, answers: np.ndarray) -> dict[str, float | int]:
    """Accuracy, steps and spikes of the spiking network, and the integers that are not those of the reference."""
    result, verification = program.run(test), program.verify(test)
    (logits,) = result.outputs.values()
    return {
        "accuracy": float((logits.argmax(1) == answers).mean()),
        "steps": float(result.steps.mean()),
        "spikes": float(result.total_spikes.mean()),
        "mismatches": int(verification.mismatches),
    }


def different_outputs(module: nn.Module, program: snnir.Program, test: np.ndarray) -> int:
    """How many outputs of the module are not bit for bit those of the spiking network."""
    with torch.no_grad():
        logits = module(torch.from_numpy(test)).numpy()
    return int((logits != next(iter(program.run(test).outputs.values()))).sum())


def picture(rows: list[dict[str, object]], goal: float, path: Path) -> None:
    """Accuracy against bits, steps and spikes, before and after training."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    labels = {"bits": "bits of activations", "steps": "inner time-steps per window, mean", "spikes": "spikes per digit"}
    for index, (key, label) in enumerate(labels.items(), 1):
        axes = figure.add_subplot(1, 3, index)
        axes.axhline(100 * goal, color="0.6", linestyle="--", label="float network")
        for method, marker in (("PTQ", "s"), ("QAT", "o")):
            chosen = [row for row in rows if row["method"] == method]
            axes.plot(
                [row[key] for row in chosen], [100 * float(str(row["accuracy"])) for row in chosen], marker=marker, label=method
            )
            for row in chosen:
                axes.annotate(f"{row['bits']}", (row[key], 100 * row["accuracy"]), textcoords="offset points", xytext=(4, -11))
        axes.set_xlabel(label)
    figure.axes[0].set_ylabel("accuracy (%)")
    figure.axes[0].legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Convert, train, convert, measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bits", type=int, nargs="+", default=[4, 3, 2])
    parser.add_argument("--weight-bits", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("qat-digits"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the tensors are small, and one thread gives the same sums on every machine size
    x, test, answers = digits()
    with as_file(files("snnir") / "data" / "digits-crnn.onnx") as path:
        model = path.read_bytes()
    teacher = snnir.torch.to_module(snnir.import_model(model))
    with torch.no_grad():
        goal = float((teacher(torch.from_numpy(test)).argmax(1).numpy() == answers).mean())
    print(f"{len(x)} digits for training, {len(test)} held out; accuracy of the float network {100 * goal:.2f} %")
    rows: list[dict[str, object]] = []
    for bits in arguments.bits:
        options = {"calibration": x[:400], "bits": bits, "weight_bits": arguments.weight_bits}
        torch.manual_seed(arguments.seed)
        module = snnir.torch.trainable(model, **options)
        converted = snnir.compile(model, **options)
        rows.append({"method": "PTQ", "bits": bits, **measure(converted, test, answers)})
        rows[-1]["module"] = different_outputs(module, converted, test)
        train(module, teacher, x, arguments.epochs, f"{bits}-bit activations, {arguments.weight_bits}-bit weights")
        trained = snnir.compile(module)
        rows.append({"method": "QAT", "bits": bits, **measure(trained, test, answers)})
        rows[-1]["module"] = different_outputs(module, trained, test)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "digits.json").write_text(json.dumps({"float": goal, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    picture(rows, goal, arguments.output / "digits.png")
    print(f"{'bits':>4}  {'method':6} {'accuracy':>9} {'steps':>7} {'spikes':>8} {'mismatches':>11} {'not the module':>15}")
    for row in sorted(rows, key=lambda row: (-int(str(row["bits"])), str(row["method"]))):
        print(
            f"{row['bits']:>4}  {row['method']:6} {100 * row['accuracy']:>7.2f} % {row['steps']:>7.1f} {row['spikes']:>8.1f} "
            f"{row['mismatches']:>11} {row['module']:>15}"
        )
    print(f"written: {arguments.output / 'digits.json'}, {arguments.output / 'digits.png'}")


if __name__ == "__main__":
    main()
