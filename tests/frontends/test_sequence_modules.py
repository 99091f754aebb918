"""Cells and blocks with attention and normalisation inside convert whole through both frontends, with both neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import snnir
from tests.frontends.sequence_modules import MODULES
from tests.frontends.torch_modules import onnx_of

BATCH = torch.export.Dim("N")


@pytest.mark.parametrize("name", MODULES)
def test_blocks_spike_and_are_exact(name: str) -> None:
    make, shape = MODULES[name]
    torch.manual_seed(0)
    module = make().eval()
    x, test = torch.randn(32, *shape), torch.randn(8, *shape)
    with torch.no_grad():
        expected = module(test).numpy().reshape(-1)
    models: dict[str, Any] = {
        "few-spikes": snnir.import_model(module, example_inputs=x[:2], dynamic_shapes=({0: BATCH},)),
        "bif": onnx_of(module, x[:2], {0: "N"}),
    }
    for neuron, model in models.items():
        program = snnir.compile(model, calibration=x.numpy(), bits=8, neuron=neuron, fit=False)
        share = program.facts.spiking_mac_share
        assert share is None or share >= 0.95
        (found,) = program.run(test.numpy()).outputs.values()
        assert np.corrcoef(found.reshape(-1), expected)[0, 1] >= 0.99
        verification = program.verify(test.numpy())
        assert verification.mismatches == 0 and verification.within_bounds
