"""The replay in C: equal to the integer reference, the simulator and the NumPy replay, count for count and event for event.

One engine is compiled with sanitizers and fed by files. It stops at any value outside a certified range, whatever the order of
events within a step; its operations are those that the simulator counts.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import snnir
from snnir.backends.bundle import Bundle, Events, Golden
from snnir.backends.bundle.c_replay import compile_engine, emit_c, run_engine
from snnir.backends.bundle.unpacked import checksum, unpacked
from snnir.cli.main import main
from snnir.errors import UnsupportedError, UsageError
from snnir.machine import emitting, interpret
from snnir.machine.program import (
    IndexMap,
    Input,
    IntegerProgram,
    Op,
    Population,
    Product,
    Readout,
    Scan,
    Summing,
    Synapse,
    Train,
    walk,
)
from snnir.machine.synapses import currents
from snnir.runtime.inputs import as_inputs, first_samples
from snnir.runtime.program import Program
from snnir.runtime.verification import integer_counts
from tests.backends.spiking_graphs import random_spiking_graph
from tests.backends.test_bundle import RUNS, adversarial, demo, program_of
from tests.models import data, model_of

SANITIZED = ("-g", "-O1", "-fsanitize=undefined,address", "-fno-sanitize-recover=all", "-DMOST_BYTES=((num)1<<28)")
CRASHED = 99
"""What sanitizers make of the exit status; the engine's own are 0, 1 and 2."""
SETTINGS = {"ASAN_OPTIONS": f"exitcode={CRASHED}:detect_leaks=0", "UBSAN_OPTIONS": f"exitcode={CRASHED}:halt_on_error=1"}
BLOCK = 25

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), reason="needs a C compiler: cc, gcc or clang"
)


class Engine:
    """The compiled engine, fed by a file."""

    def __init__(self, folder: Path) -> None:
        self.program, self.model = compile_engine(folder, SANITIZED), folder / "model.snnu"

    def run(self, content: bytes, *flags: str) -> tuple[int, str, str]:
        """Exit status, output and error of a run on an unpacked file."""
        self.model.write_bytes(content)
        command = [str(self.program), *flags, str(self.model)]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False, env={**os.environ, **SETTINGS})
        return done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace")

    def exact(self, made: Bundle, where: str) -> dict[str, int]:
        """Operations counted; the run must be as the golden vectors say, events added one by one and step by step."""
        content = unpacked(made)
        found = []
        for flags in ((), ("-a",)):
            status, output, error = self.run(content, *flags)
            assert status == 0 and output.endswith("\nOK\n"), f"{where} {flags}: {status}, {error}"
            found.append({key: int(value) for key, _, value in (line.rpartition(": ") for line in output.splitlines()[:-1])})
        assert found[0] == found[1], where
        return found[0]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine(tmp_path_factory.mktemp("engine"))


def bundle_of(program: Program, x: dict[str, np.ndarray], run: tuple[str, str], unroll: bool = False) -> Bundle:
    return snnir.bundle(program, x, samples=2, delivery=run[0], execution=run[1], unroll=unroll)


def check_everywhere(engine: Engine, program: Program, made: Bundle, x: dict[str, np.ndarray], where: str) -> None:
    """C replay == NumPy replay == simulator: settled counts, every event, and the operations that it took."""
    operations = engine.exact(made, where)
    golden = made.golden
    assert golden is not None
    counted = sum(counts.size for name, counts in golden.counts.items() if name not in golden.inputs)
    assert operations["counts compared"] == counted, where
    assert operations["events compared"] == sum(len(events.rows) for events in golden.events.values()), where
    adding, multiplying = count_additions(made, where)
    assert (operations["synaptic additions"], operations["of these with a multiplication"]) == (adding, multiplying), where
    graph = program.graph()
    few = first_samples(graph, as_inputs(graph, x), golden.samples)
    result = program.run(few, delivery=made.program.delivery, execution=made.program.execution)
    assert operations["spikes"] == sum(int(spikes.sum()) for spikes in result.spikes.values()), where
    unrolled = any(synapse.kind == "csr" for op, _ in walk(made.program.ops) for synapse in getattr(op, "synapses", ()))
    if unrolled:  # entries for weights other than 0 only
        assert adding <= result.total_synops.sum(), where
    else:
        assert adding == result.total_synops.sum(), where
        assert multiplying <= result.total_charges.sum(), where  # which count events of +-1 of encoders too


