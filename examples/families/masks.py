"""A dense output as rate-coded spikes: the mask of a garment before a noisy background, by intersection over union.

    python -m examples.families.masks --train                      # needs torch; writes artefacts/masks.onnx
    python -m examples.families.masks [--images 40] [--steps 8 16 32 64]

Images are Fashion-MNIST's over noise that is made here; the mask is where the garment is brighter than 0.1. Outputs are averaged
from step T/2 on, as Bu, Li and Yu (arXiv:2409.03368) do for segmentation.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import snnir
from examples.vit.data import FOLDER, fashion

MODEL = Path(__file__).parent / "artefacts" / "masks.onnx"
TRAINED, CALIBRATION = 6000, 256


def scenes(split: str, count: int, seed: int, folder: Path = FOLDER) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [n, 1, 28, 28] in 0..1, and masks of the same shape, 0 and 1."""
    garments = fashion(split, folder)[0][:count]
    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 0.6, (count, 1, 7, 7)).repeat(4, axis=2).repeat(4, axis=3)
    fine = random.uniform(0, 0.3, garments.shape)
    masks = garments > 0.1
    return np.where(masks, garments, coarse + fine).astype(np.float32), masks.astype(np.float32)


def overlap(outputs: np.ndarray, masks: np.ndarray) -> float:
    """The mean over images of intersection over union, where outputs above 0 are the mask."""
    found, true = outputs > 0, masks > 0
    axes = tuple(range(1, masks.ndim))
    return float(((found & true).sum(axis=axes) / np.maximum((found | true).sum(axis=axes), 1)).mean())


def train(folder: Path) -> None:
    """Train three convolutions, and export them."""
    import torch
    from torch import nn

    from examples.transformers.training import export

    torch.manual_seed(0)
    x, masks = (torch.from_numpy(array) for array in scenes("train", TRAINED, 0, folder))
    network = nn.Sequential(
        *(nn.Conv2d(1, 8, 5, padding=2), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 5, padding=2), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Conv2d(8, 1, 5, padding=2),
    )
    optimiser = torch.optim.AdamW(network.parameters(), 5e-3)
    for epoch in range(3):
        total = 0.0
        for rows in torch.randperm(len(x)).split(64):
            loss = nn.functional.binary_cross_entropy_with_logits(network(x[rows]), masks[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += float(loss.detach()) * len(rows)
        print(f"epoch {epoch + 1}: loss {total / len(x):.4f}", flush=True)
    export(network, x[:2].numpy(), MODEL)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--steps", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--data", type=Path, default=FOLDER, help="the folder of Fashion-MNIST's four files")
    parser.add_argument("--output", type=Path, default=Path("out/families_masks.json"))
    given = parser.parse_args()
    if given.train:
        train(given.data)
        return
    x, masks = scenes("t10k", given.images, 1, given.data)
    calibration = scenes("train", CALIBRATION, 2, given.data)[0]
    cases: list[tuple[str, dict[str, Any]]] = [("exact few-spikes, 4 bits", {"neuron": "few-spikes"})]
    for steps in given.steps:
        clock = {"neuron": "if", "steps": steps}
        cases.append((f"largest activation, T = {steps}", {**clock, "method": "minmax"}))
        cases.append(
            (f"balanced channels, from T/2, T = {steps}", {**clock, "method": "balance-channels", "first_step": steps // 2})
        )
    rows: list[dict[str, Any]] = []
    for name, options in cases:
        program = snnir.compile(MODEL, calibration=calibration, check=False, **options)
        if not rows:
            rows.append({"name": "float", "iou": overlap(next(iter(program.reference(x, "float").values())), masks)})
        result = program.run(x)
        iou = overlap(next(iter(result.outputs.values())), masks)
        rows.append({"name": name, "iou": iou, "spikes": float(result.total_spikes.mean())})
        print(rows[-1], flush=True)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps({"images": len(x), "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
