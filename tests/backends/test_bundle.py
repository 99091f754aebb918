"""Bundles: integer reference == simulator == replay from the file == re-imported program, and ranges that nothing leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import as_file, files
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.backends.bundle import Bundle, Events
from snnir.backends.bundle.packing import least_bits, pack, packed_size, unpack
from snnir.backends.simulator import DELIVERIES, EXECUTIONS
from snnir.errors import UnsupportedError, UsageError
from snnir.export.bundle import bundle, bundle_to_program
from snnir.export.replay import replay_bundle, run_inputs
from snnir.ir import Op
from snnir.ir.ops import Gru, Lstm
from snnir.machine import emitting, interpret
from snnir.machine.program import IndexMap, Input, Scan
from snnir.machine.ranges import bits_of
from snnir.runtime.program import Program
from snnir.runtime.verification import integer_counts
from tests.backends.spiking_graphs import random_spiking_graph
from tests.backends.test_carry import recurrent
from tests.machine_bounds import step_bounds
from tests.test_conversion import compiled

SEEDS = range(100)
BATCH_OF_SEEDS = 20
RUNS = list(product(DELIVERIES, EXECUTIONS))


def program_of(seed: int) -> tuple[Program, dict[str, np.ndarray]]:
    """A random graph, compiled (once in a process: `tests/test_conversion.py`), and data unlike the calibration's."""
    graphs, unseen = compiled(seed)
    return Program(graphs, {"source": f"random graph {seed}"}), unseen


def run_again(made: Bundle, program: Program) -> None:
    """The re-imported program has the golden counts and spikes, at the same steps."""
    golden = made.golden
    assert golden is not None
    known = emitting(made.program)
    reverse = {
        op.train.name: scan.reverse
        for scan in made.program.ops
        if isinstance(scan, Scan)
        for op in scan.ops
        if isinstance(op, Input)
    }
    inputs = {}
    sources = [(op, windows) for op, windows in known.values() if isinstance(op, Input)]
    for op, windows in sources:
        values = golden.reals[op.train.name]
        values = values[:, ::-1] if windows is not None and reverse[op.train.name] else values
        name = op.source
        while name in inputs:
            name = f"{op.source}~{1 + int(name.rpartition('~')[2] if '~' in name else 0)}"
        inputs[name] = values.reshape(len(values), *(() if windows is None else (windows,)), *op.train.shape)
    options = {"delivery": made.program.delivery, "execution": made.program.execution}
    result = program.run(inputs, counts=True, record=list(golden.events), **options)  # type: ignore[arg-type]
    assert set(result.counts) == set(golden.counts)
    for name, counts in golden.counts.items():
        np.testing.assert_array_equal(result.counts[name].reshape(counts.shape), counts, err_msg=name)
    for name, events in golden.events.items():
        np.testing.assert_array_equal(result.rasters[name], events.rows, err_msg=name)


def takes_the_same(made: Bundle, program: Program, data: dict[str, np.ndarray]) -> None:
    """Replay and re-imported program take the very arrays that the program takes, and give its outputs."""
    options = {"delivery": made.program.delivery, "execution": made.program.execution}
    expected = program.run(data, counts=True, **options)  # type: ignore[arg-type]
    taken = run_inputs(made, data)
    again = bundle_to_program(made.program, made.host)
    assert {value.name: value.type.dtype for value in again.graph().inputs} == {
        value.name: value.type.dtype for value in program.graph().inputs
    }
    result = again.run(data, counts=True, **options)  # type: ignore[arg-type]
    for found in (taken.outputs, result.outputs):
        assert list(found) == list(expected.outputs)
        for name, array in expected.outputs.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)
    for name, array in expected.counts.items():
        np.testing.assert_array_equal(taken.counts[name].reshape(array.shape), array, err_msg=name)


