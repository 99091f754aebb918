"""Norse: LIFBox with subtractive reset, its leak 1e-6 of the membrane a step: its own IAF resets to 0 and loses the rest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from norse.torch import LIFBoxCell
from norse.torch.functional.lif_box import LIFBoxFeedForwardState, LIFBoxParameters
from norse.torch.functional.reset import reset_subtract

from benchmarks.peers.blocks import network
from benchmarks.task import Side, Task

LEAK = 1e-6
"""Of the membrane a step, `dt * tau_mem_inv`; currents are divided by it, so that they arrive whole."""


def _side(task: Task) -> Side:
    given = network(task)
    parameters = LIFBoxParameters(tau_mem_inv=torch.tensor(LEAK / 1e-3), reset_method=reset_subtract)
    cells = [None if block.start is None else LIFBoxCell(parameters, dt=1e-3) for block in given.blocks]

    def once() -> np.ndarray:
        with torch.inference_mode():
            states = [
                None if block.start is None else LIFBoxFeedForwardState(v=block.start.expand(task.batch, *block.start.shape))
                for block in given.blocks
            ]
            silence, total = torch.zeros_like(given.x), given.bias
            for step in range(given.steps):
                current = silence if step else given.x
                for index, (block, cell) in enumerate(zip(given.blocks, cells, strict=True)):
                    current = block.synapse(current)
                    if cell is not None:
                        current, states[index] = cell(current / LEAK, states[index])
                total = total + current
            return total.numpy()

    return Side(once, integers=True)


SIDES: dict[str, Callable[[Task], Side]] = {"Norse LIFBox": _side}
"""By name: what prepares the side for a task."""
