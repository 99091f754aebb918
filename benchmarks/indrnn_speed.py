"""Training steps of snnir.torch.IndRNN against the same layers as a loop of small operators; prints milliseconds and ratios.

python benchmarks/indrnn_speed.py [--device cuda] [--repeat 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

import snnir.torch

SIZES = ((16, 100, 64), (32, 200, 128), (64, 400, 256))
"""Batch, sequence length, hidden size."""


def eager(layer: snnir.torch.IndRNN, x: torch.Tensor) -> torch.Tensor:
    """The layers written out: a product, a sum and an activation for each element."""
    for linear, u in zip(layer.inputs, layer.recurrent, strict=True):
        state, rows = x.new_zeros(x.shape[0], layer.hidden_size), []
        for element in linear(x).unbind(1):
            state = torch.relu(element + u * state)
            rows.append(state)
        x = torch.stack(rows, 1)
    return x


def seconds(step: Callable[[], object], repeat: int, device: str) -> float:
    """The median time of a step."""
    step()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Measure every size, forward alone and with the backward pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{'batch x length x hidden':26}{'pass':18}{'loop ms':>10}{'IndRNN ms':>11}{'ratio':>8}")
    for batch, length, hidden in SIZES:
        torch.manual_seed(0)
        layer = snnir.torch.IndRNN(hidden, hidden, 2, length=length).to(arguments.device).train()
        x = torch.randn(batch, length, hidden, device=arguments.device)
        ways: dict[str, Callable[[], torch.Tensor]] = {
            "loop": lambda layer=layer, x=x: eager(layer, x),  # type: ignore[misc]
            "IndRNN": lambda layer=layer, x=x: layer(x)[0],  # type: ignore[misc]
        }
        assert torch.allclose(ways["loop"](), ways["IndRNN"](), rtol=1e-4, atol=1e-4)
        for backward in (False, True):
            took = {}
            for name, forward in ways.items():

                def step(forward: Callable[[], torch.Tensor] = forward, backward: bool = backward) -> None:
                    if backward:
                        forward().square().mean().backward()
                    else:
                        with torch.no_grad():
                            forward()

                took[name] = 1000 * seconds(step, arguments.repeat, arguments.device)
            what = "forward, backward" if backward else "forward"
            size = f"{batch} x {length} x {hidden}"
            print(f"{size:26}{what:18}{took['loop']:10.2f}{took['IndRNN']:11.2f}{took['loop'] / took['IndRNN']:8.1f}")


if __name__ == "__main__":
    main()
