"""Limits of targets: violations that name populations and numbers, and mappings that keep what they promise."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import snnir
from snnir.backends.bundle import Bundle, Limits, map_cores, target, target_names, violations
from snnir.backends.bundle.resources import fan_in
from snnir.backends.bundle.unroll import unroll_synapse
from snnir.cli.main import main
from snnir.errors import UsageError
from snnir.export.fitting import LimitError, fitted_bundle
from snnir.machine import emitting, interpret
from snnir.machine.program import Readout, Summing, walk
from snnir.runtime.program import Program
from tests.backends.test_bundle import demo, program_of
from tests.models import data, perceptron


@pytest.fixture(scope="module")
def digits() -> tuple[Program, np.ndarray]:
    return demo()


def test_targets_have_limits_and_a_source() -> None:
    assert {"generic-8-16", "generic-8-24", "generic-16-32", "loihi", "truenorth", "odin"} <= set(target_names())
    for name in target_names():
        limits, source = target(name)
        assert limits.facts() and len(source) > 10
    with pytest.raises(UsageError, match="choose one of .*loihi"):
        target("brain")
    with pytest.raises(UsageError, match="must be 1 or more"):
        Limits(weight_bits=0)
    assert Limits(weight_bits=8, payload=1) | Limits(payload=3) == Limits(weight_bits=8, payload=3)


def test_violations_name_the_population_and_the_numbers(digits: tuple[Program, np.ndarray]) -> None:
    program, x = digits
    with pytest.raises(LimitError) as caught:
        fitted_bundle(program, x, Limits(weight_bits=4, membrane_bits=16, max_fan_in=10, max_neurons_per_core=100, payload=1))
    message = str(caught.value)
    assert "population rows: weight bits 8, the limit is 4; compile with weights of 4 bits" in message
    assert "population rows: membrane bits 19, the limit is 16" in message
    assert "population rows: max neurons per core 384, the limit is 100; split it over 4 cores" in message
    assert re.search(r"population \S+: max fan in \d+, the limit is 10; split its synapses over \d+ compartments", message)
    assert {violation.limit for violation in caught.value.violations} >= {"weight_bits", "membrane_bits", "max_fan_in"}


def test_payloads_are_counted_between_neurons(digits: tuple[Program, np.ndarray]) -> None:
    program, x = digits
    for delivery, execution, most in (("relay", "reset", 1), ("graded", "reset", 15), ("replay", "carry", 15)):
        made = snnir.bundle(program, x, delivery=delivery, execution=execution)
        found = [item.found for item in violations(made.program, made.bounds, Limits(payload=1))]
        assert max(found, default=1) == most, (delivery, execution)


def test_fitting_splits_and_uses_fewer_bits(digits: tuple[Program, np.ndarray]) -> None:
    program, x = digits
    limits = Limits(weight_bits=6, membrane_bits=17, max_fan_in=10, max_neurons_per_core=128)
    with pytest.raises(LimitError):
        fitted_bundle(program, x, limits, fit=True)  # nothing to compile with
    made = fitted_bundle(program, x, limits, fit=True, calibration=x)
    assert not [item for item in violations(made.program, made.bounds, limits) if not item.fitted]
    assert made.mapping["limits"] == limits.facts()
    read = Bundle.read(made.members())
    assert read.mapping == made.mapping and read.golden is not None
    result = interpret(read.program, read.golden.inputs)
    for name, counts in read.golden.counts.items():
        np.testing.assert_array_equal(result.counts[name], counts)


def test_mappings_hold_every_neuron_once_and_keep_limits() -> None:
    rng = np.random.default_rng(0)
    for seed in range(12):
        program, x = program_of(seed)
        made = snnir.bundle(program, x, samples=1).program
        sizes = {op.train.name: op.train.size for op, _ in walk(made.ops) if isinstance(op, Summing)}
        limits = Limits(max_neurons_per_core=int(rng.integers(4, 40)), core_memory_bits=int(rng.integers(600, 4000)))
        mapping = map_cores(made, limits)
        if mapping.problems:
            assert {problem.limit for problem in mapping.problems} == {"core_memory_bits"}
            continue
        for core in mapping.cores:
            assert 0 < core.slots <= (limits.max_neurons_per_core or 0) and core.memory_bits <= (limits.core_memory_bits or 0)
        for name, size in sizes.items():
            pieces = [piece for core in mapping.cores for piece in core.pieces if piece.population == name]
            assert [piece.first for piece in pieces[1:]] == [piece.last for piece in pieces[:-1]]
            assert pieces[0].first == 0 and pieces[-1].last == size
        assert 0 < mapping.utilisation <= 1
    assert map_cores(made, Limits(cores=1)).problems or len(sizes) == 1


def test_fan_in_is_the_number_of_connections() -> None:
    for seed in range(6):
        program, x = program_of(seed)
        made = snnir.bundle(program, x, samples=1).program
        for op, _ in emitting(made).values():
            if isinstance(op, Readout):
                synapse = op.synapses[0]
                ones = type(synapse)(**{**synapse.__dict__, "weights": np.ones_like(synapse.weights)})
                rows = unroll_synapse(ones).rows
                assert rows is not None
                if len(op.synapses) == 1:
                    np.testing.assert_array_equal(fan_in(op), np.bincount(rows, minlength=op.train.size))


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    x = data(rng, 8, 6)
    program = snnir.compile(perceptron(rng), calibration=x)
    program.save(tmp_path / "m.snnir")
    np.save(tmp_path / "x.npy", x)
    model, inputs, path = str(tmp_path / "m.snnir"), str(tmp_path / "x.npy"), str(tmp_path / "m.snnb")
    assert main(["bundle", model, "--samples", inputs, "--json"]) == 0
    assert '"golden_samples": 4' in capsys.readouterr().out
    assert main(["replay", path, inputs, "-o", str(tmp_path / "y.npz"), "--json"]) == 0
    assert '"mismatches": 0' in capsys.readouterr().out
    with np.load(tmp_path / "y.npz") as archive:
        np.testing.assert_array_equal(archive["output/y"], program.run(x).outputs["y"])
    assert main(["inspect", path]) == 0
    assert "golden samples" in capsys.readouterr().out
    assert main(["targets"]) == 0
    assert "Davies" in capsys.readouterr().out
    assert main(["bundle", model, "--target", "odin"]) == 1
    assert "weight bits 8, the limit is 3" in capsys.readouterr().err
    assert main(["bundle", model, "--weight-bits", "5", "--fit", "--calibration", inputs, "-o", str(tmp_path / "folder")]) == 0
    assert "limits" in capsys.readouterr().out
    assert main(["replay", str(tmp_path / "folder")]) == 2
    assert "no golden vectors" in capsys.readouterr().err
    assert main(["bundle", model, "-o", str(tmp_path / "m.zip")]) == 2
    assert main(["bundle", model, "--size", "T"]) == 2
    assert main(["bundle", model, "--target", "brain"]) == 2
    assert main(["inspect", path, "--level", "float"]) == 2
    assert main(["replay", path, "-o", str(tmp_path / "y.npz")]) == 2
    content = bytearray(Path(path).read_bytes())
    content[-200] ^= 1
    Path(path).write_bytes(bytes(content))
    assert main(["replay", path]) == 2
    assert "make it again" in capsys.readouterr().err
