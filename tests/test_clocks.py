"""Integrate-and-fire neurons on a clock: the same spikes at the same steps everywhere, within certified ranges."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import snnir
from snnir.backends.bundle.hardware import memory_files
from snnir.errors import UnsupportedError, UsageError
from snnir.ir import FLOAT, Graph
from snnir.ir.execute import bind_sizes
from snnir.ir.generator import GOLDEN, MIX_A, MIX_B, spikes_of, splitmix
from snnir.ir.ops import Add, Clip, Conv, Linear, MaxPool, Reshape
from snnir.ir.types import parse_type
from snnir.machine import certify, lower, settling
from snnir.machine.host import Host
from snnir.machine.interpreter import interpret
from snnir.machine.parse import parse
from snnir.machine.plain import charged_levels, simulate_plain
from snnir.machine.program import IntegrateFire
from snnir.machine.text import tensors, text
from snnir.passes import CompileOptions
from snnir.runtime.verification import integer_counts
from tests.models import crnn, data, perceptron

ATTRIBUTES = st.fixed_dictionaries(
    {
        "steps": st.integers(1, 20),
        "encoder": st.sampled_from(("constant", "rate", "bernoulli")),
        "seed": st.integers(0, 1 << 40),
        "reset": st.sampled_from(("soft", "hard")),
        "initial": st.sampled_from((0, 37, 50, 100)),
        "shift": st.sampled_from((0, 50)),
        "leak": st.sampled_from((0, 0, 1, 4)),
        "delayed": st.booleans(),
        "method": st.sampled_from(("minmax", "percentile", "mse", "balance", "balance-channels")),
        "weight_bits": st.sampled_from((4, 8, 16)),
    }
)


def network(random: np.random.Generator, pools: bool, residual: bool) -> Graph:
    """Convolutions, a sum of two paths, a maximum, and a dense layer."""
    graph = Graph("net", FLOAT)
    x = graph.input("x", parse_type("Nx2x6x6:f32"))

    def convolution(value: Any, name: str, channels: int) -> Any:
        shape = (channels, int(value.type.shape[1]), 3, 3)
        weight = graph.constant(f"{name}.w", random.normal(0, 0.4, shape).astype(np.float32))
        bias = graph.constant(f"{name}.b", random.normal(0, 0.2, channels).astype(np.float32))
        return graph.add1(Conv((1, 1), (1, 1, 1, 1), (1, 1), 1), value, weight, bias, name=name)

    first = graph.add1(Clip(0.0, np.inf), convolution(x, "a", 3), name="a.relu")
    total = convolution(first, "b", 3)
    if residual:
        total = graph.add1(Add(), total, first, name="sum")
    value = graph.add1(Clip(0.0, 2.5 if pools else np.inf), total, name="b.relu")
    if pools:
        value = graph.add1(MaxPool((2, 2), (2, 2), (0, 0, 0, 0), (1, 1)), value, name="pool")
    size = 3 * (9 if pools else 36)
    flat = graph.add1(Reshape((value.type.shape[0], size)), value, name="flat")
    weight = graph.constant("c.w", random.normal(0, 0.3, (3, size)).astype(np.float32))
    bias = graph.constant("c.b", random.normal(0, 0.2, 3).astype(np.float32))
    graph.output("y", graph.add1(Linear(), flat, weight, bias, name="y"))
    return graph


def same_spikes(program: snnir.Program, x: np.ndarray) -> None:
    """Simulator and plain interpreter agree in every event, sum, potential and count of a run."""
    graph = program.graph("spiking")
    names = program.simulator.run({"x": x}, counts=True).counts
    recorded = [name for name in names if name in graph.values and graph.values[name].type.dtype == "spike"]
    plain = simulate_plain(graph, {"x": x}, record=recorded)
    found = program.simulator.run({"x": x}, counts=True, record=recorded)
    assert found.unsettled == plain.unsettled
    for name, train in plain.trains.items():
        dense = np.zeros((train.shape[0], len(x), int(np.prod(train.shape[2:]))), np.int64)
        events = found.rasters[name]
        dense[events[:, 2], events[:, 0], events[:, 3]] = events[:, 4]
        np.testing.assert_array_equal(dense, train.reshape(dense.shape), name)
    for name, potentials in found.membranes.items():
        np.testing.assert_array_equal(potentials, plain.membranes[name], name)
    for kind in ("outputs", "spikes", "synops", "charges", "counts"):
        for name, array in getattr(plain, kind).items():
            np.testing.assert_array_equal(getattr(found, kind)[name], array, f"{kind} of {name}")
    np.testing.assert_array_equal(found.steps, plain.steps)


def within_ranges(program: snnir.Program, x: np.ndarray) -> None:
    """Every register holds what its certified range says, of this width and no other; texts of programs read back."""
    graph = program.graph("spiking")
    sizes = bind_sizes(graph, {"x": x})
    lowered = lower(graph, sizes)
    bounds = certify(lowered.program)
    levels = charged_levels(lowered, Host(graph, sizes, {graph.inputs[0]: x}, {}), len(x))
    run = interpret(lowered.program, levels, batch=len(x))
    for name, observed in run.observed.items():
        for register, (low, high) in observed.ranges.items():
            least, most = bounds.registers[name][register]
            assert least <= low and high <= most, (name, register)
    assert parse(text(lowered.program), tensors(lowered.program)) == lowered.program
    steps = settling(lowered.program, bounds)
    assert int(run.steps.max(initial=0)) <= steps.outer


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(options=ATTRIBUTES, pools=st.booleans(), residual=st.booleans(), number=st.integers(0, 1 << 30), late=st.booleans())
def test_spikes_are_the_same_at_the_same_steps(
    options: dict[str, Any], pools: bool, residual: bool, number: int, late: bool
) -> None:
    random = np.random.default_rng(number)
    x = random.uniform(0 if number % 3 else -1, 1, (4, 2, 6, 6)).astype(np.float32)
    first = min(1 + number % 3, options["steps"] - 1) if late else 0
    program = snnir.compile(
        network(random, pools, residual), calibration=x, neuron="if", iterations=4, first_step=first, check=False, **options
    )
    same_spikes(program, x)
    within_ranges(program, x)
    levels = integer_counts(program.graph("quantized"), program.graph("spiking"), {"x": x})
    result = program.run(x, counts=True)
    if result.settled:
        assert all((result.counts[name] == levels[name]).all() for name in result.spikes)


def test_a_settled_run_gives_the_levels() -> None:
    random = np.random.default_rng(1)
    x = data(random, 64, 6)
    program = snnir.compile(perceptron(random), calibration=x, neuron="if", steps=64, check=False)
    settled = 0
    for sample in range(len(x)):
        result = program.run(x[sample : sample + 1], counts=True)
        levels = integer_counts(program.graph("quantized"), program.graph("spiking"), {"x": x[sample : sample + 1]})
        if result.settled:
            settled += 1
            assert all((result.counts[name] == levels[name]).all() for name in result.spikes)
    assert settled


def test_a_neuron_by_hand() -> None:
    """theta 4 from 2 on, 3 and then 1 a step: soft resets keep what is over, hard ones do not, delayed ones come later."""
    found = {}
    for reset, delayed in (("soft", False), ("hard", False), ("soft", True), ("hard", True)):
        program = snnir.compile(
            perceptron(np.random.default_rng(0)), calibration=np.zeros((2, 6), np.float32) + 1, neuron="if", steps=4
        )
        lowered = lower(program.graph("spiking"), {"N": 1})
        (op, *_) = [op for op in lowered.program.ops if isinstance(op, IntegrateFire)]
        op = dataclasses.replace(
            op, synapses=(), initial=np.array([8]), initial_map=op.initial_map, theta=np.array([4]), reset=reset, delayed=delayed
        )
        one = dataclasses.replace(
            op,
            train=dataclasses.replace(op.train, name="one", shape=(1,)),
            initial_map=type(op.initial_map)((), 0),
            theta_map=type(op.theta_map)((), 0),
        )
        program_ = dataclasses.replace(lowered.program, ops=(one,), outputs=(), host=())
        run = interpret(program_, {}, batch=1, record=("one",))
        found[reset, delayed] = run.trains["one"][0, :, 0].tolist(), run.sums["one"][0, :, 0].tolist()
    assert found["soft", False] == ([1, 0, 1, 0], [0, 2, 0, 2])
    assert found["hard", False] == ([1, 0, 1, 0], [0, 2, 0, 2])
    assert found["soft", True] == ([1, 0, 1, 0], [4, 2, 4, 2])
    assert found["hard", True] == ([1, 0, 0, 1], [4, 0, 2, 4])


def test_the_generator_is_splitmix() -> None:
    """Against Python's integers, and its published first number of the seed 0."""
    mask = (1 << 64) - 1
    for key in (0, 7, (1 << 64) - 3):
        found = splitmix(key, np.arange(5, dtype=np.uint64))
        for n, number in enumerate(found.tolist()):
            z = (key + (n + 1) * GOLDEN) & mask
            z = (z ^ (z >> 30)) * MIX_A & mask
            z = (z ^ (z >> 27)) * MIX_B & mask
            assert number == z ^ (z >> 31)
    assert int(splitmix(0, np.zeros(1, np.uint64))[0]) == 0xE220A8397B1DCDAF
    levels = np.array([[0, 10, -10, 5]])
    drawn = np.stack([spikes_of(levels, 0, t, 10, 1)[0] for t in range(10)])
    assert drawn[:, 0].tolist() == [0] * 10 and drawn[:, 1].tolist() == [1] * 10 and drawn[:, 2].tolist() == [-1] * 10
    many = np.stack([spikes_of(np.full((1, 1000), 5), 0, t, 10, 3) for t in range(10)])
    assert abs(many.mean() - 0.5) < 0.02


