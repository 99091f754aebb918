"""Hardware text: images read back as the same integers, and the Verilog core fires the golden spikes step by step."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import snnir
from snnir.backends.bundle import Bundle, Events, Golden
from snnir.backends.bundle.hardware import Image, layer_files, memory_files, parse_image
from snnir.backends.bundle.hardware.layers import CORE, FEW_CORE, TESTBENCH
from snnir.backends.simulator import EXECUTIONS
from snnir.cli.main import main
from snnir.errors import FileFormatError, UsageError
from snnir.export.bundle import bundle
from snnir.export.hardware import emit_bundle
from snnir.ir.ops import Lstm
from snnir.machine import IntegerProgram, emitting, interpret
from snnir.machine.microprogram import Microprogram
from snnir.machine.program import (
    Accumulator,
    Constant,
    FewSpikes,
    Function,
    IndexMap,
    Input,
    Population,
    Readout,
    Scan,
    State,
    Synapse,
    Train,
    trains_of,
    walk,
)
from snnir.machine.ranges import bits_of
from snnir.runtime.program import Program
from tests.backends.test_bundle import demo, program_of
from tests.backends.test_carry import recurrent

icarus = pytest.mark.skipif(
    shutil.which("iverilog") is None or shutil.which("vvp") is None,
    reason="Icarus Verilog (iverilog, vvp) is not installed; the Verilog core is not run",
)
RUNS = [("relay", "reset"), ("graded", "carry"), ("replay", "reset")]
_MEMORIES = ("rows", "targets", "weights", "threshold_bases", "thresholds", "initial")


@pytest.fixture(scope="module")
def digits() -> tuple[Program, np.ndarray]:
    return demo()


def write(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write files; returns the folders of layers."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return sorted({folder / name.partition("/")[0] for name in files if "/" in name})


def simulate(layer: Path) -> str:
    """Compile without a warning and run; the testbench's one line."""
    few = "`define FEW_SPIKES" in (layer / "layer.vh").read_text(encoding="utf-8")
    sources = [str(layer.parent / name) for name in (FEW_CORE if few else CORE, TESTBENCH)]
    command = ["iverilog", "-g2005", "-Wall", "-o", "run.vvp", *sources]
    compiled = subprocess.run(command, cwd=layer, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0 and not compiled.stdout + compiled.stderr, compiled.stdout + compiled.stderr
    result = subprocess.run(["vvp", "-n", "run.vvp"], cwd=layer, capture_output=True, text=True, check=True)
    assert not result.stderr and result.stdout.count("\n") == 1, result.stdout + result.stderr
    return result.stdout.strip()


def golden_spikes(made: Bundle, name: str) -> int:
    assert made.golden is not None
    return len(made.golden.events[name].rows)


def populations(made: Bundle) -> list[Population | FewSpikes]:
    return [op for op, _ in walk(made.program.ops) if isinstance(op, Population | FewSpikes)]


def all_match(folder: Path, made: Bundle) -> None:
    """Every population of a bundle, run in Verilog, fires its golden spikes."""
    layers = write(folder, layer_files(made))
    found = populations(made)
    assert len(layers) == len(found)
    for layer, op in zip(layers, found, strict=True):
        line = simulate(layer)
        assert line.startswith(f"OK: {golden_spikes(made, op.train.name)} spikes; "), f"{layer.name}: {line}"


@icarus
@pytest.mark.parametrize(("delivery", "execution"), RUNS)
def test_the_demos_recurrent_layer_fires_the_golden_spikes(
    tmp_path: Path, digits: tuple[Program, np.ndarray], delivery: str, execution: str
) -> None:
    program, x = digits
    made = bundle(program, x, samples=1, delivery=delivery, execution=execution)
    layer = write(tmp_path, layer_files(made))[-1]
    op = populations(made)[-1]
    header = (layer / "layer.vh").read_text(encoding="utf-8")
    certified = bits_of(made.bounds.registers[op.train.name]["membrane"])
    assert f"localparam MEMBRANE_BITS = {certified};" in header, "membranes have exactly the certified width"
    assert f"localparam RELAY = {int((delivery, execution) == ('relay', 'reset'))};" in header
    assert "localparam WINDOWS = 8;" in header
    line = simulate(layer)
    assert made.golden is not None
    spikes, steps = golden_spikes(made, op.train.name), made.settling.steps[op.train.name] + 1
    compared = f"({made.golden.samples} samples x 8 windows x {steps} steps x 96 neurons)"
    assert line.startswith(f"OK: {spikes} spikes; ") and compared in line, line


@icarus
def test_every_population_of_an_lstm_fires_the_golden_spikes(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(6, 4, 3)).astype(np.float32)
    program = snnir.compile(recurrent(Lstm(), 4, 2), calibration=x, bits=3, check=False)
    made = bundle(program, x, samples=1)
    found = populations(made)
    assert len(found) >= 7 and {op.staircase for op in found} == {True, False}
    all_match(tmp_path, made)


def random_layers(seed: int) -> Bundle:
    """Two populations in a row, of random kinds, weights of 2 to 16 bits and golden vectors of the NumPy replay."""
    rng = np.random.default_rng(seed)
    bits, inputs = 2 + seed % 15, int(rng.integers(1, 9))
    first = Train("x", (inputs,), -int(rng.integers(0, 5)), int(rng.integers(1, 9)), 1.0)
    ops: list[Input | Population] = [Input(first, "x")]
    for name in ("a", "b"):
        neurons = int(rng.integers(1, 12))
        lo, hi = -int(rng.choice([0, 1, 3])), int(rng.choice([1, 2, 7]))
        sources = [op.train for op in ops if rng.random() < 0.6 or op is ops[-1]]
        synapses = tuple(_random_synapse(rng, f"{name}{k}", source, neurons, bits) for k, source in enumerate(sources))
        rows, reach = int(rng.integers(1, 4)), 1 << bits
        staircase = bool((seed + len(ops)) % 2)
        theta = np.sort(rng.integers(-reach, reach, (rows, hi - lo))) if staircase else rng.integers(1, reach, rows)
        initial = rng.integers(-reach, reach, neurons)
        maps = IndexMap.of(np.arange(neurons)), IndexMap.of(rng.integers(0, rows, neurons))
        ops.append(Population(Train(name, (neurons,), lo, hi, 1.0), synapses, initial, maps[0], theta, maps[1], staircase))
    program = IntegerProgram("random", "relay", "reset", tuple(ops), ())
    levels = {"x": rng.integers(first.lo, first.hi + 1, (3, inputs))}
    levels["x"][0] = rng.choice([first.lo, first.hi], inputs)
    run = interpret(program, levels)
    events = {name: Events.of(train) for name, train in run.trains.items()}
    return Bundle(program, Golden(3, levels, {}, run.counts, events))


def _random_synapse(rng: np.random.Generator, name: str, source: Train, neurons: int, bits: int) -> Synapse:
    half, size = 1 << (bits - 1), source.size
    if rng.random() < 0.5:
        weights = rng.integers(-half, half, (neurons, size))
        return Synapse(name, source.name, "dense", weights, (size,), (neurons,))
    count = int(rng.integers(0, neurons * size + 1))
    rows, columns = np.sort(rng.integers(0, neurons, count)), rng.integers(0, size, count)
    return Synapse(name, source.name, "list", rng.integers(-half, half, count), (size,), (neurons,), rows=rows, columns=columns)


@icarus
@pytest.mark.parametrize("first", range(0, 15, 5))
def test_random_populations_of_any_width_fire_the_same_spikes(tmp_path: Path, first: int) -> None:
    for seed in range(first, first + 5):
        all_match(tmp_path / str(seed), random_layers(seed))


@icarus
def test_a_population_without_synapses_settles_from_where_it_starts(tmp_path: Path) -> None:
    maps, given = IndexMap(((2, 1),)), Input(Train("x", (1,), 0, 1, 1.0), "x")
    train = Train("a", (2,), -2, 3, 1.0)
    op = Population(train, (), np.array([25, -11]), maps, np.array([10, 10]), maps, False)
    program = IntegerProgram("none", "relay", "reset", (given, op), ())
    levels = {"x": np.ones((1, 1), np.int64)}
    run = interpret(program, levels)
    assert run.counts["a"].tolist() == [[3, -1]]
    events = {name: Events.of(rows) for name, rows in run.trains.items()}
    all_match(tmp_path, Bundle(program, Golden(1, levels, {}, run.counts, events)))


def random_recurrence(seed: int) -> Bundle:
    """A population whose own levels, negative ones too, come back in the next of four windows."""
    rng = np.random.default_rng(seed)
    bits, inputs, neurons = 2 + seed % 15, int(rng.integers(1, 4)), int(rng.integers(1, 9))
    lo, hi, reach = -int(rng.integers(1, 6)), int(rng.integers(1, 6)), 1 << bits
    train, back, final = (Train(name, (neurons,), lo, hi, 1.0) for name in ("y", "h", "end"))
    start = Constant(Train("start", (neurons,), lo, hi, 1.0), rng.integers(lo, hi + 1, neurons))
    given = Input(Train("x", (inputs,), -3, 3, 1.0), "x")
    synapses = tuple(_random_synapse(rng, source.name, source, neurons, bits) for source in (given.train, back))
    staircase = bool(seed % 2)
    theta = np.sort(rng.integers(-reach, reach, (neurons, hi - lo))) if staircase else rng.integers(1, reach, neurons)
    maps = IndexMap.of(np.arange(neurons))
    op = Population(train, synapses, rng.integers(-reach, reach, neurons), maps, theta, maps, staircase)
    scan = Scan("scan", 4, False, (State(back, "start", "y", final),), (), (), (), (given, op))
    program = IntegerProgram("random", "relay", "carry" if seed % 3 == 2 else "reset", (start, scan), ())
    levels = {"x": rng.integers(-3, 4, (2, 4, inputs))}
    run = interpret(program, levels)
    return Bundle(program, Golden(2, levels, {}, run.counts, {name: Events.of(rows) for name, rows in run.trains.items()}))


@icarus
def test_random_recurrences_feed_back_what_they_hold(tmp_path: Path) -> None:
    negative = 0
    for seed in range(12):
        made = random_recurrence(seed)
        layer = next(name for name in layer_files(made) if name.endswith("layer.vh"))
        assert f"RELAY = {int(not made.program.carry)};" in layer_files(made)[layer]
        assert made.golden is not None
        negative += int((made.golden.counts["y"][:, :-1] < 0).sum())
        all_match(tmp_path / str(seed), made)
    assert negative > 0


def few_neurons(
    rng: np.random.Generator, train: Train, synapses: tuple[Synapse, ...], start: int, bits: int, staircase: bool
) -> FewSpikes:
    """Few-spike neurons with random thresholds and gains, perhaps without their last bit."""
    rows, reach = int(rng.integers(1, 4)), 1 << bits
    theta = np.sort(rng.integers(-reach, reach, (rows, train.hi - train.lo))) if staircase else rng.integers(1, reach, rows)
    gained = tuple(
        dataclasses.replace(synapse, gain=rng.integers(0, 4, int(rng.choice([1, len(synapse.weights)]))))
        if rng.random() < 0.6 and len(synapse.weights)
        else synapse
        for synapse in synapses
    )
    maps = IndexMap.of(np.arange(train.size)), IndexMap.of(rng.integers(0, rows, train.size))
    initial, omitted = rng.integers(-reach, reach, train.size), int(rng.integers(0, min(train.bits, 2)))
    return FewSpikes(train, gained, initial, maps[0], theta, maps[1], staircase, start, omitted)


def golden_of(program: IntegerProgram, levels: dict[str, np.ndarray]) -> Bundle:
    """A bundle with golden vectors of the interpreter."""
    run = interpret(program, levels)
    events = {name: Events.of(rows) for name, rows in run.trains.items()}
    return Bundle(program, Golden(len(levels["x"]), levels, {}, run.counts, events))


def random_few_layers(seed: int) -> Bundle:
    """Three populations in a row, each of those before it and of the input: sources whose last bits come in different steps."""
    rng = np.random.default_rng(seed)
    bits, inputs = 2 + seed % 15, int(rng.integers(1, 6))
    first = Train("x", (inputs,), -int(rng.integers(0, 5)), int(rng.integers(1, 9)), 1.0)
    ops: list[Input | FewSpikes] = [Input(first, "x")]
    end = 1
    for name in ("a", "b", "c"):
        train = Train(name, (int(rng.integers(1, 9)),), -int(rng.choice([0, 1, 3, 8])), int(rng.choice([1, 2, 7, 15])), 1.0)
        sources = [op.train for op in ops if rng.random() < 0.6 or op is ops[-1]]
        synapses = tuple(_random_synapse(rng, f"{name}{k}", source, train.size, bits) for k, source in enumerate(sources))
        ops.append(few_neurons(rng, train, synapses, end, bits, bool((seed + len(ops)) % 2)))
        end += len(ops[-1].bits)  # type: ignore[union-attr]
    program = IntegerProgram("random", "relay", "reset", tuple(ops), (), neuron="few-spikes")
    levels = {"x": rng.integers(first.lo, first.hi + 1, (3, inputs))}
    levels["x"][0] = rng.choice([first.lo, first.hi], inputs)
    return golden_of(program, levels)


def random_few_recurrence(seed: int) -> Bundle:
    """A few-spike population whose own levels, negative ones too, come back bit by bit in the next of four windows."""
    rng = np.random.default_rng(seed)
    bits, inputs, neurons = 2 + seed % 15, int(rng.integers(1, 4)), int(rng.integers(1, 9))
    lo, hi = -int(rng.integers(1, 9)), int(rng.integers(1, 9))
    train, back, final = (Train(name, (neurons,), lo, hi, 1.0) for name in ("y", "h", "end"))
    constant = Constant(Train("start", (neurons,), lo, hi, 1.0), rng.integers(lo, hi + 1, neurons))
    given = Input(Train("x", (inputs,), -3, 3, 1.0), "x")
    synapses = tuple(_random_synapse(rng, source.name, source, neurons, bits) for source in (given.train, back))
    op = few_neurons(rng, train, synapses, train.bits, bits, bool(seed % 2))
    scan = Scan("scan", 4, False, (State(back, "start", "y", final, op.start_step),), (), (), (), (given, op))
    delivery = "graded" if seed % 3 == 2 else "relay"
    program = IntegerProgram("random", delivery, "reset", (constant, scan), (), neuron="few-spikes")
    return golden_of(program, {"x": rng.integers(-3, 4, (2, 4, inputs))})


@icarus
@pytest.mark.parametrize("first", range(0, 18, 6))
def test_few_spike_populations_of_any_width_tell_the_same_bits(tmp_path: Path, first: int) -> None:
    for seed in range(first, first + 6):
        all_match(tmp_path / str(seed), random_few_layers(seed))


@icarus
def test_few_spike_recurrences_feed_back_their_bits(tmp_path: Path) -> None:
    negative = 0
    for seed in range(12):
        made = random_few_recurrence(seed)
        files = layer_files(made)
        layer = next(name for name in files if name.endswith("layer.vh"))
        assert f"RELAY = {int(made.program.delivery == 'relay')};" in files[layer]
        assert made.golden is not None
        negative += int((made.golden.counts["y"][:, :-1] < 0).sum())
        all_match(tmp_path / str(seed), made)
    assert negative > 0


@icarus
def test_few_spike_populations_of_networks_tell_the_same_bits(tmp_path: Path, digits: tuple[Program, np.ndarray]) -> None:
    """The demo, its recurrent layer with what it feeds back itself, and an LSTM with products."""
    x = np.random.default_rng(0).normal(size=(6, 4, 3)).astype(np.float32)
    lstm = snnir.compile(recurrent(Lstm(), 4, 2), calibration=x, bits=3, check=False, neuron="few-spikes")
    demo_few = snnir.compile(digits[0].graph("float"), calibration=digits[1], bits=4, check=False, neuron="few-spikes")
    for number, made in enumerate((bundle(lstm, x, samples=1), bundle(demo_few, digits[1], samples=1))):
        layers = write(tmp_path / str(number), layer_files(made))
        for layer, op in zip(layers, populations(made), strict=True):
            if op.train.size <= 100:
                line = simulate(layer)
                assert line.startswith(f"OK: {golden_spikes(made, op.train.name)} spikes; "), f"{layer.name}: {line}"
    assert "RELAY = 1;" in (layers[-1] / "layer.vh").read_text(encoding="utf-8")


@icarus
def test_populations_of_random_networks_fire_the_same_spikes(tmp_path: Path) -> None:
    seen: set[str] = set()
    for seed in range(12):
        program, data = program_of(seed)
        made = bundle(program, data, samples=1, execution=EXECUTIONS[seed % 2])
        small = {
            op.train.name
            for op, windows in walk(made.program.ops)
            if isinstance(op, Population) and op.train.size * made.settling.steps[op.train.name] * (windows or 1) < 1500
        }
        if not small:
            continue
        layers = write(tmp_path / str(seed), layer_files(made))
        for layer, op in zip(layers, populations(made), strict=True):
            if op.train.name in small:
                line = simulate(layer)
                assert line.startswith(f"OK: {golden_spikes(made, op.train.name)} spikes; "), f"{layer}: {line}"
                seen |= {"staircase" if op.staircase else "uniform", *(synapse.kind for synapse in op.synapses)}
    assert seen >= {"staircase", "uniform", "dense", "conv"}, seen


@icarus
def test_the_testbench_sees_what_is_wrong(tmp_path: Path) -> None:
    made = random_layers(3)
    layer = write(tmp_path, layer_files(made))[0]
    assert simulate(layer).startswith("OK: ")
    good = {name: (layer / name).read_text(encoding="utf-8") for name in ("expected.txt", "weights.memh")}
    lines = good["expected.txt"].splitlines()
    sample, window, step, neuron, value = map(int, lines[-1].split())

    def with_file(name: str, text: str) -> str:
        (layer / name).write_text(text, encoding="utf-8")
        said = simulate(layer)
        (layer / name).write_text(good[name], encoding="utf-8")
        return said

    where = f"DIFFERENT: sample {sample} window {window} step {step} neuron {neuron}: "
    assert with_file("expected.txt", "\n".join([*lines[:-1], f"{sample} {window} {step} {neuron} {-value}"])) == (
        where + f"expected {-value}, found {value}"
    )
    assert with_file("expected.txt", "\n".join(lines[:-1])) == where + f"expected 0, found {value}"
    late = f"{sample + 9} 0 0 0 1"
    assert with_file("expected.txt", "\n".join([*lines, late])).startswith("DIFFERENT: events of sample")
    assert with_file("expected.txt", "") != simulate(layer)
    words = good["weights.memh"].splitlines()
    changed = ["0" * len(words[1])] * (len(words) - 1)
    assert with_file("weights.memh", "\n".join([words[0], *changed])).startswith("DIFFERENT: sample ")


@icarus
@pytest.mark.parametrize(("low", "high", "said"), [(-64, 63, "OVERFLOW"), (-128, 127, "OVERFLOW"), (-256, 255, "OK")])
def test_a_membrane_of_fewer_bits_than_needed_is_seen(tmp_path: Path, low: int, high: int, said: str) -> None:
    one = Train("x", (1,), 0, 1, 1.0)
    synapse = Synapse("w", "x", "dense", np.array([[100]]), (1,), (1,))
    neuron = IndexMap()
    train = Train("a", (1,), 0, 3, 1.0)
    op = Population(train, (synapse,), np.array([0]), neuron, np.array([60]), neuron, False)  # 30, then 130, needs 9 bits
    program = IntegerProgram("one", "relay", "reset", (Input(one, "x"), op), ())
    levels = {"x": np.ones((1, 1), np.int64)}
    run = interpret(program, levels)
    made = Bundle(program, Golden(1, levels, {}, run.counts, {name: Events.of(rows) for name, rows in run.trains.items()}))
    assert bits_of(made.bounds.registers["a"]["membrane"]) == 9
    made.bounds.registers["a"]["membrane"] = low, high
    line = simulate(write(tmp_path, layer_files(made))[0])
    assert line.startswith(said + ": "), line


def test_the_core_stays_within_what_is_synthesized() -> None:
    for made, core in ((random_layers(0), CORE), (random_few_layers(0), FEW_CORE)):
        code = re.sub(r"//.*|/\*.*?\*/", "", layer_files(made)[core])
        assert not re.search(r"#\s*\d|\b(real|while|for|forever|repeat|wait|fork|integer|time|force|task)\b", code)
        assert set(re.findall(r"\$\w+", code)) == {"$readmemh"}


@pytest.mark.parametrize("core", [CORE, FEW_CORE])
@pytest.mark.parametrize("tool", ["verilator", "yosys"])
def test_other_tools_take_the_cores(tmp_path: Path, tool: str, core: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    layer = write(tmp_path, layer_files(random_layers(0) if core == CORE else random_few_layers(0)))[0]
    module, testbench = core.removesuffix(".v"), {"SAMPLES", "WINDOWS", "STEPS", "CARRY"}
    testbench |= {"GROUP_BITS"} if core == CORE else set()
    found = re.findall(r"localparam (\w+) = (-?\d+);", (layer / "layer.vh").read_text(encoding="utf-8"))
    known = [(key, value) for key, value in found if key not in testbench]
    if tool == "verilator":
        command = [tool, "--lint-only", "-Wall", *(f"-G{key}={value}" for key, value in known), f"../{core}"]
    else:
        values = " ".join(f"-set {key} 32'sh{int(value) & 0xFFFFFFFF:x}" for key, value in known)
        script = f"read_verilog ../{core}; chparam {values} {module}; synth -noabc -top {module}; check -assert"
        command = [tool, "-q", "-p", script]
    result = subprocess.run(command, cwd=layer, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("bits", [*range(2, 20), 31, 32, 33, 48])
def test_images_read_back_as_the_same_integers(bits: int) -> None:
    rng = np.random.default_rng(bits)
    for signed in (True, False):
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        values = np.concatenate([[low, high, 0, high // 2], rng.integers(low, high + 1, 50)]).reshape(6, 9)
        image = Image.of("a.memh", values, "anything", signed)
        assert (image.bits, image.signed) == (bits, signed)
        np.testing.assert_array_equal(parse_image(image.text(), bits, signed), values.reshape(-1))
        digits = {len(line) for line in image.text().splitlines()[1:]}
        assert digits == {-(-bits // 4)}
    with pytest.raises(FileFormatError, match="line 2: 'xyz' is not a word"):
        parse_image("00\nxyz\n", bits, True)
    with pytest.raises(FileFormatError, match="line 1: .* is not a word"):
        parse_image(f"{1 << bits:x}", bits, False)


def test_images_refuse_what_they_cannot_hold() -> None:
    with pytest.raises(UsageError, match="a.memh: 0..1 needs 65 bits; images hold up to 64"):
        Image.of("a.memh", np.array([1]), "anything", least=65)
    with pytest.raises(UsageError, match="unsigned ones from 0 on"):
        Image.of("a.memh", np.array([-1]), "anything", signed=False)


def read_map(files: Mapping[str, str]) -> dict[tuple[object, ...], tuple[dict[str, object], np.ndarray]]:
    """Every memory by what it belongs to and its role; the map and the files agree with one another."""
    whole = json.loads(files["map.json"])
    assert (whole["format"], whole["version"]) == ("snnir memory map", 1)
    listed = [entry["file"] for entry in whole["memories"]]
    assert len(set(listed)) == len(listed) and {*listed, "map.json", "map.md"} == set(files)
    table = [line for line in files["map.md"].splitlines() if re.match(r"\| \d", line)]
    found: dict[tuple[object, ...], tuple[dict[str, object], np.ndarray]] = {}
    base = 0
    for entry, row in zip(whole["memories"], table, strict=True):
        values = parse_image(files[entry["file"]], entry["bits"], entry["signed"])
        assert entry["base"] == base and entry["words"] == values.size == int(np.prod(entry["shape"], dtype=np.int64))
        assert row.startswith(f"| {base} | {values.size} | {entry['bits']} ") and entry["file"] in row
        base += values.size
        (owner,) = (entry[kind] for kind in ("population", "readout", "accumulator", "running sum", "function") if kind in entry)
        key = owner, entry.get("synapse"), entry["role"]
        assert key not in found
        found[key] = entry, values.reshape(entry["shape"])
    return found


def microcode(op: Function, program: IntegerProgram) -> dict[tuple[object, ...], np.ndarray]:
    """The memories of a function's sequencer."""
    sizes = {train.name: train.size for other, _ in walk(program.ops) for train in trains_of(other)}
    flat = Microprogram()
    flat.write(op.code, [(flat.room(sizes[name]), sizes[name]) for name in op.sources])
    rows = np.array(flat.rows, np.int64).reshape(-1, 8)
    name = op.train.name
    return {
        (name, None, "constants"): flat.registers(),
        (name, None, "code"): rows,
        (name, None, "maps"): flat.register_maps(),
    }


@pytest.mark.parametrize("seed", range(0, 20, 2))
def test_the_map_leads_to_every_integer_of_the_program(seed: int) -> None:
    program, data = program_of(seed)
    made = bundle(program, data, samples=1, unroll=seed % 3 == 0)
    found = read_map(memory_files(made))
    expected: dict[tuple[object, ...], np.ndarray] = {}
    for op, _ in walk(made.program.ops):
        if isinstance(op, Function):
            expected |= microcode(op, made.program)
        if not isinstance(op, Population | Readout | Accumulator):
            continue
        name = op.train.name
        expected[name, None, "initial"] = op.initial[op.initial_map.array()]
        if isinstance(op, Population):
            expected |= {(name, None, "thresholds"): op.theta, (name, None, "threshold_rows"): op.theta_map.array()}
        for synapse in op.synapses:
            expected[name, synapse.name, "weights"] = synapse.weights
            if synapse.gain is not None:
                expected[name, synapse.name, "gain"] = synapse.gain
            tables = {"weight_map": synapse.weight_map, "spread": synapse.spread}
            expected |= {(name, synapse.name, role): table.array() for role, table in tables.items() if table is not None}
            if synapse.rows is not None and synapse.columns is not None:
                roles = ("targets", "offsets") if synapse.kind == "csr" else ("rows", "columns")
                expected |= {(name, synapse.name, roles[0]): synapse.rows, (name, synapse.name, roles[1]): synapse.columns}
            facts = found[name, synapse.name, "weights"][0]
            assert (facts["kind"], facts["source"]) == (synapse.kind, synapse.source)
            geometry = facts["geometry"]
            assert isinstance(geometry, dict)
            assert geometry["stride"] == list(synapse.stride) and geometry["inputs"] == list(synapse.inputs)
        held = json.loads(memory_files(made)["map.json"])["registers"][name]
        assert held["membrane_bits"] == bits_of(made.bounds.registers[name]["membrane"]) and held["neurons"] == op.train.size
    assert set(found) == set(expected)
    for key, values in expected.items():
        np.testing.assert_array_equal(found[key][1], values, err_msg=str(key))


def test_layers_hold_every_synapse_of_the_population(digits: tuple[Program, np.ndarray]) -> None:
    made = bundle(*digits, samples=1)
    files = layer_files(made)
    op = populations(made)[-1]
    stem = next(name.partition("/")[0] for name in files if name.startswith("01_"))
    layer = {name.partition("/")[2]: text for name, text in files.items() if name.startswith(f"{stem}/")}
    traces = {name: layer.pop(name) for name in ("layer.vh", "stimulus.txt", "expected.txt")}
    found = {str(key[2]): values for key, (_, values) in read_map(layer).items()}
    assert tuple(found) == _MEMORIES
    dense = np.zeros((144, 96), np.int64)
    sources = np.repeat(np.arange(144), np.diff(found["rows"]))
    dense[sources, found["targets"]] = found["weights"]
    feed, back = (synapse.expanded() for synapse in op.synapses)
    np.testing.assert_array_equal(dense[:48].T, feed)
    np.testing.assert_array_equal(dense[48:], np.diag(back))
    np.testing.assert_array_equal(found["initial"], op.initial + op.theta // 2)
    assert "from address 48 on" in traces["layer.vh"]
    rows = np.array([line.split() for line in traces["stimulus.txt"].splitlines()], np.int64)
    assert rows[:, 3].max() < 48, "the state starts at 0, and what is fed back later comes from the core itself"


def test_layers_need_golden_vectors_and_a_population(digits: tuple[Program, np.ndarray]) -> None:
    made = bundle(*digits, samples=1)
    with pytest.raises(UsageError, match="no golden vectors"):
        layer_files(Bundle(made.program))
    assert made.golden is not None
    name = populations(made)[0].train.name
    without = Golden(1, made.golden.inputs, events={key: rows for key, rows in made.golden.events.items() if key != name})
    with pytest.raises(UsageError, match=f"no events of {name}"):
        layer_files(Bundle(made.program, without))
    empty = IntegerProgram("empty", "relay", "reset", tuple(op for op in made.program.ops if isinstance(op, Input)), ())
    assert not any(isinstance(op, Population) for op, _ in emitting(empty).values())
    with pytest.raises(UsageError, match="no population"):
        layer_files(Bundle(empty, made.golden))


def test_the_command_line_writes_folders(
    tmp_path: Path, digits: tuple[Program, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    program, x = digits
    program.save(tmp_path / "digits.snnir")
    np.save(tmp_path / "x.npy", x)
    start = ["bundle", str(tmp_path / "digits.snnir"), "--samples", str(tmp_path / "x.npy"), "--count", "1"]
    assert main([*start, "--emit", "hex", "-o", str(tmp_path / "images"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    made = snnir.bundle(program, x, samples=1)
    images = {name: (tmp_path / "images" / name).read_text(encoding="utf-8") for name in facts["files"]}
    assert images == memory_files(made)
    assert main([*start, "--emit", "verilog", "-o", str(tmp_path / "core")]) == 0
    for name, text in layer_files(made).items():
        assert (tmp_path / "core" / name).read_text(encoding="utf-8") == text
    assert main([*start, "--emit", "hex", "-o", str(tmp_path / "x.memh")]) == 2
    assert "--emit hex writes a folder" in capsys.readouterr().err
    assert main([*start[:2], "--size", "N=1", "--emit", "verilog", "-o", str(tmp_path / "none")]) == 2
    assert "--emit verilog writes a folder with golden vectors: give --samples" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    with pytest.raises(UsageError, match="choose one of c, hex, verilog"):
        emit_bundle(made, "vhdl", tmp_path / "none")
    (tmp_path / "file").touch()
    assert main([*start, "--emit", "hex", "-o", str(tmp_path / "file" / "images")]) == 2
    assert "choose a folder that can be made" in capsys.readouterr().err
