"""Train the vision transformer on Fashion-MNIST's training images, and export it to ONNX.

    python -m examples.vit.train [--epochs 10] [--output examples/vit/artefacts]

The test images are looked at once, after the last epoch. Beside the model stand vit.json, which says what was trained, and
few.npz: the first training and test images, which `tests/test_transformers.py` converts and compares.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from examples.transformers.training import accuracy, export, fit
from examples.vit.data import FOLDER, fashion
from examples.vit.network import VisionTransformer

FEW = 64
"""How many training and test images are committed."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=FOLDER, help="the folder of Fashion-MNIST's four files")
    parser.add_argument("--output", type=Path, default=Path("out/vit"))
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    train, test = fashion("train", options.data), fashion("t10k", options.data)
    network = VisionTransformer()
    fit(network, train, options.epochs, options.rate, flip=True)
    facts = {
        "epochs": options.epochs,
        "seed": options.seed,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "test_accuracy": accuracy(network, test),
    }
    options.output.mkdir(parents=True, exist_ok=True)
    export(network, train[0][:2], options.output / "vit.onnx")
    few = {"calibration": train[0][:FEW], "x": test[0][:FEW]}
    images = {name: np.rint(x * 255).astype(np.uint8) for name, x in few.items()}
    np.savez_compressed(options.output / "few.npz", **images, y=test[1][:FEW].astype(np.int8))
    (options.output / "vit.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    print(f"test accuracy {facts['test_accuracy']:.4f}")


if __name__ == "__main__":
    main()