def count_additions(made: Bundle, where: str) -> tuple[int, int]:
    """Synaptic operations of the NumPy replay, and those of events beyond +-1; its counts and events must be golden."""
    module = import_module("snnir.machine.emitters.summing")
    found = [0, 0]

    def through(synapse: Synapse, events: np.ndarray) -> np.ndarray:
        for place, which in enumerate((events != 0, np.abs(events) > 1)):
            found[place] += int(currents(synapse, which.astype(np.int64), np.ones_like(synapse.weights)).sum())
        return currents(synapse, events)

    golden = made.golden
    assert golden is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "currents", through)
        result = interpret(made.program, golden.inputs)
    for name, counts in golden.counts.items():
        np.testing.assert_array_equal(result.counts[name], counts, err_msg=f"{where}: {name}")
    for name, events in golden.events.items():
        np.testing.assert_array_equal(Events.of(result.trains[name]).rows, events.rows, err_msg=f"{where}: {name}")
    return found[0], found[1]


def golden_of(program: IntegerProgram, inputs: dict[str, np.ndarray]) -> Golden:
    """What the NumPy replay says of levels, as golden vectors."""
    result = interpret(program, inputs)
    known = emitting(program)
    golden = Golden(len(next(iter(inputs.values()))), inputs, {}, result.counts)
    for name, (op, _) in known.items():
        if not isinstance(op, Readout):
            golden.events[name] = Events.of(result.trains[name])
    return golden


@pytest.mark.parametrize("first", range(0, 100, BLOCK))
def test_random_graphs_replay_in_c(engine: Engine, first: int, record_property: Callable[[str, object], None]) -> None:
    events = 0
    for seed in range(first, first + BLOCK):
        program, x = program_of(seed)
        where = f"seed {seed}, {RUNS[seed % len(RUNS)]}"
        made = bundle_of(program, x, RUNS[seed % len(RUNS)], seed % 5 == 0)
        check_everywhere(engine, program, made, x, where)
        assert made.golden is not None
        few = {name: array[:2] for name, array in x.items()}
        for name, counts in integer_counts(program.graph("quantized"), program.graph(), few).items():
            np.testing.assert_array_equal(made.golden.counts[name].reshape(counts.shape), counts, err_msg=f"{where}: {name}")
        events += sum(len(train.rows) for train in made.golden.events.values())
        made.golden = golden_of(made.program, adversarial(made, np.random.default_rng(seed), 4))
        engine.exact(made, f"{where}, adversarial")
    record_property("summary", f"replay in C: graphs {first} to {first + BLOCK - 1}, {events:,} events, no difference")


def tamed(op: Op) -> Op:
    """Thresholds that no sum reaches (these graphs have some near 2^61) made as small as a bundle wants them."""
    if isinstance(op, Scan):
        return dataclasses.replace(op, ops=tuple(map(tamed, op.ops)))
    return dataclasses.replace(op, theta=op.theta.clip(-(1 << 40), 1 << 40)) if isinstance(op, Population) else op


