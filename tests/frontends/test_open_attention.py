"""Attention over a length that stays open: exact, and close to the module, for every length up to the longest that was seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from onnx import helper
from torch import nn

import snnir
from snnir.errors import InputError
from snnir.ir import Graph, TensorType
from snnir.ir.dims import dim
from snnir.passes.calibrate import shortened
from tests.frontends.torch_modules import data, onnx_of
from tests.models import model_of


class Attention(nn.Module):
    """One head between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.out = nn.Linear(6, 12), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.project(x).chunk(3, -1)
        result: torch.Tensor = self.out(F.scaled_dot_product_attention(q, k, v))
        return result


@pytest.mark.parametrize("frontend", ["torch", "onnx"])
def test_attention_over_an_open_length(frontend: str) -> None:
    torch.manual_seed(0)
    module = Attention().eval()
    (x,) = data((24, 8, 6))
    model: Any = module if frontend == "torch" else onnx_of(module, x, {0: "N", 1: "T"})
    neuron = "few-spikes" if frontend == "torch" else "bif"
    program = snnir.compile(
        model, calibration=x.numpy(), bits=8, neuron=neuron, dims={"T": "<=8"} if frontend == "onnx" else None
    )
    assert not program.facts.host_nodes
    for length in (8, 3, 1):
        (test,) = data((8, length, 6), seed=length)
        verification = program.verify(test.numpy())
        assert verification.mismatches == 0 and verification.within_bounds
        (found,) = program.run(test.numpy()).outputs.values()
        with torch.no_grad():
            expected = module(test).numpy()
        assert np.corrcoef(found.reshape(-1), expected.reshape(-1))[0, 1] >= 0.99
    with pytest.raises(InputError, match="at most 8"):
        program.run(data((2, 9, 6))[0].numpy())


def test_the_operator_attention_over_an_open_length() -> None:
    generator = np.random.default_rng(0)
    weights = {name: generator.normal(size=(4, 4)).astype(np.float32) / 2 for name in ("q", "k", "v", "out")}
    nodes = [helper.make_node("MatMul", ["x", name], [f"x{name}"]) for name in ("q", "k", "v")]
    nodes.append(helper.make_node("Attention", ["xq", "xk", "xv"], ["a"], q_num_heads=2, kv_num_heads=2))
    nodes.append(helper.make_node("MatMul", ["a", "out"], ["y"]))
    model = model_of(nodes, ["N", "T", 4], weights, opset=23)
    x = generator.normal(size=(24, 6, 4)).astype(np.float32)
    program = snnir.compile(model, calibration=x, bits=8, neuron="few-spikes")
    for length in (6, 2):
        assert program.verify(x[:4, :length]).ok


def test_calibration_data_are_cut_along_bounded_axes_alone() -> None:
    graph = Graph("model", "float")
    graph.input("x", TensorType((dim("N"), dim("T"), 2), "f32"))
    x = np.zeros((3, 9, 2), np.float32)
    assert shortened(graph, {"x": x}) == ()
    graph.limits["T"] = 9
    assert [cut["x"].shape[1] for cut in shortened(graph, {"x": x})] == [5, 3, 2]
    graph.input("lengths", TensorType((dim("N"),), "i64"))
    assert shortened(graph, {"x": x, "lengths": np.full(3, 9)}) == ()
