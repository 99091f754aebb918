"""Training steps of snnir.torch.IndRNN against the same layers as a loop of small operators; prints medians and ratios.

python benchmarks/indrnn_speed.py [--device cuda] [--repeat 9] [--threads 1]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch

import snnir.torch
from snnir.torch.recurrence import recurrence

SIZES = ((16, 100, 64), (32, 200, 128), (64, 400, 256))
"""Batch, sequence length, hidden size."""


_Way = Callable[[], torch.Tensor]


def loop(z: torch.Tensor, u: torch.Tensor, state: torch.Tensor, word: str) -> torch.Tensor:
    """The recurrence written out: a product, a sum and an activation for each element."""
    rows = []
    for element in z.unbind(1):
        state = getattr(torch, word)(element + u * state)
        rows.append(state)
    return torch.stack(rows, 1)


def layers(layer: snnir.torch.IndRNN, x: torch.Tensor) -> torch.Tensor:
    """The layers with their recurrences written out."""
    for linear, u in zip(layer.inputs, layer.recurrent, strict=True):
        x = loop(linear(x), u, x.new_zeros(x.shape[0], layer.hidden_size), layer.nonlinearity)
    return x


def run(way: _Way, backward: bool) -> None:
    """One forward pass, and the backward pass where it is asked for."""
    if backward:
        way().square().mean().backward()
    else:
        with torch.no_grad():
            way()


def milliseconds(steps: Sequence[Callable[[], object]], repeat: int, device: str) -> list[float]:
    """The median time of each step. They take turns, so that what else the machine does slows all of them."""
    times: list[list[float]] = [[] for _ in steps]
    for turn in range(repeat + 1):
        for step, taken in zip(steps, times, strict=True):
            start = time.perf_counter()
            step()
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:  # the first one warms up
                taken.append(1000 * (time.perf_counter() - start))
    return [statistics.median(taken) for taken in times]


def main() -> None:
    """Measure every size, forward alone and with the backward pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{'batch x length x hidden':26}{'what':34}{'loop ms':>10}{'IndRNN ms':>11}{'ratio':>8}")
    for batch, length, hidden in SIZES:
        for word in ("relu", "tanh"):
            torch.manual_seed(0)
            layer = snnir.torch.IndRNN(hidden, hidden, 2, length=length, nonlinearity=word).to(arguments.device).train()
            x = torch.randn(batch, length, hidden, device=arguments.device, requires_grad=True)
            u, first = layer.recurrent[0], torch.zeros(batch, hidden, device=arguments.device)
            pairs: dict[str, tuple[_Way, _Way]] = {
                f"two {word} layers": (partial(layers, layer, x), lambda layer=layer, x=x: layer(x)[0]),
                f"one {word} recurrence": (partial(loop, x, u, first, word), partial(recurrence, x, u, first, word)),
            }
            for what, (slow, fast) in pairs.items():
                expected, found = slow().detach(), fast().detach()
                assert float((found - expected).abs().max() / expected.abs().max()) < 1e-4
                for backward in (False, True):
                    ways = [partial(run, way, backward) for way in (slow, fast)]
                    took = milliseconds(ways, arguments.repeat, arguments.device)
                    size, text = f"{batch} x {length} x {hidden}", what + (", with backward" if backward else "")
                    print(f"{size:26}{text:34}{took[0]:10.2f}{took[1]:11.2f}{took[0] / took[1]:8.1f}", flush=True)


if __name__ == "__main__":
    main()
