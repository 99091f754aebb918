"""Training of both transformers on the processor: AdamW with a one-cycle schedule, and the export to ONNX."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

__all__ = ["accuracy", "export", "fit"]

Split = tuple[np.ndarray, np.ndarray]
BATCH = 128


def fit(network: nn.Module, train: Split, epochs: int, rate: float, flip: bool) -> None:
    """Train in place; with `flip`, half of the batches are images mirrored left to right."""
    x, y = torch.from_numpy(train[0]), torch.from_numpy(train[1])
    steps = -(-len(x) // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * steps)
    for epoch in range(epochs):
        network.train()
        since, total = time.perf_counter(), 0.0
        for rows in torch.randperm(len(x)).split(BATCH):
            given = x[rows].flip(-1) if flip and torch.rand(()) < 0.5 else x[rows]
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