@pytest.mark.parametrize("first", SEEDS[::BATCH_OF_SEEDS])
def test_random_graphs_are_the_same_everywhere(first: int, record_property: Callable[[str, object], None]) -> None:
    spare: list[int] = []
    validator = schema_validator()
    for seed in range(first, first + BATCH_OF_SEEDS):
        program, data = program_of(seed)
        delivery, execution = RUNS[seed % len(RUNS)]
        made = bundle(program, data, samples=2, delivery=delivery, execution=execution, unroll=seed % 5 == 0)
        members = made.members()
        read = Bundle.read(members)
        assert read.members() == members, f"seed {seed}: the same program gives the same bytes"
        checked = replay_bundle(read)
        assert checked.ok, f"seed {seed}, {delivery}, {execution}: {checked}"
        assert read.golden is not None
        few = {name: array[:2] for name, array in data.items()}
        expected = integer_counts(program.graph("quantized"), program.graph(), few)
        assert set(read.golden.counts) == set(expected)
        for name, counts in expected.items():
            np.testing.assert_array_equal(read.golden.counts[name], counts.reshape(read.golden.counts[name].shape), err_msg=name)
        for name, (op, _) in emitting(read.program).items():
            if isinstance(op, Input):  # what the host has to do
                levels = np.floor(read.golden.reals[name].astype(np.float64) / op.train.scale + 0.5).clip(
                    op.train.lo, op.train.hi
                )
                np.testing.assert_array_equal(levels, read.golden.inputs[name])
        bounds = step_bounds(program.graph(), few, delivery, execution)
        mine = {"": [made.settling.outer], **made.settling.windows}
        for name, steps in bounds.items():
            assert all(a <= b for a, b in zip(mine[name], steps, strict=True)), f"seed {seed}: {name} {mine[name]} {steps}"
        run_again(read, bundle_to_program(read.program))
        takes_the_same(read, program, few)
        spare += never_overflows(read, np.random.default_rng(seed), f"seed {seed}, {delivery}, {execution}")
        if validator is None:
            record_property("summary", "jsonschema is not installed: manifests were not held against the schema")
        else:
            manifest = json.loads(members["manifest.json"])
            validator.validate(manifest)
            manifest["program"][0]["colour"] = "red"
            assert not validator.is_valid(manifest)
    shares = np.bincount(np.minimum(spare, 3), minlength=4) / len(spare)
    record_property(
        "summary", f"membranes certified with 0, 1, 2, more bits to spare: {shares.round(2).tolist()} of {len(spare)}"
    )
    assert shares[:2].sum() > 0.5, "the range proof is tight enough to be useful"


