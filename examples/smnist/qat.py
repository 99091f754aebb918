"""Quantization-aware training of a float teacher, on the integer grids that are compiled afterwards.

    python -m examples.smnist.qat out/smnist/smnist-crnn.onnx --task smnist [--bits 4] [--weight-bits 8] [--epochs 4]

The float teacher distils itself into `snnir.torch.trainable` (Hinton et al., arXiv:1503.02531), with labels beside it.
Stop at any time and give the same command again to go on: a checkpoint is written every `--every` batches. The result is
a program, `<teacher>-<bits>bit.snnir`, and its curve. Validation images choose; the test set is not looked at.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import snnir
import snnir.torch
from examples.smnist.mnist import DEFAULT_FOLDER, TASKS, as_sequence, permutation, read_split
from examples.smnist.train import accuracy, augmented, sequences, write

CALIBRATION = 512
"""How many training images set the first scales."""
TEMPERATURE = 2.0


def loss_of(logits: torch.Tensor, goal: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Half distillation at temperature 2, half cross-entropy with the labels."""
    soft = nn.functional.kl_div((logits / TEMPERATURE).log_softmax(1), (goal / TEMPERATURE).softmax(1), reduction="batchmean")
    return 0.5 * TEMPERATURE**2 * soft + 0.5 * nn.functional.cross_entropy(logits, labels)


def main() -> None:
    """Train, or go on training."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("teacher", type=Path)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--weight-bits", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--augment", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=50, help="batches between checkpoints")
    parser.add_argument("--stop-after", type=int, default=0, help="batches after which to stop for now (0: none)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--output", type=Path, default=Path("out/smnist"))
    parser.add_argument("--steps", type=int, default=0, help="time this many batches, print the epoch's time from them, and stop")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    task, batch, bits = arguments.task, arguments.batch, arguments.bits
    train, validation = read_split("train", arguments.data), read_split("validation", arguments.data)
    options = {"bits": bits, "weight_bits": arguments.weight_bits}
    calibration = as_sequence(train.images[:CALIBRATION], task)
    module = snnir.torch.trainable(arguments.teacher, calibration=calibration, **options).to(device)
    teacher = snnir.torch.to_module(snnir.import_model(arguments.teacher)).to(device)
    images = torch.from_numpy(train.images.astype(np.float32) / np.float32(255)).to(device)
    labels, order = torch.from_numpy(train.labels).to(device), torch.from_numpy(permutation()).to(device)
    steps = -(-len(train) // batch)
    total = arguments.epochs * steps
    optimizer = torch.optim.Adam(module.parameters())
    name = f"{arguments.teacher.stem}-{bits}bit"
    arguments.output.mkdir(parents=True, exist_ok=True)
    checkpoint = arguments.output / f"{name}.qat.pt"
    free = ("data", "output", "every", "threads", "steps", "epochs", "stop_after")
    settings = {key: str(value) for key, value in vars(arguments).items() if key not in free}
    done, seconds, curve = 0, 0.0, list[dict[str, float | None]]()
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location=device, weights_only=False)
        if state["settings"] != settings:
            sys.exit(f"{checkpoint} was made with other settings; remove it, or choose another --output")
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        done, seconds, curve = state["done"], state["seconds"], state["curve"]
    else:
        found = accuracy(module, validation, task, device)
        print(f"{name}: teacher {100 * accuracy(teacher, validation, task, device):.2f} % of the validation images, ", end="")
        print(f"{100 * found:.2f} % at {bits} bits before training")
        curve.append({"batches": 0, "loss": None, "validation": found, "seconds": 0.0})
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, arguments.rate, total, pct_start=0.1, last_epoch=done - 1)
    started, losses = time.perf_counter(), []
    while done < total:
        epoch, position = divmod(done, steps)
        torch.manual_seed(arguments.seed * 1000 + epoch)
        chosen = torch.randperm(len(train))[position * batch : (position + 1) * batch].to(device)
        torch.manual_seed(arguments.seed * 1_000_000 + done)
        given = augmented(images[chosen]) if arguments.augment else images[chosen]
        x = sequences(given, task, order)
        with torch.no_grad():
            goal = teacher(x)
        loss = loss_of(module(x), goal, labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        done += 1
        if done == arguments.steps:
            spent = (time.perf_counter() - started) / done
            print(f"{done} batches of {batch}: an epoch of {steps} takes {spent * steps:.0f} s (extrapolated)")
            return
        if done % steps == 0:
            row = {
                "batches": done,
                "loss": float(np.mean(losses[-steps:])),
                "validation": accuracy(module, validation, task, device),
            }
            curve.append(row | {"seconds": round(seconds + time.perf_counter() - started, 1)})
            (arguments.output / f"{name}.qat.json").write_text(json.dumps(curve, indent=1) + "\n", encoding="utf-8")
            print(f"epoch {done // steps} of {arguments.epochs}: {curve[-1]}", flush=True)
        if done % arguments.every == 0 or done % steps == 0 or done == arguments.stop_after:
            state = {"module": module.state_dict(), "optimizer": optimizer.state_dict()}
            spent = seconds + time.perf_counter() - started
            write(checkpoint, state | {"done": done, "seconds": spent, "curve": curve, "settings": settings})
            print(f"  batch {done:5} of {total}, loss {np.mean(losses[-arguments.every :]):.4f}, {spent:.0f} s", flush=True)
        if done == arguments.stop_after:
            return
    program = snnir.compile(module.cpu())
    program.save(arguments.output / f"{name}.snnir")
    print(f"written: {arguments.output / f'{name}.snnir'}")


if __name__ == "__main__":
    main()
