"""Functions inside the network in torch modules: the gradients are those of the float network, and of LSQ for their scales."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import snnir
from snnir.backends.torch import to_module
from snnir.compiler.training import trainable
from snnir.ir import Graph, TensorType
from snnir.ir.dims import dim
from snnir.ir.execute import execute
from snnir.ir.ops import Function, Linear, Quantize, Relu, Sin
from tests.backends.test_functions import MODELS, SMOOTH
from tests.backends.torch.test_trainable import differences

torch.set_num_threads(1)

SEQUENCES = {"attention": 4, "recurrent": 5}


def model(name: str) -> tuple[Graph, np.ndarray]:
    generator = np.random.default_rng(7)
    return MODELS[name](generator), generator.standard_normal((48, SEQUENCES[name], 5)).astype(np.float32)


@pytest.mark.parametrize("name", SMOOTH)
def test_training_lowers_the_loss_and_the_program_has_the_integers_of_the_module(name: str) -> None:
    graph, x = model(name)
    given, unseen = torch.from_numpy(x[:32]), x[32:] * np.float32(1.5)
    module = trainable(graph, calibration=x[:32], bits=4, weight_bits=5)
    first = module(given)
    assert isinstance(first, torch.Tensor)
    goal = first.detach() + torch.linspace(-1, 1, first.shape[-1])
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    losses = []
    for _ in range(15):
        y = module(given)
        assert isinstance(y, torch.Tensor)
        loss = (y - goal).square().mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < 0.5 * losses[0], losses
    program = snnir.compile(module)
    final = program.graph("quantized")
    assert any(isinstance(node.op, Function) for _, node in final.walk())
    wrong, compared = differences(module, final, {"x": unseen})
    assert wrong == 0 and compared > 1000
    assert program.verify(unseen).mismatches == 0
    np.testing.assert_array_equal(program.run(unseen).outputs["y"], module(torch.from_numpy(unseen)).detach().numpy())
    again = copy.deepcopy(module)
    assert torch.equal(again(given), module(given))
    frozen = to_module(final)(torch.from_numpy(unseen))
    assert isinstance(frozen, torch.Tensor)
    np.testing.assert_array_equal(frozen.detach().numpy(), execute(final, {"x": unseen})["y"])


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_of_weights_point_where_those_of_the_float_network_do(name: str) -> None:
    """At 8 bits, where rounding moves little: weights behind, between and before functions, each on its own."""
    graph, x = model(name)
    module = trainable(graph, calibration=x, bits=8, weight_bits=10, input_bits=10)
    plain = to_module(graph)
    given = torch.from_numpy(x)
    for each in (module, plain):
        y = each(given)
        assert isinstance(y, torch.Tensor)
        torch.autograd.backward((y * torch.linspace(-1, 1, y.numel()).reshape(y.shape)).sum())
    compared = 0
    expected = [parameter for parameter in plain.parameters() if parameter.ndim == 2]
    for key, parameter in module.weights.items():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        for other in expected:
            if parameter.shape == other.shape and torch.equal(parameter.detach(), other.detach()):
                assert other.grad is not None
                cosine = torch.cosine_similarity(parameter.grad.reshape(-1).double(), other.grad.reshape(-1).double(), dim=0)
                ratio = parameter.grad.norm() / other.grad.norm()
                assert cosine > 0.95 and 0.8 < ratio < 1.25, key
                compared += 1
    assert compared == len(expected)
    for scale in module.log_scales:
        assert scale.grad is not None and scale.grad.isfinite() and scale.grad != 0


def test_gradients_of_scales_around_a_function_are_those_of_lsq() -> None:
    """A sine between layers: d(s q)/ds = q - f/s for what it gives, and its cosine times that for what it takes."""
    graph = Graph("lsq")
    x = graph.input("x", TensorType((dim("N"), 1), "f32"))
    w = graph.constant("w", np.array([[1.0]], np.float32))
    early = graph.add1(Relu(), graph.add1(Linear(), x, w))
    inner = graph.add1(Sin(), graph.add1(Linear(), early, w))
    graph.output("y", graph.add1(Linear(), graph.add1(Relu(), graph.add1(Linear(), inner, w)), w))
    data = np.linspace(-1, 1, 21, dtype=np.float32).reshape(21, 1)
    module = trainable(graph, calibration=data, bits=5, input_bits=6, weight_bits=16)
    quantizers = [node for _, node in module.trained_graph().walk() if isinstance(node.op, Quantize)]
    assert [len(nodes) for nodes in module.groups] == [1, 1, 1, 1] and len(quantizers) == 4
    entry, before, behind = (node.expect(Quantize).quantization for node in quantizers[:3])
    share_before, share_behind = (1 / np.sqrt(max(levels.hi, -levels.lo)) for levels in (before, behind))
    for value in (0.1, 0.28, 0.55, 0.71, 0.9):
        module.zero_grad()
        y = module(torch.tensor([[value]], dtype=torch.float32))
        assert isinstance(y, torch.Tensor)
        torch.autograd.backward(y.sum())
        read = float(entry.round(np.array(value))) * entry.scale
        level = float(before.round(np.array(read)))
        taken = level * before.scale
        given = float(behind.round(np.sin(taken)))
        slope = np.cos(taken) * (level - read / before.scale) * before.scale * share_before
        rest = (given - np.sin(taken) / behind.scale) * behind.scale * share_behind
        found = [float(parameter.grad) for parameter in module.log_scales[1:3] if parameter.grad is not None]
        assert found == pytest.approx([slope, rest], rel=2e-2, abs=1e-5), value