def test_verify_says_what_it_compared() -> None:
    random = np.random.default_rng(0)
    x = data(random, 24, 6)
    program = snnir.compile(perceptron(random), calibration=x, neuron="if", steps=8)
    found = program.verify(x)
    assert found.ok and found.clocked and found.compared and found.within_bounds
    assert "the same spikes at the same steps as the plain interpreter" in repr(found)
    assert "distance to the quantized network" in repr(found) and "0 mismatches" not in repr(found)
    assert sum(item[1] for item in found.counts) == sum(program.run(x, counts=True).counts[item[0]].size for item in found.counts)


def test_more_steps_come_closer_to_the_network() -> None:
    random = np.random.default_rng(2)
    x = random.uniform(0, 1, (32, 2, 6, 6)).astype(np.float32)
    errors = []
    for steps in (4, 16, 64, 256):
        program = snnir.compile(network(np.random.default_rng(2), True, True), calibration=x, neuron="if", steps=steps)
        errors.append(float(np.square(program.run(x).outputs["y"] - program.reference(x, "float")["y"]).mean()))
    assert errors == sorted(errors, reverse=True)


def test_exact_levels_may_be_any_number() -> None:
    random = np.random.default_rng(0)
    x = data(random, 24, 6)
    program = snnir.compile(perceptron(random), calibration=x, levels=11)
    assert program.verify(x).ok
    tops = {node.output.type.levels.hi for node in program.graph("spiking").nodes if node.op.name == "bif"}
    assert 11 in tops and not tops - {11, 15}


