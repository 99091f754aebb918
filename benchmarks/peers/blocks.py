"""A chain as PyTorch synapses in float32, with thresholds of 1: weights and starts are divided by theta, channel by channel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.chain import load
from benchmarks.task import CannotError, Task

__all__ = ["Block", "Network", "network"]

HALF = 0.5
"""Added to every start on the integer grid: no sum lies on a threshold any more, so that rounding of float32 decides nothing."""


@dataclass(frozen=True)
class Block:
    """Synapses, then neurons with threshold 1; the last block has no neurons."""

    synapse: nn.Module
    start: torch.Tensor | None
    """V(0) of one sample's neurons."""
    hi: int = 0


@dataclass(frozen=True)
class Network:
    """Blocks, the input [N, ...] (integer levels, charged at step 0; zeros after) and the bias added to the readout."""

    blocks: list[Block]
    x: torch.Tensor
    bias: torch.Tensor
    steps: int

    def sequence(self) -> torch.Tensor:
        """The input of all steps [T, N, ...]."""
        sequence = torch.zeros(self.steps, *self.x.shape)
        sequence[0] = self.x
        return sequence


def network(task: Task) -> Network:
    """Build the network of a task. Raises `CannotError` with the reason why it is not a chain."""
    torch.set_num_threads(task.threads)
    torch.set_grad_enabled(False)
    path = task.folder / "chain.npz"
    if not path.exists():
        raise CannotError(path.with_name("chain.npz.reason").read_text(encoding="utf-8"))
    blocks: list[Block] = []
    waiting: list[nn.Module] = []
    bias = torch.zeros(1)
    for layer in load(path).layers:
        if layer["op"] == "reshape":
            if len(layer["shape"]) != 1:
                raise CannotError(f"reshape to {layer['shape']}")
            waiting.append(nn.Flatten())
        elif layer["op"] in ("dense", "conv"):
            waiting.append(_synapse(layer))
        elif layer["op"] == "bif":
            theta = torch.from_numpy(layer["theta"]).double()
            channels = theta.reshape(len(theta), -1)
            assert bool((channels == channels[:, :1]).all())
            weight = waiting[-1].weight
            weight.copy_(weight.double() / channels[:, 0].reshape(-1, *[1] * (weight.ndim - 1)))
            start = (torch.from_numpy(layer["start"]).double() + HALF) / theta
            blocks.append(Block(_joined(waiting), start.float(), layer["hi"]))
            waiting = []
        else:
            bias = torch.from_numpy(layer["bias"]).float()
            blocks.append(Block(_joined(waiting), None))
    return Network(blocks, torch.from_numpy(task.array("levels")).float(), bias, task.steps)


def _joined(modules: list[nn.Module]) -> nn.Module:
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


def _synapse(layer: dict[str, object]) -> nn.Module:
    weight = torch.from_numpy(layer["weight"]).float()
    module: nn.Module
    if layer["op"] == "dense":
        module = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    else:
        if weight.ndim != 4:
            raise CannotError(f"convolution over {weight.ndim - 2} axes")
        groups = layer["groups"]
        module = nn.Conv2d(
            weight.shape[1] * groups,
            weight.shape[0],
            weight.shape[2:],
            layer["stride"],
            layer["padding"],
            groups=groups,
            bias=False,
        )
    module.weight.requires_grad_(False)
    module.weight.copy_(weight)
    return module
