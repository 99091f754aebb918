"""Few-spike neurons, as properties over graphs drawn at random: the same integers as bif neurons settle to, told in the steps
of a schedule that is known beforehand, with a spike for each one of their binary digits."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnir.backends.bundle import Bundle
from snnir.backends.bundle.c_replay import compile_engine
from snnir.backends.bundle.unpacked import unpacked
from snnir.backends.simulator import Simulator
from snnir.errors import GraphError, UnsupportedError, UsageError
from snnir.export.bundle import bundle, bundle_to_program
from snnir.export.replay import replay_bundle
from snnir.ir import Graph, Quantization, TensorType
from snnir.ir.bits import bit_planes, popcount
from snnir.ir.dims import dim
from snnir.ir.execute import bind_sizes, execute
from snnir.ir.ops import Bif, Dense, Encode, Fs, Product
from snnir.ir.parse import parse
from snnir.ir.phases import FEW_SPIKES, neuron_of, phases_of
from snnir.ir.text import tensors, text
from snnir.ir.verify import verify
from snnir.machine import Bounds
from snnir.machine import program as machine
from snnir.machine.interpreter import interpret
from snnir.machine.lowering import lower
from snnir.machine.plain import simulate_plain
from snnir.machine.ranges import bits_of, certify
from snnir.machine.settling import settling
from snnir.passes import Context, parse_pipeline, run_pipeline
from snnir.runtime.costs import ENERGY_TABLES, operations_of
from snnir.runtime.program import Program
from snnir.runtime.verification import integer_counts
from tests.backends.test_bundle import run_again, schema_validator
from tests.backends.test_c_replay import SANITIZED
from tests.machine_bounds import ranges, step_bounds
from tests.test_conversion import BATCH_OF_SEEDS, SEEDS, check_ranges, compiled, emitting, raster_of, value_of

FEW = "substitute-neurons{neuron=few-spikes},remove-dead-code,schedule-phases"


@lru_cache(maxsize=400)
def few_spikes(seed: int) -> tuple[Graph, Graph, dict[str, np.ndarray]]:
    """A random graph's quantized level, the few-spike network of it, and data; every fourth tells the bits of its inputs."""
    graphs, data = compiled(seed)
    quantized = graphs["quantized"]
    if seed % 4 == 1:
        quantized = run_pipeline(quantized, parse_pipeline("plane-inputs"), Context(data))[-1].graph
    return quantized, run_pipeline(quantized, parse_pipeline(FEW), Context(data))[-1].graph, data


@pytest.mark.parametrize("first", SEEDS[:120:BATCH_OF_SEEDS])
def test_levels_steps_and_spikes_are_those_of_the_reference(first: int) -> None:
    for seed in range(first, first + BATCH_OF_SEEDS):
        quantized, spiking, data = few_spikes(seed)
        expected, outputs = integer_counts(quantized, spiking, data), execute(quantized, data)
        populations = emitting(spiking)
        for delivery in ("relay", "graded"):
            where = f"seed {seed}, {delivery}"
            result = simulate_plain(spiking, data, delivery=delivery, record=list(populations))
            for name, counts in result.counts.items():
                np.testing.assert_array_equal(counts, expected[name], err_msg=f"{where}: {name}")
            for name, array in outputs.items():
                np.testing.assert_array_equal(result.outputs[name], array, err_msg=f"{where}: output {name}")
            schedule = step_bounds(spiking, data, delivery)
            steps = np.array([bound for windows in schedule.values() for bound in windows])
            if neuron_of(spiking) == FEW_SPIKES:
                np.testing.assert_array_equal(result.steps, np.broadcast_to(steps, result.steps.shape), err_msg=where)
            else:  # a graph without neurons has no schedule
                assert (result.steps <= steps).all(), where
            for name, spikes in result.spikes.items():
                ones = popcount(np.broadcast_to(expected[name], result.counts[name].shape)).reshape(len(spikes), -1).sum(axis=1)
                np.testing.assert_array_equal(spikes, ones, err_msg=f"{where}: spikes of {name}")
            certified = ranges(spiking, data, delivery)
            if neuron_of(spiking) == FEW_SPIKES:
                check_events(spiking, result.trains, certified, delivery, where)
            for name, op in populations.items():
                check_ranges(value_of(spiking, name), op, result, certified, name, False, where)