def test_what_such_neurons_do_not_take_is_refused() -> None:
    random = np.random.default_rng(0)
    x = data(random, 8, 6)
    program = snnir.compile(perceptron(random), calibration=x, neuron="if", steps=4)
    with pytest.raises(UsageError, match="the steps of their clock"):
        program.run(x, steps=3)
    with pytest.raises(UsageError, match="levels of integrate-and-fire neurons are their steps"):
        CompileOptions(neuron="if", levels=4)
    graph = Graph("net", FLOAT)
    value = graph.input("x", parse_type("Nx6:f32"))
    for name in ("a", "b"):
        weight = graph.constant(f"{name}.w", random.normal(0, 1, (6, 6)).astype(np.float32))
        value = graph.add1(Linear(), value, weight, name=name)
        if name == "a":
            value = graph.add1(Clip(-1.0, 1.0), value, name="clip")
    graph.output("y", value)
    with pytest.raises(UnsupportedError, match="'clip': its levels are .* Put a ReLU"):
        snnir.compile(graph, calibration=x, neuron="if", check=False)
    with pytest.raises(UnsupportedError, match="NIR says neither how long neurons run"):
        snnir.export_nir(program, "never.nir")
    with pytest.raises(UnsupportedError, match="memory images hold bif and few-spike neurons"):
        memory_files(snnir.bundle(program, x))


def test_check_refuses_recurrent_layers_and_counts_steps() -> None:
    random = np.random.default_rng(0)
    recurrent = snnir.check(crnn(random).SerializeToString(), neuron="if")
    assert not recurrent.ok and any("a recurrent layer" in str(refusal) for refusal in recurrent.refusals)
    found = snnir.check(perceptron(random).SerializeToString(), neuron="if", steps=9)
    assert found.ok and found.steps == {"": 9}
    certified = snnir.check(perceptron(random), neuron="if", steps=9, calibration=data(random, 8, 6))
    assert certified.ok and certified.certified and certified.steps == {"": 9}


def test_the_committed_network_runs_on_a_clock() -> None:
    """The residual network of docs/families.md: batch norm, max pooling and sums of two paths, each with balanced channels."""
    model = Path(__file__).parents[1] / "examples" / "families" / "artefacts" / "plain.onnx"
    x = np.random.default_rng(0).uniform(0, 1, (6, 1, 28, 28)).astype(np.float32)
    options: dict[str, Any] = {"method": "balance-channels", "iterations": 6, "first_step": -1}
    program = snnir.compile(model, calibration=x, neuron="if", steps=8, check=False, **options)
    assert [node.op.name for node in program.graph("spiking").nodes].count("if") == 7
    found = program.verify(x[:1])
    assert found.ok and found.clocked