def test_every_kind_of_op_replays_in_c(engine: Engine) -> None:
    seen: Counter[str] = Counter()
    for seed in range(30):
        graph, x = random_spiking_graph(np.random.default_rng(seed))
        program = Program({"spiking": graph}, {})
        try:
            made = bundle_of(program, x, RUNS[seed % 6], seed % 8 == 7)
        except UnsupportedError:
            continue
        made = Bundle(dataclasses.replace(made.program, ops=tuple(map(tamed, made.program.ops))), made.golden)
        check_everywhere(engine, program, made, x, f"seed {seed}")
        for op, windows in walk(made.program.ops):
            seen[type(op).__name__] += 1
            seen["in a scan"] += windows is not None
            if isinstance(op, Population):
                seen["staircase" if op.staircase else "uniform"] += 1
            for synapse in op.synapses if isinstance(op, Summing) else ():
                seen[synapse.kind] += 1
                seen["spread"] += synapse.spread is not None
    kinds = "Input Constant Route Population Readout Max Scan dense conv one list csr spread staircase uniform"
    assert not [kind for kind in kinds.split() if not seen[kind]], seen


@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
def test_recurrent_cells_replay_in_c(engine: Engine, cell: str) -> None:
    rng = np.random.default_rng(len(cell))
    gates = 3 if cell == "GRU" else 4
    nodes = [
        helper.make_node(cell, ["x", "W", "R"], ["Y", "H"], name="cell", hidden_size=4),
        helper.make_node("Squeeze", ["H", "zero"], ["h"], name="squeeze"),
        helper.make_node("Gemm", ["h", "v"], ["y"], name="head", transB=1),
    ]
    shapes = {"W": (1, gates * 4, 3), "R": (1, gates * 4, 4), "v": (2, 4)}
    weights = {name: (rng.normal(size=shape) * 0.7).astype(np.float32) for name, shape in shapes.items()}
    model = model_of(nodes, [5, "N", 3], {**weights, "zero": np.array([0])})
    x = data(rng, 5, 8, 3)
    program = snnir.compile(model, calibration=x, check=False)
    for run in RUNS:
        made = bundle_of(program, {"x": x}, run)
        check_everywhere(engine, program, made, {"x": x}, f"{cell}, {run}")
        assert any(isinstance(op, Product) and windows == 5 for op, windows in walk(made.program.ops))


