"""Integrate-and-fire neurons in PyTorch: the spikes of the simulator at the same steps, and gradients through them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import snnir
from tests.test_clocks import network

torch = pytest.importorskip("torch")

CASES: tuple[dict[str, Any], ...] = (
    {},
    {"reset": "hard", "leak": 2},
    {"delayed": True, "leak": 3, "initial": 0, "shift": 50},
    {"reset": "hard", "delayed": True, "encoder": "rate"},
    {"encoder": "bernoulli", "seed": 9, "first_step": 3, "method": "balance-channels"},
)


@pytest.mark.parametrize("options", CASES, ids=str)
def test_torch_gives_the_spikes_of_the_simulator(options: dict[str, Any]) -> None:
    random = np.random.default_rng(5)
    x = random.uniform(-0.2, 1, (5, 2, 6, 6)).astype(np.float32)
    program = snnir.compile(
        network(random, True, True), calibration=x, neuron="if", steps=9, iterations=8, check=False, **options
    )
    names = tuple(program.run(x).spikes)
    expected = program.run(x, counts=True, record=names)
    found = program.run(x, counts=True, record=names, backend="torch")
    for name in names:
        np.testing.assert_array_equal(found.rasters[name], expected.rasters[name])
    for name, counts in expected.counts.items():
        np.testing.assert_array_equal(found.counts[name], counts)
    assert found.unsettled == expected.unsettled
    np.testing.assert_array_equal(found.outputs["y"], expected.outputs["y"])


def test_gradients_reach_every_weight() -> None:
    from snnir.backends.torch_spiking import SpikingModule

    random = np.random.default_rng(5)
    x = random.uniform(0, 1, (6, 2, 6, 6)).astype(np.float32)
    program = snnir.compile(network(random, False, True), calibration=x, neuron="if", steps=6, check=False)
    module = SpikingModule(program.graph("spiking"), surrogate="arctan")
    optimiser = torch.optim.SGD(module.parameters(), 0.02)
    target = torch.from_numpy(random.normal(0, 1, (6, 3)))
    losses = []
    for _ in range(8):
        loss = ((module(x)["y"] - target) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        assert all(each.grad is not None and bool(each.grad.any()) for each in module.parameters() if each.ndim > 1)
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    trained = snnir.compile(module.to_graph())
    module.eval()
    np.testing.assert_array_equal(module(x)["y"].numpy(), trained.run(x).outputs["y"])


def test_clipped_activations_are_the_levels() -> None:
    """A ceiling ends the levels exactly, whatever the data reach; training with it is training with clamp."""
    from snnir.torch import ClippedReLU

    with pytest.raises(snnir.errors.UsageError, match="ceiling=0"):
        ClippedReLU(0)
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(6, 8), ClippedReLU(0.5), torch.nn.Linear(8, 3)).eval()
    x = np.random.default_rng(0).normal(0, 2, (64, 6)).astype(np.float32)
    program = snnir.compile(module, calibration=x, neuron="if", steps=12, method="minmax", shift=50, initial=0)
    levels = [node.output.type.levels for node in program.graph("spiking").nodes if node.op.name == "if"]
    assert [(each.hi, each.scale) for each in levels] == [(12, float(f"{0.5 / 12:.6g}"))]
    exact = snnir.compile(module, calibration=x, levels=12, method="minmax")
    assert exact.verify(x).ok
