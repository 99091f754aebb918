"""Surrogate gradients: their formulas, where they reach, and that a few steps of training help."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
import torch

import snnir
from snnir.backends.torch_spiking import SURROGATES, SpikingModule
from snnir.backends.torch_spiking.parameters import Weights
from snnir.backends.torch_spiking.surrogates import spike, surrogate_gradient
from snnir.errors import UnsupportedError, UsageError
from snnir.ir.verify import verify
from snnir.machine.plain import simulate_plain
from tests.backends.spiking_graphs import random_spiking_graph
from tests.models import crnn, data, perceptron
from tests.test_conversion import compiled

torch.set_num_threads(1)

FORMULAS = {
    "arctan": lambda x: 1 / (1 + (np.pi * x) ** 2),
    "triangle": lambda x: np.maximum(0, 1 - np.abs(x)),
    "fast_sigmoid": lambda x: 1 / (1 + 10 * np.abs(x)) ** 2,
}


@pytest.fixture(scope="module")
def program() -> snnir.Program:
    rng = np.random.default_rng(0)
    return snnir.compile(crnn(rng), calibration=data(rng, 20, 4, 6), check=False)


@pytest.mark.parametrize("name", SURROGATES)
def test_spikes_and_their_gradients_around_both_thresholds(name: str) -> None:
    v = torch.linspace(-3, 4, 57, dtype=torch.float64, requires_grad=True)  # the potential in thetas
    rows = []
    for up, down in itertools.product((True, False), repeat=2):
        may = (torch.full((57,), up), torch.full((57,), down))
        spikes = spike(v - 1, v, *may, surrogate_gradient(name))
        x = v.detach().numpy()
        np.testing.assert_array_equal(spikes.detach().numpy(), 1.0 * ((x >= 1) & up) - 1.0 * ((x < 0) & down))
        (gradient,) = torch.autograd.grad(spikes.sum(), v)
        np.testing.assert_allclose(gradient.numpy(), up * FORMULAS[name](x - 1) + down * FORMULAS[name](x), atol=1e-12)
        rows.append(gradient)
    assert rows[-1].abs().max() == 0


@pytest.mark.parametrize("delivery", ["relay", "replay", "graded"])
def test_training_computes_the_exact_spikes_of_its_steps(delivery: str) -> None:
    compared = 0
    for seed in range(24):
        graphs, inputs = compiled(seed)
        module = SpikingModule(graphs["spiking"], surrogate="arctan", steps=1 + seed % 9, delivery=delivery)
        expected = module.run(inputs, steps=module.steps, delivery=delivery).outputs
        assert module.training
        try:
            found = module(inputs)
        except UnsupportedError as error:
            assert "no gradient here" in str(error)  # noqa: PT017
            continue
        for name, tensor in found.items():
            np.testing.assert_allclose(tensor.detach().numpy(), expected[name], rtol=1e-6, atol=1e-30, err_msg=f"seed {seed}")
        compared += 1
        if any(tensor.requires_grad for tensor in found.values()):
            torch.autograd.backward([tensor.sum() for tensor in found.values() if tensor.requires_grad])
            gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
            assert gradients and all(gradient.isfinite().all() for gradient in gradients), f"seed {seed}"
    assert compared >= 16


@pytest.mark.parametrize("delivery", ["relay", "replay", "graded"])
def test_gradients_reach_every_weight(program: snnir.Program, delivery: str) -> None:
    module = SpikingModule(program.graph(), surrogate="arctan", steps=12, delivery=delivery)
    x = data(np.random.default_rng(1), 20, 4, 6)
    (output,) = module(x).values()
    (output * torch.linspace(-1, 1, output.numel()).reshape(output.shape)).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_fine_tuning_lowers_the_loss(program: snnir.Program, surrogate: str) -> None:
    rng = np.random.default_rng(2)
    x, labels = data(rng, 24, 4, 6), torch.from_numpy(rng.integers(0, 3, 24))
    module = SpikingModule(program.graph(), surrogate=surrogate, steps=12)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        (output,) = module(x).values()
        loss = torch.nn.functional.cross_entropy(output.reshape(24, -1)[:, :3], labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < 0.9 * losses[0], losses
    module.eval()  # the network that was trained, with whole weights and to quiescence
    result = module.run(x)
    assert result.settled
    graph = module.to_graph()
    verify(graph)
    plain = simulate_plain(graph, {"x": x})
    assert plain.settled
    np.testing.assert_array_equal(plain.outputs["y"], result.outputs["y"])
    np.testing.assert_array_equal(plain.steps, result.steps)
    assert not np.array_equal(next(iter(result.outputs.values())), next(iter(program.run(x, backend="torch").outputs.values())))


def test_parameters_are_the_weights_of_the_real_network() -> None:
    rng = np.random.default_rng(3)
    model = perceptron(rng)
    x = rng.normal(size=(20, 6)).astype(np.float32)
    module = SpikingModule(snnir.compile(model, calibration=x, check=False, fit=False).graph())
    real = {array.name: onnx.numpy_helper.to_array(array) for array in model.graph.initializer}
    weights = [part for part in module.parts.values() if isinstance(part, Weights)]
    assert len(weights) == 2
    for part, name in zip(weights, ("w1", "w2"), strict=True):
        rounding = part.unit.numpy() / 2
        assert (np.abs(part.weight.detach().numpy() - real[name]) <= rounding * 1.001).all(), name


def test_untrained_modules_give_their_graph_back() -> None:
    for seed in range(40):
        graph, inputs = random_spiking_graph(np.random.default_rng(seed))
        again = SpikingModule(graph).to_graph()
        for (_, old), (_, new) in zip(graph.walk(), again.walk(), strict=True):
            for before, after in zip(old.operands, new.operands, strict=True):
                if before.is_constant:
                    np.testing.assert_array_equal(after.array, before.array, err_msg=f"seed {seed}: {before.name}")


def test_training_says_what_it_needs(program: snnir.Program) -> None:
    x = data(np.random.default_rng(1), 2, 4, 6)
    with pytest.raises(UsageError, match="surrogate 'sine' is unknown; choose one of arctan"):
        SpikingModule(program.graph(), surrogate="sine")
    with pytest.raises(UsageError, match="needs a surrogate gradient"):
        SpikingModule(program.graph(), steps=4).train()(x)
    with pytest.raises(UsageError, match="needs a fixed number of steps"):
        SpikingModule(program.graph(), surrogate="arctan")(x)
