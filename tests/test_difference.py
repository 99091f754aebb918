"""Functions in the difference realisation, as properties over graphs drawn at random, and what they cost."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
import pytest
import torch

import snnir
from snnir.backends.simulator import DELIVERIES, EXECUTIONS, Simulator
from snnir.backends.torch_spiking import SpikingModule
from snnir.errors import UsageError
from snnir.ir import Graph
from snnir.ir.execute import bind_sizes
from snnir.ir.ops import Function
from snnir.ir.parse import parse
from snnir.ir.text import tensors, text
from snnir.machine import lower
from snnir.machine.parse import parse as parse_machine
from snnir.machine.plain import simulate_plain
from snnir.machine.program import Difference, RunningSum, walk
from snnir.machine.text import tensors as machine_tensors
from snnir.machine.text import text as machine_text
from snnir.passes import Context, parse_pipeline, run_pipeline
from snnir.runtime.verification import integer_counts
from tests.backends.test_functions import MODELS, attention
from tests.backends.test_torch_spiking import compare
from tests.machine_bounds import ranges, step_bounds
from tests.test_conversion import SEEDS, compiled

torch.set_num_threads(1)

PIPELINE = "substitute-neurons{functions=difference}"


@lru_cache(maxsize=200)
def told_by_difference(seed: int) -> tuple[Graph, Graph, dict[str, np.ndarray]] | None:
    """The quantized and the spiking level of a random graph with functions, and data; None where it has none."""
    graphs, data = compiled(seed)
    quantized = graphs["quantized"]
    if not any(isinstance(node.op, Function) for _, node in quantized.walk()):
        return None
    return quantized, run_pipeline(quantized, parse_pipeline(PIPELINE), Context(data))[-1].graph, data


@pytest.mark.parametrize("first", SEEDS[:80:20])
def test_settled_tracers_are_the_integers(first: int) -> None:
    for seed in range(first, first + 20):
        found = told_by_difference(seed)
        if found is None:
            continue
        quantized, spiking, data = found
        expected = integer_counts(quantized, spiking, data)
        simulator, module = Simulator(spiking), SpikingModule(spiking)
        assert parse(text(spiking), tensors(spiking)) == spiking
        recurrent = any(node.op.name == "scan" for node in spiking.nodes)
        for delivery, execution in product(DELIVERIES, EXECUTIONS if recurrent else EXECUTIONS[:1]):
            where = f"seed {seed}, {delivery}, {execution}"
            result = simulator.run(data, delivery=delivery, execution=execution, counts=True)
            assert result.settled, where
            for name, counts in result.counts.items():
                np.testing.assert_array_equal(counts, expected[name], err_msg=f"{where}: {name}")
            bounds = step_bounds(spiking, data, delivery, execution)
            limits = np.array([bound for windows in bounds.values() for bound in windows])
            assert (result.steps <= limits).all(), f"{where}: {result.steps.max(axis=0)} beyond {limits}"
        delivery, execution = DELIVERIES[seed % 3], EXECUTIONS[seed % 2 if recurrent else 0]
        for steps in (None, 1 + seed % 5):
            plain = simulate_plain(spiking, data, delivery=delivery, execution=execution, steps=steps)
            fast = simulator.run(data, delivery=delivery, execution=execution, steps=steps)
            np.testing.assert_array_equal(fast.steps, plain.steps, err_msg=f"seed {seed}")
            for mine, other in ((fast.spikes, plain.spikes), (fast.synops, plain.synops), (fast.charges, plain.charges)):
                assert mine.keys() == other.keys()
                for name in mine:
                    np.testing.assert_array_equal(mine[name], other[name], err_msg=f"seed {seed}: {name}")
            compare(spiking, data, module, f"seed {seed}", delivery=delivery, execution=execution, steps=steps)
            certified = ranges(spiking, data, delivery, execution)
            for name, train in plain.trains.items():
                low, high = certified.trains[name]["events"]
                assert low <= train.min(initial=0) and train.max(initial=0) <= high, f"seed {seed}: events of {name}"
        program = lower(spiking, bind_sizes(spiking, data), delivery, execution).program
        assert parse_machine(machine_text(program), machine_tensors(program)) == program


@pytest.mark.parametrize("name", MODELS)
def test_both_realisations_give_the_same_outputs(name: str) -> None:
    generator = np.random.default_rng(7)
    graph = MODELS[name](generator)
    data = generator.standard_normal((40, 4 if name == "attention" else 5, 5)).astype(np.float32)
    made = {kind: snnir.compile(graph, calibration=data[:32], bits=4, functions=kind) for kind in ("barrier", "difference")}
    results = {kind: program.run(data[32:]) for kind, program in made.items()}
    np.testing.assert_array_equal(results["barrier"].outputs["y"], results["difference"].outputs["y"])
    ops = [op for op, _ in walk(lower(made["difference"].graph(), {}).program.ops)]
    assert any(isinstance(op, Difference) for op in ops) and any(isinstance(op, RunningSum) for op in ops)
    if name == "attention":  # nothing waits, and more is said
        assert results["difference"].steps.mean() < results["barrier"].steps.mean()
        assert results["difference"].total_spikes.sum() > results["barrier"].total_spikes.sum()
    assert (made["difference"].facts.options or {})["functions"] == "difference"


def test_few_spike_neurons_refuse_it_by_name() -> None:
    generator = np.random.default_rng(1)
    data = generator.standard_normal((20, 4, 5)).astype(np.float32)
    with pytest.raises(UsageError, match="functions 'difference' is for bif neurons"):
        snnir.compile(attention(generator), calibration=data, neuron="few-spikes", functions="difference")
    with pytest.raises(UsageError, match="functions 'hurry' is unknown; choose one of barrier, difference"):
        snnir.compile(attention(generator), calibration=data, functions="hurry")
