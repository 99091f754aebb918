"""One file for all commands: compile, verify, run, bundle and replay take the same data, and give the same outputs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import snnir
from snnir.backends.bundle import Golden
from snnir.cli.main import main
from snnir.errors import InputError
from snnir.export.replay import InputRun, bundle_facts, run_inputs
from snnir.ir import Graph, TensorType, Value
from snnir.ir.dims import dim
from snnir.ir.ops import Linear, Lookup, Reshape, Rnn, Softmax, Transpose

N, T, SAMPLES = dim("N"), dim("T"), 5


def weights(graph: Graph, *shapes: tuple[int, ...]) -> list[Value]:
    rng = np.random.default_rng(len(graph.constants))
    return [graph.constant("w", (rng.normal(size=shape) * 0.4).astype(np.float32)) for shape in shapes]


def sequence_first() -> tuple[Graph, dict[str, np.ndarray]]:
    """Time at axis 0, of as many elements as there are samples; what the host computes of the result comes last."""
    graph = Graph("sequence_first")
    x = graph.input("x", TensorType((T, N, 5), "f32"))
    rows = graph.add1(Transpose((1, 0, 2)), x)
    every, _ = graph.add(Rnn("relu"), rows, *weights(graph, (6, 5), (6, 6), (6,), (1, 6)), names=["all", "last"])
    y = graph.add1(Linear(), every, *weights(graph, (3, 6)))
    graph.output("y", graph.add1(Softmax(2), graph.add1(Transpose((1, 0, 2)), y)))
    return graph, {"x": np.random.default_rng(0).normal(size=(SAMPLES, SAMPLES, 5)).astype(np.float32)}


def states() -> tuple[Graph, dict[str, np.ndarray]]:
    """A state that comes in and goes out, with the batch at axis 1."""
    graph = Graph("states")
    x = graph.input("x", TensorType((N, T, 5), "f32"))
    h = graph.input("h", TensorType((1, N, 6), "f32"))
    first = graph.add1(Reshape((N, 6)), graph.add1(Transpose((1, 0, 2)), h))
    parameters = weights(graph, (6, 5), (6, 6), (6,))
    every, last = graph.add(Rnn("relu"), x, *parameters, first, names=["all", "last"])
    graph.output("y", graph.add1(Linear(), every, *weights(graph, (3, 6))))
    graph.output("hn", graph.add1(Reshape((1, N, 6)), last))
    rng = np.random.default_rng(1)
    x_data, h_data = rng.normal(size=(SAMPLES, 4, 5)), np.abs(rng.normal(size=(1, SAMPLES, 6))) * 0.3
    return graph, {"x": x_data.astype(np.float32), "h": h_data.astype(np.float32)}


def tokens() -> tuple[Graph, dict[str, np.ndarray]]:
    """Words by number, whose vectors the host looks up."""
    graph = Graph("tokens")
    words = graph.input("words", TensorType((N, T), "i64"))
    (table,) = weights(graph, (20, 6))
    vectors = graph.add1(Lookup(), table, words)
    _, last = graph.add(Rnn("relu"), vectors, *weights(graph, (6, 6), (6, 6), (6,), (1, 6)), names=["all", "last"])
    graph.output("y", graph.add1(Linear(), last, *weights(graph, (4, 6))))
    return graph, {"words": np.random.default_rng(2).integers(0, 20, size=(SAMPLES, 7))}


@pytest.mark.parametrize("neuron", ["bif", "few-spikes"])
@pytest.mark.parametrize("kind", [sequence_first, states, tokens])
def test_one_file_for_all_commands(
    kind: Callable[[], tuple[Graph, dict[str, np.ndarray]]], neuron: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    graph, data = kind()
    program = snnir.compile(graph, calibration=data, bits=3, neuron=neuron)
    program.save("model.snnir")
    np.savez("x.npz", **data)  # type: ignore[arg-type]
    file = "x.npz"
    if len(data) == 1:
        file = "x.npy"
        np.save(file, next(iter(data.values())))
    expected = program.run(data)
    commands = [
        f"verify model.snnir {file}",
        f"bundle model.snnir --samples {file} -o model.snnb",
        f"run model.snnir {file} -o program.npz",
        f"run model.snnb {file} -o bundle.npz",
        f"replay model.snnb {file} -o replay.npz",
    ]
    results = ["program.npz", "bundle.npz", "replay.npz"]
    if any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))):
        commands.append(f"replay model.snnb {file} -o c.npz --engine c")
        results.append("c.npz")
    for command in commands:
        assert main([*command.split(), "--json"]) == 0, command
    populations = bundle_facts(snnir.load_bundle("model.snnb"))["populations"]
    assert ("few-spikes" in str(populations)) == (neuron == "few-spikes")
    for name in results:
        with np.load(name) as found:
            assert [key for key in found if key.startswith("output/")] == [f"output/{key}" for key in expected.outputs]
            for key, array in expected.outputs.items():
                np.testing.assert_array_equal(found[f"output/{key}"], array, err_msg=f"{name} {key}")


@pytest.mark.skipif(
    not any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), reason="needs a C compiler: cc, gcc or clang"
)
def test_inputs_replayed_in_c_are_held_against_those_in_numpy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    graph, data = sequence_first()
    program = snnir.compile(graph, calibration=data, bits=3)
    np.save("x.npy", next(iter(data.values())))
    snnir.bundle(program, sizes={"T": SAMPLES}).save("model.snnb")  # without golden vectors
    replay = ["replay", "model.snnb", "x.npy", "--engine", "c", "--json"]
    assert main(replay) == 0
    facts = json.loads(capsys.readouterr().out)["inputs_in_c"]
    made = snnir.load_bundle("model.snnb")
    golden = run_inputs(made, data).golden()
    assert facts["events_compared"] == sum(len(events.rows) for events in golden.events.values())
    real = InputRun.golden

    def off_by_one(self: InputRun) -> Golden:
        found = real(self)
        name = next(name for name, counts in found.counts.items() if name not in found.inputs)
        found.counts[name] = found.counts[name] + (np.arange(found.counts[name].size).reshape(found.counts[name].shape) == 3)
        return found

    monkeypatch.setattr(InputRun, "golden", off_by_one)
    assert main(replay) == 1
    assert not json.loads(capsys.readouterr().out)["inputs_in_c"]["ok"]


def test_a_bundle_says_what_it_takes() -> None:
    graph, data = states()
    made = snnir.bundle(snnir.compile(graph, calibration=data, bits=3), data)
    with pytest.raises(InputError, match=r"takes 2 inputs \(x, h\): give a dict of arrays by name"):
        run_inputs(made, data["x"])
    with pytest.raises(InputError, match=r"input x: expected shape \[N, 4, 5\], found \[5, 3, 5\]"):
        run_inputs(made, {**data, "x": data["x"][:, 1:]})


def test_facts_in_json_are_numbers_and_the_table_says_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph, data = sequence_first()
    file = str(tmp_path / "b.snnb")
    snnir.bundle(snnir.compile(graph, calibration=data, bits=3), data).save(file)
    assert main(["inspect", file, "--json"]) == 0
    for item in json.loads(capsys.readouterr().out)["populations"].values():
        assert isinstance(item["size"], int) and all(isinstance(bits, int) for bits in item["bits"].values())
    assert main(["replay", file, "--json"]) == 0
    registers = json.loads(capsys.readouterr().out)["registers"]
    assert registers and all(
        bits["bits_needed"] <= bits["bits_certified"] for found in registers.values() for bits in found.values()
    )
    assert main(["inspect", file]) == 0 and " bif uniform; bits: " in " ".join(capsys.readouterr().out.split())
    assert main(["replay", file]) == 0 and "bits certified" in " ".join(capsys.readouterr().out.split())