def adversarial(made: Bundle, rng: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
    """Levels built to reach the bounds: extremes by the signs of the first weights, at random, and swinging between windows."""
    inputs = {}
    for name, (op, windows) in emitting(made.program).items():
        if isinstance(op, Input):
            shape = (samples, *(() if windows is None else (windows,)), op.train.size)
            ends = np.where(
                rng.random(shape) < rng.choice([0.0, 0.1, 0.5, 1.0], size=(samples, *([1] * (len(shape) - 1)))),
                op.train.hi,
                op.train.lo,
            )
            signs = signs_of(made, op)
            for sample in range(0, samples, 2):
                row = signs[rng.integers(len(signs))] * rng.choice([-1, 1])
                ends[sample] = np.where(row >= 0, op.train.hi, op.train.lo)
                if windows is not None and sample % 4:
                    ends[sample, 1::2] = np.where(row >= 0, op.train.lo, op.train.hi)
            inputs[name] = ends
    return inputs


def signs_of(made: Bundle, op: Input) -> np.ndarray:
    """Signs of the weights from an input to each neuron that takes it, [neurons, n]."""
    from snnir.machine.program import Summing, walk
    from snnir.machine.synapses import currents

    rows = [np.ones((1, op.train.size), np.int64)]
    for other, _ in walk(made.program.ops):
        for synapse in other.synapses if isinstance(other, Summing) else ():
            if synapse.source == op.train.name and op.train.size <= 512:
                rows.append(np.sign(currents(synapse, np.eye(op.train.size, dtype=np.int64))).T)
    return np.concatenate(rows)


def never_overflows(made: Bundle, rng: np.random.Generator, where: str) -> list[int]:
    """Registers of exactly the certified widths never wrap around; gives the spare bits of every membrane."""
    spare = []
    registers = made.bounds.registers
    widths = {name: {key: bits_of(interval) for key, interval in table.items()} for name, table in registers.items()}
    inputs = adversarial(made, rng, 8)
    held, free = interpret(made.program, inputs, widths), interpret(made.program, inputs)
    for name, train in free.trains.items():
        np.testing.assert_array_equal(held.trains[name], train, err_msg=f"{where}: {name}")
        np.testing.assert_array_equal(held.counts[name], free.counts[name], err_msg=f"{where}: {name}")
        if name in made.bounds.trains:
            low, high = made.bounds.trains[name]["events"]
            assert low <= train.min(initial=0) and train.max(initial=0) <= high, f"{where}: {name}"
            assert np.argwhere(train)[:, -2].max(initial=-1) < made.settling.steps[name], f"{where}: {name}"
    for name, observed in free.observed.items():
        for register, (low, high) in observed.ranges.items():
            certified = registers[name][register]
            assert certified[0] <= low and high <= certified[1], f"{where}: {register} of {name}"
            if register == "membrane":
                spare.append(bits_of(certified) - bits_of((low, high)))
    return spare


def schema_validator() -> Any:
    """What checks manifests, or None where jsonschema is not installed."""
    try:
        import jsonschema
    except ModuleNotFoundError:
        return None
    schema = json.loads((files("snnir.backends.bundle") / "schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_packing_reads_back() -> None:
    rng = np.random.default_rng(0)
    for bits in range(1, 49):
        for count in (0, 1, 7, 100):
            low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if bits > 1 else (0, 1)
            values = rng.integers(low, high + 1, count)
            signed = bits > 1
            packed = pack(values, bits)
            assert packed.size == packed_size(count, bits)
            np.testing.assert_array_equal(unpack(packed, count, bits, signed), values)
    long = rng.integers(0, 8, 200_000)  # several blocks
    np.testing.assert_array_equal(unpack(pack(long, 3), long.size, 3, False), long)
    assert pack(np.array([1, 2, 3, -1]), 3).tolist() == [0b11010001, 0b1110]
    assert least_bits(np.array([0, 255])) == (8, False) and least_bits(np.array([-128, 127])) == (8, True)


def test_maps_are_strides_where_they_can_be() -> None:
    index = np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1)
    found = IndexMap.of(index)
    assert found.table is None and found.size == 24
    np.testing.assert_array_equal(found.array(), index.reshape(-1))
    assert IndexMap.of(np.arange(24).reshape(2, 12)).dims == ((24, 1),)
    assert IndexMap.of(np.array([0, 2, -1])).table is not None


def demo() -> tuple[Program, np.ndarray]:
    with as_file(files("snnir") / "data") as folder:
        model = (folder / "digits-crnn.onnx").read_bytes()
        with np.load(folder / "digits.npz", allow_pickle=False) as archive:
            return snnir.compile(model, calibration=archive["calibration"], check=False), archive["test"][:4]


def test_the_demo_and_its_outputs(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    program, x = demo()
    path = tmp_path / "digits.snnb"
    for delivery, execution in RUNS:
        made = snnir.bundle(program, x, delivery=delivery, execution=execution)
        made.save(path)
        read = snnir.load_bundle(path)
        checked = replay_bundle(read)
        assert checked.ok
        run_again(read, bundle_to_program(read.program))
        takes_the_same(read, program, {"image": x})
    table = [
        f"{name} {register} {a} bits certified, {b} needed"
        for name, found in checked.registers.items()
        for register, (a, b) in found.items()
    ]
    record_property("summary", "demo: " + "; ".join(table))


@pytest.mark.parametrize(("op", "gates", "states"), [(Gru(), 3, 1), (Lstm(), 4, 2)], ids=["gru", "lstm"])
def test_gated_layers(op: Op, gates: int, states: int, record_property: Callable[[str, object], None]) -> None:
    x = np.random.default_rng(0).normal(size=(6, 7, 3)).astype(np.float32)
    program = snnir.compile(recurrent(op, gates, states), calibration=x, bits=3, check=False)
    for delivery, execution in RUNS:
        read = Bundle.read(bundle(program, x, samples=2, delivery=delivery, execution=execution).members())
        checked = replay_bundle(read)
        assert checked.ok and read.golden is not None
        expected = integer_counts(program.graph("quantized"), program.graph(), {"x": x[:2]})
        for name, counts in expected.items():
            np.testing.assert_array_equal(read.golden.counts[name], counts.reshape(read.golden.counts[name].shape), err_msg=name)
        run_again(read, bundle_to_program(read.program))
        takes_the_same(read, program, {"x": x[:2]})
        spare = never_overflows(read, np.random.default_rng(0), f"{op.name}, {delivery}, {execution}")
    record_property("summary", f"{op.name}: spare bits of membranes, carried: {spare}")


def test_spiking_ops_in_any_company() -> None:
    refused = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        graph, inputs = random_spiking_graph(rng)
        program = Program({"spiking": graph}, {})
        delivery, execution = RUNS[seed % len(RUNS)]
        try:
            made = bundle(program, inputs, delivery=delivery, execution=execution)
        except UnsupportedError:
            refused += 1
            continue
        read = Bundle.read(made.members())
        assert replay_bundle(read).ok, f"seed {seed}, {delivery}, {execution}"
        never_overflows(read, rng, f"seed {seed}, {delivery}, {execution}")
        run_again(read, bundle_to_program(read.program))
    assert refused < 6


def test_the_same_program_gives_the_same_bytes_as_file_and_folder(tmp_path: Path) -> None:
    program, x = demo()
    for name in ("one.snnb", "two.snnb", "folder"):
        snnir.bundle(program, x).save(tmp_path / name)
    assert (tmp_path / "one.snnb").read_bytes() == (tmp_path / "two.snnb").read_bytes()
    assert snnir.load_bundle(tmp_path / "folder").members() == snnir.load_bundle(tmp_path / "one.snnb").members()
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == [
        "SHA256SUMS",
        "golden.safetensors",
        "host.safetensors",
        "manifest.json",
        "tensors.safetensors",
    ]


def test_a_program_from_a_bundle_saves_and_says_what_it_lacks(tmp_path: Path) -> None:
    program, x = demo()
    snnir.bundle(program, x).save(tmp_path / "digits.snnb")
    again = snnir.load(tmp_path / "digits.snnb")
    again.save(tmp_path / "again.snnir")
    loaded = snnir.load(tmp_path / "again.snnir")
    assert loaded.graph() == again.graph()
    np.testing.assert_array_equal(loaded.run(x).outputs["logits"], program.run(x).outputs["logits"])
    with pytest.raises(UsageError, match="what it came from .a bundle, .* holds the spiking one only"):
        loaded.verify(x)


def test_replay_finds_what_is_wrong() -> None:
    program, x = demo()
    made = snnir.bundle(program, x)
    golden = made.golden
    assert golden is not None
    counts = golden.counts["logits"].copy()
    counts[0, 0] += 1
    golden.counts["logits"] = counts
    rows = golden.events["rows"].rows.copy()
    rows[5, 2] += 1
    golden.events["rows"] = Events(rows, 1, golden.events["rows"].steps + 1)
    checked = replay_bundle(made)
    assert not checked.ok and checked.mismatches == 1 and checked.event_mismatches >= 1


def test_sizes_are_asked_for() -> None:
    for seed in range(40):
        program, data = program_of(seed)
        shape = program.graph().inputs[0].type.shape
        if any(not isinstance(size, int) for size in shape[1:]):
            with pytest.raises(UsageError, match="give samples, or the size of"):
                bundle(program)
            names = {
                str(size): found
                for size, found in zip(shape, data["x"].shape, strict=True)
                if not isinstance(size, int) and str(size) != "N"
            }
            assert bundle(program, sizes=names).golden is None
            return
    pytest.fail("no graph of open length among the seeds")
