"""SpikingJelly: its ST-BIF neuron (SpikeZIP) and its IF neuron with subtractive reset, step by step and all steps at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from benchmarks.peers.blocks import Block, Network, network
from benchmarks.task import Side, Task


def _neuron(block: Block, kind: str, mode: str) -> nn.Module:
    if kind == "ST-BIF":
        return neuron.STBIFNode(1.0, level=block.hi + 1, step_mode=mode)
    return neuron.IFNode(v_threshold=1.0, v_reset=None, step_mode=mode)


def _start(node: nn.Module, start: torch.Tensor, batch: int) -> None:
    state = start.expand(batch, *start.shape).clone()
    if isinstance(node, neuron.STBIFNode):
        node.q, node.acc_q, node.cur_output = state, torch.zeros_like(state), torch.zeros_like(state)
    else:
        node.v = state


def _side(task: Task, kind: str, mode: str) -> Side:
    given = network(task)
    modules: list[nn.Module] = []
    starts: list[tuple[nn.Module, torch.Tensor]] = []
    for block in given.blocks:
        modules.append(block.synapse if mode == "s" else layer.SeqToANNContainer(block.synapse))
        if block.start is not None:
            modules.append(_neuron(block, kind, mode))
            starts.append((modules[-1], block.start))
    net = nn.Sequential(*modules).eval()
    run = _steps if mode == "s" else _at_once

    def once() -> np.ndarray:
        functional.reset_net(net)
        for node, start in starts:
            _start(node, start, task.batch)
        with torch.inference_mode():
            return (run(net, given) + given.bias).numpy()

    return Side(once, integers=True)


def _steps(net: nn.Module, given: Network) -> torch.Tensor:
    silence = torch.zeros_like(given.x)
    total = net(given.x)
    for _ in range(given.steps - 1):
        total = total + net(silence)
    return total


def _at_once(net: nn.Module, given: Network) -> torch.Tensor:
    return net(given.sequence()).sum(0)


SIDES: dict[str, Callable[[Task], Side]] = {
    "SpikingJelly ST-BIF, multi-step": lambda task: _side(task, "ST-BIF", "m"),
    "SpikingJelly ST-BIF, single-step": lambda task: _side(task, "ST-BIF", "s"),
    "SpikingJelly IF, multi-step": lambda task: _side(task, "IF", "m"),
    "SpikingJelly IF, single-step": lambda task: _side(task, "IF", "s"),
}
"""By name: what prepares the side for a task."""
