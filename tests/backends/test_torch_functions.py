"""Functions of complete levels in the torch backend: the interpreter's integers and steps, and gradients of the real function."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import snnir
from snnir.backends.torch_spiking import SpikingModule
from snnir.backends.torch_spiking.microcode import Microcode
from snnir.ir.phases import FEW_SPIKES
from snnir.machine.microcode import KINDS, Step, compute
from tests.backends.test_functions import MODELS, SMOOTH, compiled
from tests.backends.test_torch_spiking import compare

torch.set_num_threads(1)


@pytest.mark.parametrize("neuron", ["bif", FEW_SPIKES])
@pytest.mark.parametrize("name", MODELS)
def test_it_spikes_as_the_interpreter(name: str, neuron: str) -> None:
    program, x = compiled(name, neuron)
    graph = program.graph("spiking")
    module = SpikingModule(graph)
    bif = neuron == "bif"
    for delivery in ("relay", "replay", "graded") if bif else ("relay", "graded"):
        for execution in ("reset", "carry") if bif else ("reset",):
            compare(graph, {"x": x}, module, name, delivery=delivery, execution=execution)
    if bif:
        compare(graph, {"x": x}, module, name, steps=3)
        compare(graph, {"x": x}, module, name, steps=2, execution="carry")


_EXTREMES = st.sampled_from([0, 1, -1, 2**53 + 1, 2**62 - 1, -(2**62), (2**31 - 1) ** 2, (2**31 - 1) ** 2 - 1, 2**63 - 1])
_INTEGERS = st.one_of(st.integers(-(2**62), 2**62), st.integers(-9, 9), _EXTREMES)
_TWO = ("add", "sub", "mul", "floor_div", "least", "most", "and")
_SHIFTS = ("shift_left", "shift_right")
_ONE = ("sqrt", "bit_length", "table", "sum", "max")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(_TWO + _SHIFTS + _ONE), st.lists(_INTEGERS, min_size=6, max_size=6), st.lists(_INTEGERS, min_size=6))
def test_every_step_is_that_of_the_interpreter(kind: str, left: list[int], right: list[int]) -> None:
    other = [number % 62 for number in right[:6]] if kind in _SHIFTS else right[:6]
    constants = tuple(Step("constant", (), (), 6, data=np.array(row, np.int64)) for row in (left, other))
    width = 3 if kind in ("sum", "max") else 1
    operands = (1, 2) if kind in _TWO + _SHIFTS else (1,)
    data = np.array([5, -7, 2**40]) if kind == "table" else None
    code = (*constants, Step(kind, operands, (None,) * len(operands), 6 // width, width, data))
    with np.errstate(over="ignore"):
        (expected,) = compute(code, [np.zeros((1, 1), np.int64)])
    source = torch.zeros((1, 1), dtype=torch.float64)
    (found,) = Microcode(code, torch.device("cpu")).compute([source])
    assert (found == torch.tensor(expected, dtype=torch.float64)).all()
    assert set(_TWO + _SHIFTS + _ONE) | {"constant", "join"} == set(KINDS)


@pytest.mark.parametrize("neuron", ["bif", FEW_SPIKES])
@pytest.mark.parametrize("name", SMOOTH)
def test_training_computes_the_exact_spikes_of_its_steps_and_reaches_every_weight(name: str, neuron: str) -> None:
    program, x = compiled(name, neuron)
    steps = None if neuron == FEW_SPIKES else 12
    module = SpikingModule(program.graph("spiking"), surrogate="arctan", steps=steps)
    expected = module.run(x, steps=steps).outputs
    outputs = module(x)
    for key, tensor in outputs.items():
        np.testing.assert_allclose(tensor.detach().numpy(), expected[key], rtol=1e-6, atol=1e-30)
    (output,) = outputs.values()
    (output * torch.linspace(-1, 1, output.numel()).reshape(output.shape)).sum().backward()
    for key, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        assert parameter.grad.any() or key.endswith("bias"), key  # what is normalised takes no notice of some biases


def test_gradients_through_a_function_are_those_of_the_real_function() -> None:
    """A softmax between two layers, few-spike neurons: small changes of the weights behind it and before it."""
    program, x = compiled("attention", FEW_SPIKES)
    graph = program.graph("spiking")
    module = SpikingModule(graph, surrogate="triangle")
    (first,) = module(x).values()
    target = first.detach() + torch.linspace(-1, 1, first.shape[-1])
    losses = []
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(15):
        optimizer.zero_grad()
        (output,) = module(x).values()
        loss = (output - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < 0.5 * losses[0], losses
    graph = module.to_graph()
    again = SpikingModule(graph).run(x).outputs
    np.testing.assert_array_equal(again["y"], module.eval().run(x).outputs["y"])
    assert not np.array_equal(again["y"], program.run(x).outputs["y"])


def test_programs_with_functions_run_on_it() -> None:
    program, x = compiled("recurrent", "bif")
    fast, found = program.run(x), program.run(x, backend="torch")
    assert isinstance(program, snnir.Program)
    np.testing.assert_array_equal(fast.outputs["y"], found.outputs["y"])
    np.testing.assert_array_equal(fast.steps, found.steps)