def check_events(graph: Graph, trains: dict[str, np.ndarray], certified: Bounds, delivery: str, where: str) -> None:
    """Events lie in the phases of their values, and in certified ranges; those of populations are the bits of the level."""
    phases = phases_of(graph, delivery)
    for name, train in trains.items():
        value = value_of(graph, name)
        low, high = certified.trains[name]["events"]
        assert low <= train.min(initial=0) and train.max(initial=0) <= high, f"{where}: events of {name}"
        by_step = np.moveaxis(train, train.ndim - value.type.rank - 1, 0)
        first, end = phases.of[value]
        assert not by_step[:first].any() and not by_step[end:].any(), f"{where}: {name} speaks outside of {first}..{end - 1}"
        op = value.producer.op if value.producer is not None else None
        if isinstance(op, Fs) and op.steps:
            planes = bit_planes(by_step.sum(axis=0), op.steps)
            np.testing.assert_array_equal(by_step[first:end], planes, err_msg=f"{where}: bits of {name}")
        if isinstance(op, Product):
            assert not by_step[: end - 1].any(), f"{where}: {name} is one event"


@pytest.mark.parametrize("first", SEEDS[::BATCH_OF_SEEDS])
def test_the_fast_simulator_gives_the_integers(first: int) -> None:
    for seed in range(first, first + BATCH_OF_SEEDS):
        quantized, spiking, data = few_spikes(seed)
        expected, outputs = integer_counts(quantized, spiking, data), execute(quantized, data)
        simulator = Simulator(spiking)
        for delivery in ("relay", "graded"):
            where = f"seed {seed}, {delivery}"
            result = simulator.run(data, delivery=delivery, counts=True)
            assert result.settled, where
            assert set(result.counts) == set(expected), where
            for name, counts in result.counts.items():
                np.testing.assert_array_equal(counts, expected[name], err_msg=f"{where}: {name}")
            for name, array in outputs.items():
                np.testing.assert_array_equal(result.outputs[name], array, err_msg=f"{where}: output {name}")
            for name, spikes in result.spikes.items():
                ones = popcount(np.broadcast_to(expected[name], result.counts[name].shape)).reshape(len(spikes), -1).sum(axis=1)
                np.testing.assert_array_equal(spikes, ones, err_msg=f"{where}: spikes of {name}")
            schedule = step_bounds(spiking, data, delivery)
            steps = np.array([bound for windows in schedule.values() for bound in windows])
            if neuron_of(spiking) == FEW_SPIKES:
                np.testing.assert_array_equal(result.steps, np.broadcast_to(steps, result.steps.shape), err_msg=where)
            else:  # a graph without neurons has no schedule
                assert (result.steps <= steps).all(), where


@pytest.mark.parametrize("first", SEEDS[:120:BATCH_OF_SEEDS])
def test_fast_and_plain_simulator_spike_alike(first: int) -> None:
    for seed in range(first, first + BATCH_OF_SEEDS):
        _, spiking, data = few_spikes(seed)
        populations, simulator = list(emitting(spiking)), Simulator(spiking)
        delivery = ("relay", "graded")[seed % 2]
        where = f"seed {seed}, {delivery}"
        fast = simulator.run(data, delivery=delivery, record=populations)
        plain = simulate_plain(spiking, data, delivery=delivery, record=populations)
        for mine, other in ((fast.spikes, plain.spikes), (fast.synops, plain.synops), (fast.charges, plain.charges)):
            assert set(mine) == set(other), where
            for name in mine:
                np.testing.assert_array_equal(mine[name], other[name], err_msg=f"{where}: {name}")
        for name in populations:
            raster = raster_of(plain.trains[name], name not in spiking.values)
            np.testing.assert_array_equal(fast.rasters[name], raster, err_msg=f"{where}: {name}")
            sums, axis = plain.membranes[name], 1 + (name not in spiking.values)
            held = fast.membranes[name].take(range(sums.shape[axis]), axis=axis)
            np.testing.assert_array_equal(held, sums, err_msg=f"{where}: sums of {name}")


@pytest.mark.parametrize("first", SEEDS[:100:BATCH_OF_SEEDS])
def test_text_reads_back(first: int) -> None:
    for seed in range(first, first + BATCH_OF_SEEDS):
        _, spiking, _ = few_spikes(seed)
        assert parse(text(spiking), tensors(spiking)) == spiking, f"seed {seed}"


