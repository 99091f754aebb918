"""The torch backend: the clock-driven simulator's spikes at the same steps, and gradients for training."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

import snnir
from snnir.backends.simulator import DELIVERIES
from snnir.backends.torch_spiking import SpikingModule, TorchResult
from snnir.errors import InputError, UnsupportedError, UsageError
from snnir.ir import Graph, Quantization, TensorType
from snnir.ir.dims import dim
from snnir.ir.ops import Dense, Encode, Readout
from snnir.machine.plain import PlainResult, simulate_plain
from tests.backends.spiking_graphs import random_spiking_graph
from tests.backends.test_simulator_properties import raster
from tests.models import crnn, data
from tests.test_conversion import compiled

torch.set_num_threads(1)

CONVERTED = [seed for seed in range(70) if seed not in (56, 57, 68)]  # these take the oracle seconds each
DRAWN = range(200)
GROUP = 20


def assert_alike(torch_: TorchResult, plain: PlainResult, inside: dict[str, bool], where: str) -> None:
    """Every spike at its step, counts, outputs, steps and what was left; the oracle omits values of windows that never ran."""
    assert set(torch_.rasters) >= set(plain.trains), where
    for name, train in plain.trains.items():
        events = raster(train, inside[name]) if train.size else np.zeros((0, 5), np.int64)
        np.testing.assert_array_equal(torch_.rasters[name], events, err_msg=f"{where}: spikes of {name}")
        np.testing.assert_array_equal(torch_.counts[name], plain.counts[name], err_msg=f"{where}: counts of {name}")
    assert set(torch_.outputs) == set(plain.outputs), where
    for name, array in plain.outputs.items():
        assert torch_.outputs[name].dtype == array.dtype, where
        np.testing.assert_array_equal(torch_.outputs[name], array, err_msg=f"{where}: output {name}")
    for name, count in torch_.spikes.items():
        np.testing.assert_array_equal(count, plain.spikes.get(name, np.zeros_like(count)), err_msg=f"{where}: {name}")
    assert torch_.windows == plain.windows, where
    np.testing.assert_array_equal(torch_.steps, plain.steps, err_msg=where)
    assert (torch_.unsettled, torch_.undelivered, torch_.settled) == (plain.unsettled, plain.undelivered, plain.settled), where


def compare(graph: Graph, inputs: dict[str, np.ndarray], module: SpikingModule, where: str, **options: Any) -> None:
    plain = simulate_plain(graph, inputs, **options)
    record = list(plain.trains)
    found = module.run(inputs, counts=True, record=record, **options)
    assert_alike(found, plain, {name: name not in graph.values for name in record}, f"{where}, {options}")


@pytest.mark.parametrize("first", range(0, len(CONVERTED), GROUP))
def test_converted_graphs_spike_as_in_the_simulator(first: int) -> None:
    for seed in CONVERTED[first : first + GROUP]:
        graphs, inputs = compiled(seed)
        module = SpikingModule(graphs["spiking"])
        recurrent = any(node.body is not None for node in graphs["spiking"].nodes)
        for turn, delivery in enumerate(DELIVERIES if recurrent else DELIVERIES[1:2]):
            # seeds take turns, to save time: each delivery with a cap or without
            steps = None if (seed + turn) % 2 else 1 + (seed + turn) // 2 % 7
            execution = "carry" if recurrent and (seed + turn) % 5 == 0 else "reset"
            compare(graphs["spiking"], inputs, module, f"seed {seed}", delivery=delivery, steps=steps, execution=execution)


@pytest.mark.parametrize("first", DRAWN[::GROUP])
def test_drawn_graphs_spike_as_in_the_simulator(first: int) -> None:
    for seed in range(first, first + GROUP):
        rng = np.random.default_rng(seed)
        graph, inputs = random_spiking_graph(rng)
        module = SpikingModule(graph)
        for delivery in DELIVERIES:
            compare(graph, inputs, module, f"seed {seed}", delivery=delivery, steps=None)
        compare(graph, inputs, module, f"seed {seed}", delivery=DELIVERIES[seed % 3], steps=int(rng.integers(1, 10)))
        if any(node.body is not None for node in graph.nodes):
            steps = None if seed % 2 else int(rng.integers(1, 10))
            compare(graph, inputs, module, f"seed {seed}", delivery=DELIVERIES[seed // 2 % 3], steps=steps, execution="carry")


def test_runs_refuse_by_name() -> None:
    graph, inputs = random_spiking_graph(np.random.default_rng(5), scans=1)
    module = SpikingModule(graph)
    with pytest.raises(UsageError, match="execution 'hop' is unknown"):
        module.run(inputs, execution="hop")
    with pytest.raises(UsageError, match="delivery 'mail' is unknown"):
        module.run(inputs, delivery="mail")
    with pytest.raises(UsageError, match="steps is 0"):
        SpikingModule(graph, steps=0)
    with pytest.raises(UsageError, match="cannot record 'nothing'"):
        module.run(inputs, record=["nothing"])
    with pytest.raises(InputError, match="takes inputs x"):
        module.run({"z": inputs["x"]})
    with pytest.raises(UsageError, match="counts no synaptic operations"):
        _ = module.run(inputs).total_synops
    with pytest.raises(UsageError, match="parameters in float64"):
        module.float().run(inputs)
    with pytest.raises(UsageError, match="the simulator runs the spiking level"):
        SpikingModule(compiled(0)[0]["float"])


def test_sums_that_float64_cannot_hold_are_refused() -> None:
    graph = Graph("wide", level="spiking")
    x = graph.input("x", TensorType((dim("N"), 4), "f32"))
    spikes = graph.add1(Encode(Quantization(1.0, 0, 2**30)), x)
    weight = graph.constant("w", np.full((2, 4), 2**30, np.int32))
    current = graph.add1(Dense(), spikes, weight, name="wide")
    scale, bias = graph.constant("scale", np.array(1.0)), graph.constant("bias", np.zeros(2, np.int32))
    graph.output("y", graph.add1(Readout(), scale, bias, current))
    with pytest.raises(UnsupportedError, match="wide.*below 2\\^50"):
        SpikingModule(graph)


def test_programs_run_on_it() -> None:
    rng = np.random.default_rng(0)
    x = data(rng, 5, 4, 6)
    program = snnir.compile(crnn(rng), calibration=x, check=False)
    assert program.spiking_module() is program.spiking_module("cpu")
    graph, seen = program.graph("spiking"), list[tuple[int, int]]()
    for steps in (None, 3):
        plain = simulate_plain(graph, {"x": x}, steps=steps)
        record = list(plain.trains)
        found = program.run(
            x, steps=steps, backend="torch", device="cpu", record=record, counts=True, progress=lambda *at: seen.append(at)
        )
        assert isinstance(found, TorchResult)
        assert_alike(found, plain, {name: name not in graph.values for name in record}, f"steps {steps}")
    assert seen == [(5, 5), (5, 5)]
    with pytest.raises(UsageError, match="backend 'loom' is unknown; choose one of simulator, torch"):
        program.run(x, backend="loom")


def test_module_gives_outputs_as_tensors_and_its_state_reads_back() -> None:
    graph, inputs = random_spiking_graph(np.random.default_rng(3), scans=1)
    module, other = SpikingModule(graph), SpikingModule(graph)
    expected = module.run(inputs).outputs
    for parameter in other.parameters():
        torch.nn.init.zeros_(parameter)
    other.load_state_dict(module.state_dict())
    for found in (module(torch.from_numpy(inputs["x"])), other(inputs), copy.deepcopy(module)(inputs["x"])):
        assert set(found) == set(expected)
        for name, tensor in found.items():
            np.testing.assert_array_equal(tensor.numpy(), expected[name])
