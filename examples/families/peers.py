"""The recipes of SpikingJelly (`ann2snn`) on the committed network and the images of `measure.py`, to compare snnir's with.

    .venv-peers/bin/python -m examples.families.peers [--images 300] [--steps 4 8 16 32 64 128 256]

It runs in the environment of `make bench-peers`. One run to the last step gives the share of right answers at each of
`--steps`: the mean of what the network gave so far.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from examples.families.network import SmallResNet
from examples.vit.data import FOLDER, fashion

CALIBRATION, BATCH = 512, 64


def converted(recipe: str, network: torch.nn.Module, batches: list[torch.Tensor]) -> torch.nn.Module:
    """The network as one of SpikingJelly's, and its readout's first step as SpikingJelly estimates it."""
    from spikingjelly.activation_based.ann2snn import Converter, LocalThresholdBalancingRecipe, RateCodingRecipe

    made: Any
    if recipe == "local threshold balancing":
        made = LocalThresholdBalancingRecipe(batches)
    else:
        made = RateCodingRecipe(batches, mode="Max" if recipe == "rate coding, largest" else "99.9%")
    found: torch.nn.Module = Converter(made).convert(network)
    return found.eval()


@torch.no_grad()
def accuracies(network: torch.nn.Module, x: torch.Tensor, labels: torch.Tensor, steps: list[int], first: int) -> dict[int, float]:
    """The share of right answers after so many steps, averaged from step `first` on (from the start where that is later)."""
    from spikingjelly.activation_based.functional import reset_net

    right = dict.fromkeys(steps, 0)
    for rows in torch.arange(len(x)).split(BATCH):
        reset_net(network)
        total, late = torch.zeros(len(rows), 10), torch.zeros(len(rows), 10)
        for t in range(max(steps)):
            given = network(x[rows])
            total += given
            late += given if t >= first else 0
            if t + 1 in right:
                answers = (late if t >= first else total).argmax(1)
                right[t + 1] += int((answers == labels[rows]).sum())
    return {step: count / len(x) for step, count in right.items()}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=Path(__file__).parent / "artefacts" / "plain.pt")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--batches", type=int, default=64, help="batches of 64 images that thresholds are balanced in")
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 8, 16, 32, 64, 128, 256])
    parser.add_argument("--data", type=Path, default=FOLDER, help="the folder of Fashion-MNIST's four files")
    parser.add_argument("--output", type=Path, default=Path("out/families_peers.json"))
    given = parser.parse_args()
    from spikingjelly.activation_based.ann2snn import estimate_delay_start

    x, labels = (torch.from_numpy(array[: given.images]) for array in fashion("t10k", given.data))
    calibration = torch.from_numpy(fashion("train", given.data)[0][:CALIBRATION]).split(BATCH)
    state = torch.load(given.weights, weights_only=True)
    rows = []
    for recipe in ("rate coding, largest", "rate coding, 99.9 %", "local threshold balancing"):
        network = SmallResNet(width=given.width)
        network.load_state_dict(state)
        count = given.batches if recipe == "local threshold balancing" else len(calibration)
        batches = [calibration[index % len(calibration)] for index in range(count)]
        snn = converted(recipe, network.eval(), batches)
        firsts = {recipe: 0}
        if recipe == "local threshold balancing":
            firsts[f"{recipe}, delayed"] = estimate_delay_start(snn, batches[:4], "cpu", max(given.steps))
        for name, first in firsts.items():
            row = {"name": name, "first": first, "accuracy": accuracies(snn, x, labels, given.steps, first)}
            rows.append(row)
            print(row, flush=True)
            given.output.parent.mkdir(parents=True, exist_ok=True)
            given.output.write_text(json.dumps({"images": len(x), "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