@pytest.mark.parametrize("first", SEEDS[:200:BATCH_OF_SEEDS])
def test_machine_programs_do_the_same_within_their_ranges(first: int) -> None:
    for seed in range(first, first + BATCH_OF_SEEDS):
        _, spiking, data = few_spikes(seed)
        delivery = ("relay", "graded")[seed % 2]
        where = f"seed {seed}, {delivery}"
        lowered = lower(spiking, bind_sizes(spiking, data), delivery)
        bounds = certify(lowered.program)
        steps = settling(lowered.program, bounds)
        plain = simulate_plain(spiking, data, delivery=delivery)
        given = {
            name: plain.counts[name]
            for name, (op, _) in machine.emitting(lowered.program).items()
            if isinstance(op, machine.Input)
        }
        levels = {name: array.reshape(*array.shape[: 1 + ("/" in name)], -1) for name, array in given.items()}
        batch = len(data["x"])
        free = interpret(lowered.program, levels, batch=batch)
        assert free.windows == plain.windows, where
        np.testing.assert_array_equal(free.steps, plain.steps, err_msg=where)
        schedule = np.array([steps.outer, *(k for windows in steps.windows.values() for k in windows)])
        if neuron_of(spiking) == FEW_SPIKES:
            np.testing.assert_array_equal(free.steps, np.broadcast_to(schedule, free.steps.shape), err_msg=where)
        else:  # a graph without neurons has no schedule
            assert (free.steps <= schedule).all(), where
        for mine, other in ((free.spikes, plain.spikes), (free.synops, plain.synops), (free.charges, plain.charges)):
            for name in other:
                np.testing.assert_array_equal(mine[name], other[name], err_msg=f"{where}: {name}")
        for name, counts in plain.counts.items():
            np.testing.assert_array_equal(free.counts[name].reshape(counts.shape), counts, err_msg=f"{where}: {name}")
        registers = {name: {key: bits_of(range_) for key, range_ in table.items()} for name, table in bounds.registers.items()}
        held = interpret(lowered.program, levels, registers, batch=batch)
        for name, train in free.trains.items():
            np.testing.assert_array_equal(held.trains[name], train, err_msg=f"{where}: {name}")
            if name in bounds.trains:
                low, high = bounds.trains[name]["events"]
                assert low <= train.min(initial=0) and train.max(initial=0) <= high, f"{where}: {name}"
                assert np.argwhere(train)[:, -2].max(initial=-1) < steps.steps[name], f"{where}: {name}"
        for name, observed in free.observed.items():
            for register, (low, high) in observed.ranges.items():
                certified = bounds.registers[name][register]
                assert certified[0] <= low and high <= certified[1], f"{where}: {register} of {name}"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    compiler = any(map(shutil.which, ("cc", "gcc", "clang")))
    return compile_engine(tmp_path_factory.mktemp("engine"), SANITIZED) if compiler else None


@pytest.mark.parametrize("first", SEEDS[:60:BATCH_OF_SEEDS])
def test_bundles_and_the_replay_in_c_do_the_same(first: int, tmp_path: Path, engine: Path | None) -> None:
    validator = schema_validator()
    for seed in range(first, first + BATCH_OF_SEEDS):
        quantized, spiking, data = few_spikes(seed)
        delivery = ("relay", "graded")[seed % 2]
        where = f"seed {seed}, {delivery}"
        program = Program({"quantized": quantized, "spiking": spiking}, {})
        made = bundle(program, data, samples=2, delivery=delivery, unroll=seed % 5 == 0)
        read = Bundle.read(made.members())
        assert read.members() == made.members(), where
        checked = replay_bundle(read)
        assert checked.ok, f"{where}: {checked}"
        run_again(read, bundle_to_program(read.program))
        if validator is not None:
            validator.validate(json.loads(made.members()["manifest.json"]))
        if engine is not None:
            for flags in ((), ("-a",)):
                (tmp_path / "model.snnu").write_bytes(unpacked(read))
                command = [str(engine), *flags, str(tmp_path / "model.snnu")]
                done = subprocess.run(command, capture_output=True, timeout=60, check=False)
                assert done.returncode == 0, f"{where}: {done.stderr.decode()}"


@pytest.mark.parametrize("first", SEEDS[:40:BATCH_OF_SEEDS])
def test_truncated_levels_are_the_integers_of_the_truncated_network(first: int) -> None:
    for seed in range(first, first + BATCH_OF_SEEDS):
        whole, _, data = few_spikes(seed)
        passes = parse_pipeline("truncate-levels{bits=2}," + FEW)
        stages = run_pipeline(whole, passes, Context(data))
        quantized, spiking = stages[0].graph, stages[-1].graph
        expected = integer_counts(quantized, spiking, data)
        result = Simulator(spiking).run(data, counts=True)
        plain = simulate_plain(spiking, data)
        for name, counts in result.counts.items():
            np.testing.assert_array_equal(counts, expected[name], err_msg=f"seed {seed}: {name}")
            np.testing.assert_array_equal(counts, plain.counts.get(name, counts), err_msg=f"seed {seed}: {name}")
        steps = [bound for windows in step_bounds(spiking, data).values() for bound in windows]
        if neuron_of(spiking) == FEW_SPIKES:  # without neurons there is no schedule, and what is 0 takes no step
            np.testing.assert_array_equal(result.steps, np.broadcast_to(steps, result.steps.shape))


