"""sinabs: IAF neurons, one spike a step at most, subtractive reset; all steps of a layer at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from sinabs.activation import MembraneSubtract, SingleSpike
from sinabs.layers import IAF

from benchmarks.peers.blocks import network
from benchmarks.task import Side, Task


def _side(task: Task) -> Side:
    given = network(task)
    layers = [
        None
        if block.start is None
        else IAF(spike_fn=SingleSpike, reset_fn=MembraneSubtract(), shape=(task.batch, *block.start.shape))
        for block in given.blocks
    ]

    def once() -> np.ndarray:
        with torch.inference_mode():
            current = given.sequence().transpose(0, 1)  # [N, T, ...]
            for block, neurons in zip(given.blocks, layers, strict=True):
                flat = block.synapse(current.reshape(-1, *current.shape[2:]))
                current = flat.reshape(task.batch, given.steps, *flat.shape[1:])
                if neurons is not None:
                    neurons.v_mem = block.start.expand(task.batch, *block.start.shape).clone()
                    current = neurons(current)
            return (current.sum(1) + given.bias).numpy()

    return Side(once, integers=True)


SIDES: dict[str, Callable[[Task], Side]] = {"sinabs IAF": _side}
"""By name: what prepares the side for a task."""
