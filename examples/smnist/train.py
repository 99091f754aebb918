"""Train a float teacher; stop it at any time and give the same command again to go on.

    python -m examples.smnist.train examples/smnist/configs/smnist-crnn.json [--data out/mnist] [--output out/smnist]

Adam with a one-cycle schedule; on a GPU where there is one, else on the processor with `--threads` threads. After each
epoch a checkpoint is written (weights, optimiser, random numbers) and a line of the curve: loss, validation accuracy,
seconds. After the last epoch the network is exported to ONNX. The test set is not looked at.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from examples.smnist.mnist import DEFAULT_FOLDER, Images, as_sequence, permutation, read_split
from examples.smnist.networks import Network, parameters

__all__ = ["accuracy", "augmented", "export", "network_of", "read_config", "sequences", "write"]


def read_config(path: Path) -> dict[str, object]:
    """A configuration file: a JSON object."""
    config = json.loads(path.read_text(encoding="utf-8"))
    missing = {"task", "layers", "dropout", "augment", "epochs", "batch", "rate", "decay", "seed"} - set(config)
    if missing:
        raise ValueError(f"{path} lacks {', '.join(sorted(missing))}")
    return dict(config)


def network_of(config: dict[str, object]) -> Network:
    """The untrained network of a configuration."""
    layers = config["layers"]
    assert isinstance(layers, list)
    return Network(str(config["task"]), [str(layer) for layer in layers], float(str(config["dropout"])))


def augmented(images: torch.Tensor) -> torch.Tensor:
    """Images [N, 28, 28], each turned by up to 10 degrees, scaled by up to 10 % and moved by up to 2 pixels, at random."""
    count, device = len(images), images.device
    angle = (torch.rand(count, device=device) * 2 - 1) * math.radians(10)
    scale = 1 + (torch.rand(count, device=device) * 2 - 1) * 0.1
    shift = (torch.rand(count, 2, device=device) * 2 - 1) * (2 / 14)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    maps = torch.stack([cosine, -sine, shift[:, 0], sine, cosine, shift[:, 1]], 1).view(count, 2, 3)
    grid = nn.functional.affine_grid(maps, [count, 1, 28, 28], align_corners=False)
    return nn.functional.grid_sample(images[:, None], grid, align_corners=False)[:, 0]


def sequences(images: torch.Tensor, task: str, order: torch.Tensor) -> torch.Tensor:
    """`mnist.as_sequence` for tensors [N, 28, 28] in 0 to 1; `order` is the permutation of PS-MNIST."""
    if task == "rows":
        return images
    flat = images.flatten(1)
    return (flat[:, order] if task == "psmnist" else flat).unsqueeze(2)


def accuracy(network: nn.Module, split: Images, task: str, device: str = "cpu") -> float:
    """The share of a split that the network gets right."""
    right = 0
    with torch.no_grad():
        for start in range(0, len(split), 500):
            x = torch.from_numpy(as_sequence(split.images[start : start + 500], task)).to(device)
            right += int((network(x).argmax(1).cpu().numpy() == split.labels[start : start + 500]).sum())
    return right / len(split)


def write(path: Path, state: object) -> None:
    """`torch.save`, whole or not at all."""
    torch.save(state, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)


def export(network: Network, path: Path) -> None:
    """The network in evaluation as an ONNX file with a free batch."""
    network = network.cpu().eval()
    shape = (2, 28, 28) if network.task == "rows" else (2, 784, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(shape),),
            str(path.with_suffix(".part")),
            input_names=["x"],
            output_names=["logits"],
            dynamic_axes={"x": {0: "N"}, "logits": {0: "N"}},
            dynamo=False,
        )
    os.replace(path.with_suffix(".part"), path)


def main() -> None:
    """Train, or go on training."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER)
    parser.add_argument("--output", type=Path, default=Path("out/smnist"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=0, help="in all, instead of the configuration's; the schedule goes by them")
    parser.add_argument("--stop-after", type=int, default=0, help="epochs after which to stop for now (0: none)")
    parser.add_argument("--steps", type=int, default=0, help="time this many batches, print the epoch's time from them, and stop")
    arguments = parser.parse_args()
    config, name = read_config(arguments.config), arguments.config.stem
    task, batch = str(config["task"]), int(str(config["batch"]))
    epochs = arguments.epochs or int(str(config["epochs"]))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(int(str(config["seed"])))
    train, validation = read_split("train", arguments.data), read_split("validation", arguments.data)
    images = torch.from_numpy(train.images.astype(np.float32) / np.float32(255)).to(device)
    labels = torch.from_numpy(train.labels).to(device)
    order = torch.from_numpy(permutation()).to(device)
    network = network_of(config).to(device)
    steps = -(-len(train) // batch)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=float(str(config["decay"])))
    curve: list[dict[str, float]] = []
    folder = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / f"{name}.pt"
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location=device, weights_only=False)
        if state["config"] != config:
            sys.exit(f"{checkpoint} was made with another configuration; remove it, or choose another --output")
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"].cpu())
        curve = state["curve"]
    rate, total = float(str(config["rate"])), epochs * steps
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total, pct_start=0.2, last_epoch=len(curve) * steps - 1)
    print(f"{name}: {parameters(network):,} parameters, {len(train):,} images train, {len(validation):,} validate, on {device}")
    for epoch in range(len(curve), epochs):
        network.train()
        started, sum_ = time.perf_counter(), torch.zeros((), device=device)
        for step, chosen in enumerate(torch.split(torch.randperm(len(train)).to(device), batch), 1):
            given = augmented(images[chosen]) if config["augment"] else images[chosen]
            loss = nn.functional.cross_entropy(network(sequences(given, task, order)), labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            sum_ += loss.detach() * len(chosen)
            if step == arguments.steps:
                seconds = time.perf_counter() - started
                whole = seconds / step * steps
                print(f"{step} batches of {batch}: {seconds:.1f} s, an epoch of {steps}: {whole:.0f} s (extrapolated)")
                return
        network.eval()
        row = {"loss": float(sum_) / len(train), "validation": accuracy(network, validation, task, device)}
        row["seconds"] = round(time.perf_counter() - started, 1)
        curve.append(row)
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
        write(checkpoint, state | {"random": torch.get_rng_state(), "curve": curve, "config": config})
        (folder / f"{name}.curve.json").write_text(json.dumps(curve, indent=1) + "\n", encoding="utf-8")
        print(f"epoch {epoch + 1:3} of {epochs}: {row}", flush=True)
        if epoch + 1 == arguments.stop_after:
            return
    export(network, folder / f"{name}.onnx")
    print(f"written: {folder / f'{name}.onnx'}")


if __name__ == "__main__":
    main()
