"""snnTorch: Leaky with beta 1, subtractive reset as it is by default, before the next input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import snntorch
import torch

from benchmarks.peers.blocks import network
from benchmarks.task import Side, Task


def _side(task: Task) -> Side:
    given = network(task)
    cells = [
        None if block.start is None else snntorch.Leaky(beta=1.0, threshold=1.0, reset_mechanism="subtract")
        for block in given.blocks
    ]

    def once() -> np.ndarray:
        with torch.inference_mode():
            membranes = [
                None if block.start is None else block.start.expand(task.batch, *block.start.shape).clone()
                for block in given.blocks
            ]
            silence, total = torch.zeros_like(given.x), given.bias
            for step in range(given.steps):
                current = silence if step else given.x
                for index, (block, cell) in enumerate(zip(given.blocks, cells, strict=True)):
                    current = block.synapse(current)
                    if cell is not None:
                        current, membranes[index] = cell(current, membranes[index])
                total = total + current
            return total.numpy()

    return Side(once, integers=True)


SIDES: dict[str, Callable[[Task], Side]] = {"snnTorch Leaky": _side}
"""By name: what prepares the side for a task."""