def single(op: Fs | Bif, theta: np.ndarray, weight: int = 1) -> Graph:
    """One population over an input of levels -127..127."""
    graph = Graph("single", "spiking")
    x = graph.input("x", TensorType((dim("N"), 1), "f32"))
    s = graph.add1(Encode(Quantization(1.0, -127, 127)), x, name="s")
    current = graph.add1(Dense(), s, graph.constant("w", np.full((1, 1), weight, np.int8)), name="current")
    bias = graph.constant("bias", np.zeros(1, np.int32))
    y = graph.add1(op, graph.constant("theta", theta.astype(np.int32)), bias, current, name="y")
    graph.output("y", y)
    return graph


def test_every_clip_sign_and_staircase() -> None:
    rng = np.random.default_rng(5)
    x = np.arange(-127, 128, dtype=np.float32)[:, np.newaxis]
    for lo in (0, -1, -2, -5, -8, -13):
        for hi in (0, 1, 3, 4, 6, 7, 8, 12):
            for omitted in range(max(hi, -lo).bit_length() + 1):
                quantization = Quantization(1.0, lo, hi)
                uniform = single(Fs(quantization, omitted=omitted), np.array([int(rng.integers(1, 20))]))
                table = np.sort(rng.integers(-120, 120, (hi - lo, 1)), axis=0)
                for graph in (uniform, single(Fs(quantization, True, omitted=omitted), table)):
                    verify(graph)
                    expected = execute(graph, {"x": x})["y"]
                    for result in (simulate_plain(graph, {"x": x}), Simulator(graph).run({"x": x})):
                        np.testing.assert_array_equal(result.outputs["y"], expected)
                        np.testing.assert_array_equal(result.spikes.get("y", 0), popcount(expected)[:, 0])


def test_bits_are_told_most_significant_first() -> None:
    planes = bit_planes(np.array([5, -6, 0]), 3)
    assert planes.tolist() == [[4, -4, 0], [0, -2, 0], [1, 0, 0]]
    assert popcount(np.array([5, -6, 0, 127])).tolist() == [2, 2, 0, 7]


def test_what_few_spikes_do_not_have_is_refused() -> None:
    graph = single(Fs(Quantization(1.0, 0, 7)), np.array([3]))
    x = {"x": np.ones((2, 1), np.float32)}
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({"steps": 3}, "take the steps of their schedule"),
        ({"delivery": "replay"}, "choose relay or graded"),
        ({"execution": "carry"}, "choose reset"),
    )
    for options, message in refused:
        with pytest.raises(UsageError, match=message):
            simulate_plain(graph, x, **options)
    with pytest.raises(UsageError, match="neuron 'fs' is unknown"):
        run_pipeline(few_spikes(0)[0], parse_pipeline("substitute-neurons{neuron=fs}"), Context(None))


def test_bif_neurons_tell_no_bits_that_could_be_left_out() -> None:
    quantized, _, data = few_spikes(0)
    with pytest.raises(UnsupportedError, match="does not tell bits"):
        run_pipeline(quantized, parse_pipeline("truncate-levels,substitute-neurons"), Context(data))
    with pytest.raises(UsageError, match="no population is called 'nothing'"):
        run_pipeline(quantized, parse_pipeline("truncate-levels{values=nothing}"), Context(data))


def test_operations_of_all_kinds() -> None:
    for seed in range(20):
        _, spiking, data = few_spikes(seed)
        result = Simulator(spiking).run(data, counts=True)
        found = operations_of(spiking, data, result)
        assert found.additions + found.multiplications >= result.total_synops.mean()
        expected = 0
        for name, op in emitting(spiking).items():
            assert isinstance(op, Fs)
            expected += result.counts[name][0].size * (op.steps + (op.quantization.lo < 0))
        assert found.comparisons == expected
        for table in ENERGY_TABLES.values():
            assert found.arithmetic(table) >= 0 and found.memory(table) >= 0


def test_the_verifier_holds_the_schedule() -> None:
    verify(single(Fs(Quantization(1.0, 0, 7), start=1), np.array([3])))
    with pytest.raises(GraphError, match="starts at step 2, but its input is complete at step 1"):
        verify(single(Fs(Quantization(1.0, 0, 7), start=2), np.array([3])))
    mixed = single(Fs(Quantization(1.0, 0, 7)), np.array([3]))
    current = mixed.add1(Dense(), mixed.values["y"], mixed.values["w"], name="again")
    mixed.add1(Bif(Quantization(1.0, 0, 7)), mixed.values["theta"], mixed.values["bias"], current, name="z")
    assert neuron_of(mixed) == "few-spikes"
    with pytest.raises(GraphError, match="stands in a graph of few-spike neurons"):
        verify(mixed)