def test_the_demo_replays_in_c(engine: Engine, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    program, x = demo()
    name = program.graph().inputs[0].name
    for run in RUNS:
        made = bundle_of(program, {name: x}, run, run == RUNS[-1])
        check_everywhere(engine, program, made, {name: x}, f"demo, {run}")
        inputs = adversarial(made, np.random.default_rng(3), 4)
        engine.exact(Bundle(made.program, golden_of(made.program, inputs)), f"demo, {run}, adversarial")
    status, output, _ = engine.run(unpacked(Bundle(made.program, golden_of(made.program, inputs))), "-v")
    lines = [line for line in output.splitlines() if "certified" in line]
    assert status == 0 and len(lines) == 5, "three membranes and two tracers"
    record_property("summary", "\n".join(["demo, in C, adversarial inputs:", *lines]))
    written = emit_c(made, tmp_path / "folder")
    assert sorted(path.name for path in written) == ["Makefile", "README.md", "model.snnu", "snnir_replay.c"]
    assert run_engine(made, apart=True).ok
    if shutil.which("make"):
        done = subprocess.run(["make", "-C", str(tmp_path / "folder"), "check"], capture_output=True, text=True, check=True)
        assert "synaptic additions" in done.stdout and "\nOK\n" in done.stdout


def single(rng: np.random.Generator, kind: str) -> Bundle:
    """One dense layer of 6 neurons, or sums, on 9 inputs."""
    entry = Input(Train("x", (9,), -7 if kind == "uniform" else 0, 7, 1.0), "x")
    weights = rng.integers(-100, 100, (6, 9))
    synapse = Synapse("w", "x", "dense", weights, (9,), (6,))
    initial, rows = rng.integers(-50, 50, 6), IndexMap(((6, 1),))
    if kind == "readout":
        train, scale = Train("y", (6,), 0, 0, 1.0), (np.ones(1), IndexMap(((6, 0),)))
        op: Readout | Population = Readout(train, (synapse,), initial, rows, *scale)
    elif kind == "uniform":
        op = Population(Train("y", (6,), -5, 9, 1.0), (synapse,), initial, rows, rng.integers(30, 300, 6), rows, False)
    else:
        theta = np.sort(rng.integers(-900, 900, (6, 8)), axis=1)
        op = Population(Train("y", (6,), -3, 5, 1.0), (synapse,), initial, rows, theta, rows, True)
    program = IntegerProgram("single", "relay", "reset", (entry, op), ())
    extremes = [np.where(side * row >= 0, entry.train.hi, entry.train.lo) for row in weights for side in (1, -1)]
    inputs = {"x": np.stack(extremes).astype(np.int64)}
    return Bundle(program, golden_of(program, inputs))


@pytest.mark.parametrize("kind", ["uniform", "staircase", "readout"])
def test_inputs_built_to_reach_the_bounds_reach_them_and_less_is_not_enough(engine: Engine, kind: str) -> None:
    for seed in range(5):
        made = single(np.random.default_rng(seed), kind)
        engine.exact(made, f"{kind} {seed}")
        _, output, _ = engine.run(unpacked(made), "-v", "-a")
        found = re.search(r"y membrane: (\S+)\.\.(\S+) certified \((\d+) bits\), (\S+)\.\.(\S+) held", output)
        assert found is not None
        low, high, bits, least, most = map(int, found.groups())
        assert (low, high) == (least, most) == made.bounds.registers["y"]["membrane"]
        assert -(1 << (bits - 1)) <= low and high < 1 << (bits - 1)
        assert low < -(1 << (bits - 2)) or high >= 1 << (bits - 2), "no bit is to spare"
        for narrower in ((low + 1, high), (low, high - 1)):
            made.bounds.registers["y"]["membrane"] = narrower
            status, _, error = engine.run(unpacked(made))
            assert status == 1
            assert re.search(rf"y, sample \d+, .* would be -?\d+, certified is {narrower[0]}\.\.{narrower[1]}", error)


def test_the_engine_finds_what_is_wrong(engine: Engine) -> None:
    made = single(np.random.default_rng(1), "uniform")
    assert made.golden is not None
    made.golden.counts["y"][3, 2] += 1
    status, _, error = engine.run(unpacked(made))
    assert status == 1 and "y, sample 3, window 0" in error and "count [2] is" in error and "1 differences" in error
    made.golden.counts["y"][3, 2] -= 1
    made.golden.events["y"].rows[5, 4] *= -1
    assert engine.run(unpacked(made))[0] == 1
    made.golden.events["y"].rows[5, 4] *= -1
    rows = made.golden.events["y"].rows
    made.golden.events["y"] = Events(np.delete(rows, 7, axis=0), 1, made.golden.events["y"].steps)
    status, _, error = engine.run(unpacked(made))
    assert status == 1 and "the number of events" in error
    made.golden.events["y"] = Events(rows, 1, made.golden.events["y"].steps)
    made.settling.steps["y"] -= 1
    assert "certified are" in engine.run(unpacked(made))[2]


def test_damaged_files_give_one_clear_error_and_no_memory_error(engine: Engine) -> None:
    """Half of them with the checksum made right again, so that the engine goes on with what it was given."""
    rng = np.random.default_rng(0)
    wholes = []
    for seed in (0, 1, 2, 3, 5, 9):
        graph, x = random_spiking_graph(np.random.default_rng(seed), 1)
        made = bundle_of(Program({"spiking": graph}, {}), x, RUNS[seed % 6])
        wholes.append(unpacked(Bundle(dataclasses.replace(made.program, ops=tuple(map(tamed, made.program.ops))), made.golden)))
    statuses: Counter[int] = Counter()
    for turn in range(400):
        whole = bytearray(wholes[turn % len(wholes)])
        if turn % 8 == 0:
            whole = whole[: int(rng.integers(len(whole)))]
        elif turn % 8 == 1:
            whole += bytes(int(rng.integers(1, 20)))
        elif turn % 8 == 2:
            whole[int(rng.integers(len(whole)))] ^= 1 << int(rng.integers(8))
        else:
            for _ in range(int(rng.integers(1, 3))):
                at = 8 * int(rng.integers(1, len(whole) // 8 - 1))
                (old,) = struct.unpack_from("<q", whole, at)
                extremes = (0, -1, 1, 7, 1 << 24, 1 << 31, 1 << 40, (1 << 63) - 1, -(1 << 63))
                new = (*extremes, old + 1, old - 1, old ^ 255, 2 * old)[int(rng.integers(len(extremes) + 4))]
                struct.pack_into("<Q", whole, at, new % (1 << 64))
            whole[-8:] = struct.pack("<Q", checksum(bytes(whole[8:-8])))
        status, output, error = engine.run(bytes(whole), *(["-a"] if turn % 2 else []))
        assert status in (0, 1, 2), f"turn {turn}: {status}, {error[-2000:]}"
        if turn % 8 < 3:
            assert status == 2
        if status:
            assert error.startswith("snnir_replay: ") or "expected" in error, error
            assert "OK" not in output
        statuses[status] += 1
    assert statuses[2] > 150 and statuses[1] > 5, statuses
    missing = subprocess.run([str(engine.program), "nothing.snnu"], capture_output=True, text=True, check=False)
    assert missing.returncode == 2 and "nothing.snnu cannot be read" in missing.stderr


def test_the_command_line_writes_a_folder_and_replays_in_c(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program, x = demo()
    program.save(tmp_path / "digits.snnir")
    np.save(tmp_path / "x.npy", x)
    names = [str(tmp_path / name) for name in ("digits.snnir", "x.npy", "c", "digits.snnb")]
    assert main(["bundle", names[0], "--samples", names[1], "--emit", "c", "-o", names[2], "--json"]) == 0
    assert "snnir_replay.c" in capsys.readouterr().out
    assert (tmp_path / "c" / "model.snnu").read_bytes() == unpacked(snnir.bundle(program, x))
    assert main(["bundle", names[0], "--samples", names[1], "-o", names[3], "--json"]) == 0
    capsys.readouterr()
    assert main(["replay", names[3], "--engine", "c", "--json"]) == 0
    assert '"ok": true' in capsys.readouterr().out
    assert main(["replay", names[3], names[1], "--engine", "c", "--json"]) == 0
    assert f'"logits": [{len(x)}, 10]' in " ".join(capsys.readouterr().out.split()).replace("[ ", "[").replace(" ]", "]")
    assert main(["bundle", names[0], "--emit", "c", "-o", names[2]]) == 2
    assert "--samples" in capsys.readouterr().err
    monkeypatch.setenv("CC", "no-such-compiler")
    assert main(["replay", names[3], "--engine", "c"]) == 2
    assert "'no-such-compiler' that CC names is not there" in " ".join(capsys.readouterr().err.split())


def test_a_bundle_without_golden_vectors_cannot_be_unpacked() -> None:
    made = single(np.random.default_rng(0), "readout")
    with pytest.raises(UsageError, match="has no golden vectors"):
        unpacked(Bundle(made.program))


def test_what_64_bits_cannot_hold_safely_is_refused_by_name() -> None:
    made = single(np.random.default_rng(0), "uniform")
    made.bounds.registers["y"]["membrane"] = (0, 1 << 48)
    with pytest.raises(UnsupportedError, match=r"membrane of y: 0\.\.281474976710656"):
        unpacked(made)
    made.program.ops[1].synapses[0].weights[0, 0] = 1 << 30  # type: ignore[union-attr]
    with pytest.raises(UnsupportedError, match="weights of w: integers"):
        unpacked(made)
