"""Few-spike neurons in the torch backend: the same spikes at the same steps, and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from snnir.backends.torch_spiking import SpikingModule
from snnir.errors import UnsupportedError
from snnir.ir.execute import execute
from snnir.ir.phases import neuron_of
from tests.backends.test_torch_spiking import compare
from tests.test_few_spikes import few_spikes

torch.set_num_threads(1)


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_it_spikes_as_the_plain_simulator(first: int) -> None:
    for seed in range(first, first + 20):
        _, spiking, inputs = few_spikes(seed)
        module = SpikingModule(spiking)
        for delivery in ("relay", "graded"):
            compare(spiking, inputs, module, f"seed {seed}", delivery=delivery)


def test_training_computes_the_same_levels_and_has_gradients() -> None:
    trained = 0
    for seed in range(40):
        _, spiking, inputs = few_spikes(seed)
        if neuron_of(spiking) != "few-spikes":  # a graph without neurons
            continue
        module = SpikingModule(spiking, surrogate="triangle")
        try:
            outputs = module(inputs)
        except UnsupportedError:  # the host computes what has no gradient
            continue
        expected = execute(spiking, inputs)
        for name, tensor in outputs.items():
            np.testing.assert_allclose(tensor.detach().numpy(), expected[name], rtol=1e-5, atol=1e-6, err_msg=f"seed {seed}")
        total = sum((tensor**2).sum() for tensor in outputs.values())
        if not isinstance(total, torch.Tensor) or not total.requires_grad:
            continue
        total.backward()  # type: ignore[no-untyped-call]
        gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
        assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients), f"seed {seed}"
        trained += any(bool(gradient.any()) for gradient in gradients)
    assert trained >= 10
