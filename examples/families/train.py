"""Train the residual network on Fashion-MNIST's training images, and export it to ONNX.

    python -m examples.families.train [--epochs 12] [--width 32] [--ceiling 0] [--start FILE] [--output out/families]

With `--ceiling` activations are cut at so much (`snnir.torch.ClippedReLU`, after Deng and Gu, ICLR 2021); `--start` goes on from
weights that an earlier run left. The test images are looked at once, after the last epoch.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import torch
from torch import nn

from examples.families.network import SmallResNet
from examples.transformers.training import accuracy, export, fit
from examples.vit.data import FOLDER, fashion
from snnir.torch import ClippedReLU


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--ceiling", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="weights of an earlier run (.pt)")
    parser.add_argument("--data", type=Path, default=FOLDER, help="the folder of Fashion-MNIST's four files")
    parser.add_argument("--output", type=Path, default=Path("out/families"))
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    train, test = fashion("train", options.data), fashion("t10k", options.data)
    activation = partial(ClippedReLU, options.ceiling) if options.ceiling else nn.ReLU
    network = SmallResNet(activation, options.width)
    if options.start is not None:
        network.load_state_dict(torch.load(options.start, weights_only=True))
    fit(network, train, options.epochs, options.rate, flip=True)
    name = "clipped" if options.ceiling else "plain"
    options.output.mkdir(parents=True, exist_ok=True)
    export(network.cpu(), train[0][:2], options.output / f"{name}.onnx")
    torch.save(network.state_dict(), options.output / f"{name}.pt")
    facts = {
        **{key: getattr(options, key) for key in ("epochs", "width", "ceiling", "rate", "seed")},
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "test_accuracy": accuracy(network, test),
    }
    (options.output / f"{name}.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    print(f"test accuracy {facts['test_accuracy']:.4f}")


if __name__ == "__main__":
    main()
