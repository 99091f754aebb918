"""Runs in chunks: the same results as at once, from every kind of data set, whatever interrupts them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import zarr
from onnx import TensorProto, helper

import snnir
import snnir.cli.report
from snnir.cli.main import main
from snnir.errors import InputError, SnnirError, UsageError
from snnir.runtime import streaming
from snnir.runtime.streaming import Options, open_source, run_stream
from snnir.runtime.totals import RunTotals
from tests.models import crnn, data, model_of, perceptron

SAMPLES = 53


@pytest.fixture(scope="module")
def program() -> snnir.Program:
    """A perceptron of 6 inputs."""
    rng = np.random.default_rng(0)
    return snnir.compile(perceptron(rng), calibration=data(rng, 50, 6))


@pytest.fixture(scope="module")
def recurrent() -> snnir.Program:
    """A CRNN of x[N, 4, 6]."""
    rng = np.random.default_rng(2)
    return snnir.compile(crnn(rng), calibration=data(rng, 20, 4, 6))


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return data(np.random.default_rng(1), SAMPLES, 6)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def arrays_of(folder: Path) -> dict[str, np.ndarray]:
    """The results in a folder, by the names that a .npz has."""
    names = json.loads((folder / "arrays.json").read_text(encoding="utf-8"))
    return {name: np.load(folder / facts["file"]) for name, facts in names.items()}


def assert_as_at_once(program: snnir.Program, x: object, found: dict[str, np.ndarray], options: Options) -> None:
    result = program.run(x, **vars(options))  # type: ignore[arg-type]
    expected = {f"output/{name}": array for name, array in result.outputs.items()}
    expected |= {f"spikes/{name}": array for name, array in result.spikes.items()}
    expected |= {f"synops/{name}": array for name, array in result.synops.items()} | {"steps": result.steps}
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def write(kind: str, x: np.ndarray, folder: Path) -> Path:
    """`x` as a data set of one kind."""
    path = folder / f"x.{kind}"
    if kind == "npy":
        np.save(path, x)
    elif kind == "npz":
        np.savez(path, x=x)
    elif kind == "compressed.npz":
        np.savez_compressed(path, x=x)
    elif kind == "fortran.npy":
        np.save(path, np.asfortranarray(x))
    elif kind == "shards":
        path.mkdir()
        for number, (first, last) in enumerate([(0, 20), (20, 20), (20, 21), (21, len(x))]):
            np.save(path / f"part-{number:03}.npy", x[first:last])
    elif kind == "archives":
        path.mkdir()
        np.savez(path / "a.npz", x=x[:30])
        np.savez_compressed(path / "b.npz", x=x[30:])
    elif kind == "zarr":
        zarr.save(str(path), x)
    elif kind == "group.zarr":
        zarr.save_group(str(path), x=x)
    elif kind == "parquet":
        table = pyarrow.table({"x": pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(x.ravel()), x.shape[1])})
        pyarrow.parquet.write_table(table, path, row_group_size=17)
    elif kind == "lists.parquet":
        pyarrow.parquet.write_table(pyarrow.table({"x": x.tolist()}), path, row_group_size=17)
    return path


KINDS = ["npy", "npz", "compressed.npz", "fortran.npy", "shards", "archives", "zarr", "group.zarr", "parquet", "lists.parquet"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data_set_gives_the_results_of_a_run_at_once(
    program: snnir.Program, x: np.ndarray, tmp_path: Path, kind: str
) -> None:
    path = write(kind, x, tmp_path)
    source = open_source(program.graph("spiking"), path)
    rng = random.Random(kind)
    for _ in range(10):  # in any order, across the borders of parts
        start = rng.randrange(SAMPLES)
        stop = rng.randrange(start, SAMPLES + 1)
        if start < stop:
            np.testing.assert_array_equal(source.read(start, stop)["x"], x[start:stop])
    chunk = rng.randrange(1, SAMPLES + 10)
    seen: list[tuple[int, int]] = []
    found = run_stream(program, path, tmp_path / "out", chunk=chunk, progress=lambda *state: seen.append(state))
    assert_as_at_once(program, x, arrays_of(tmp_path / "out"), Options())
    assert found.totals == RunTotals.of(program.run(x))
    assert seen[0] == (0, SAMPLES) and seen[-1] == (SAMPLES, SAMPLES) and len(seen) == 1 + -(-SAMPLES // chunk)


@pytest.mark.parametrize(
    "options",
    [
        Options(steps=3),
        Options(delivery="replay"),
        Options(execution="carry", delivery="graded"),
        Options(backend="torch"),
    ],
)
def test_options_are_those_of_a_run_at_once(recurrent: snnir.Program, tmp_path: Path, options: Options) -> None:
    program, x = recurrent, data(np.random.default_rng(5), 23, 4, 6)
    np.save(tmp_path / "x.npy", x)
    found = run_stream(program, tmp_path / "x.npy", tmp_path / "out", options, chunk=5, labels=np.arange(23) % 3)
    result = program.run(x, **vars(options))
    assert found.totals == RunTotals.of(result)
    assert found.accuracy == snnir.cli.report.accuracy(result.outputs, np.arange(23) % 3)
    assert_as_at_once(program, x, arrays_of(tmp_path / "out"), options)


def open_sequences() -> snnir.Program:
    """x[T, N, 3] and sequence lengths [N] to an RNN's states [T, 1, N, 4] and a sum over two inputs."""
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("RNN", ["x", "W", "R", "", "lengths"], ["y", ""], name="rnn", hidden_size=4, activations=["Relu"]),
    ]
    weights: dict[str, np.ndarray] = {
        "W": rng.normal(size=(1, 4, 3)).astype(np.float32),
        "R": rng.normal(size=(1, 4, 4)).astype(np.float32) / 2,
    }
    model = model_of(nodes, ["T", "N", 3], weights)
    model.graph.input.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, ["N"]))
    x = {"x": data(rng, 7, 20, 3), "lengths": rng.integers(1, 8, 20).astype(np.int32)}
    return snnir.compile(model, calibration=x)


def test_sequences_of_any_length_several_inputs_and_samples_along_another_axis(tmp_path: Path) -> None:
    program, rng = open_sequences(), np.random.default_rng(4)
    inputs = {"x": data(rng, 5, 23, 3), "lengths": rng.integers(1, 6, 23).astype(np.int32)}
    np.savez(tmp_path / "x.npz", x=inputs["x"], lengths=inputs["lengths"])
    (tmp_path / "folder" / "lengths").mkdir(parents=True)
    np.save(tmp_path / "folder" / "x.npy", inputs["x"])
    np.save(tmp_path / "folder" / "lengths" / "0.npy", inputs["lengths"][:9])
    np.save(tmp_path / "folder" / "lengths" / "1.npy", inputs["lengths"][9:])
    for place in ("x.npz", "folder"):
        run_stream(program, tmp_path / place, tmp_path / f"out-{place[0]}", chunk=4)
        assert_as_at_once(program, inputs, arrays_of(tmp_path / f"out-{place[0]}"), Options())
    np.savez_compressed(tmp_path / "c.npz", x=inputs["x"], lengths=inputs["lengths"])
    with pytest.raises(InputError, match="do not lie one after another"):
        run_stream(program, tmp_path / "c.npz", tmp_path / "out-c", chunk=4)


class InterruptionError(Exception):
    """An interruption."""


def test_interrupted_runs_go_on_and_compute_nothing_twice(
    program: snnir.Program, x: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "x.npy", x)
    run_stream(program, tmp_path / "x.npy", tmp_path / "whole", chunk=4)
    computed: list[int] = []
    real = streaming.chunks.simulate_chunk

    def counted(*arguments: object) -> object:
        if rng.random() < 0.3:
            raise InterruptionError
        computed.append(len(arguments[1]["x"]))  # type: ignore[index]
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(streaming.job, "simulate_chunk", counted)
    rng = random.Random(0)
    interruptions = 0
    while True:
        before = sum(computed)
        try:
            result = run_stream(program, tmp_path / "x.npy", tmp_path / "out", chunk=4)
            break
        except InterruptionError:
            interruptions += 1
    assert interruptions > 2
    assert result.resumed == before and sum(computed) == SAMPLES
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_line_of_the_journal_that_was_cut_off_is_done_again(program: snnir.Program, x: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", x)
    run_stream(program, tmp_path / "x.npy", tmp_path / "out", chunk=4)
    whole = contents(tmp_path / "out")
    journal = tmp_path / "out" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    for kept in (lines[:3] + [lines[3][:20]], lines[:2] + lines[5:9], []):
        journal.write_bytes(b"".join(kept))
        spoiled = np.load(tmp_path / "out" / "output" / "y.npy", mmap_mode="r+")
        spoiled[12:16] = 77  # rows of chunk 3, half-written
        del spoiled
        resumed = run_stream(program, tmp_path / "x.npy", tmp_path / "out", chunk=4).resumed
        assert resumed == 4 * sum(line.endswith(b"\n") for line in kept)
        assert contents(tmp_path / "out") == whole


SLOW = """
import sys, time
from pathlib import Path
import snnir
import snnir.cli.report
from snnir.runtime import streaming
real = streaming.job.simulate_chunk
def slow(*arguments):
    time.sleep(0.02)
    return real(*arguments)
streaming.job.simulate_chunk = slow
from snnir.cli.main import main
print("ready", flush=True)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("output", "kills"), [("out", (0, 13)), ("out.npz", (9,))])
def test_killed_processes_lose_nothing(
    program: snnir.Program, x: np.ndarray, tmp_path: Path, output: str, kills: tuple[int, ...]
) -> None:
    """kill -9 at random points, until a run comes through: the bytes are those of a run that nobody killed."""
    program.save(tmp_path / "p.snnir")
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "whole").mkdir()
    command = ["run", str(tmp_path / "p.snnir"), str(tmp_path / "x.npy"), "--chunk", "2", "--json", "-o"]
    assert main([*command, str(tmp_path / "whole" / output)]) == 0
    rng, killed, total = random.Random(output), 0, SAMPLES
    target = tmp_path / output
    journal = (target if output == "out" else target.with_name(target.name + ".parts")) / "journal.jsonl"
    for wanted in (*kills, None):
        process = subprocess.Popen([sys.executable, "-c", SLOW, *command, str(target)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        while wanted is not None and process.poll() is None:
            if journal.exists() and journal.read_bytes().count(b"\n") >= wanted:
                time.sleep(rng.random() * 0.03)  # anywhere in the work on a chunk
                os.kill(process.pid, signal.SIGKILL)
                killed += 1
                break
            time.sleep(0.002)
        printed, _ = process.communicate()
        assert process.returncode == (0 if wanted is None else -signal.SIGKILL)
    facts = json.loads(printed.removeprefix("ready\n"))
    assert killed == len(kills) and facts["samples"] == total and 2 * kills[-1] <= facts["resumed_samples"] < total
    if output == "out":
        assert contents(target) == contents(tmp_path / "whole" / output)
    else:
        assert target.read_bytes() == (tmp_path / "whole" / output).read_bytes()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out.npz", "p.snnir", "whole", "x.npy"]


@pytest.mark.parametrize("place", ["os.replace", "shutil.rmtree"])
def test_a_kill_while_results_are_packed_loses_nothing(
    program: snnir.Program, x: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    np.save(tmp_path / "x.npy", x)
    run_stream(program, tmp_path / "x.npy", tmp_path / "whole.npz", chunk=10)

    def stop(source: Path, *_: object, **__: object) -> None:
        if ".parts" in str(source) and not str(source).endswith(".json"):
            raise InterruptionError
        real(source, *_, **__)

    module, name = place.split(".")
    real = getattr({"os": os, "shutil": shutil}[module], name)
    with monkeypatch.context() as patch:
        patch.setattr(place, stop)
        with pytest.raises(InterruptionError):
            run_stream(program, tmp_path / "x.npy", tmp_path / "out.npz", chunk=10)
    run_stream(program, tmp_path / "x.npy", tmp_path / "out.npz", chunk=10)
    assert (tmp_path / "out.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.npz", "whole.npz", "x.npy"]


def test_the_command_prints_and_packs_what_a_run_at_once_does(
    program: snnir.Program, x: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program.save(tmp_path / "p.snnir")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "labels.npy", np.arange(SAMPLES) % 3)
    command = ["run", str(tmp_path / "p.snnir"), str(tmp_path / "x.npy"), "--labels", str(tmp_path / "labels.npy"), "--json"]
    assert main([*command, "-o", str(tmp_path / "one.npz")]) == 0
    at_once = json.loads(capsys.readouterr().out)
    assert at_once["populations"] and at_once["synapses"]
    assert main([*command, "-o", str(tmp_path / "many.npz"), "--chunk", "10"]) == 0
    in_chunks = json.loads(capsys.readouterr().out)
    assert in_chunks.pop("output") == str(tmp_path / "many.npz") and in_chunks.pop("resumed_samples") == 0
    assert in_chunks == at_once
    with np.load(tmp_path / "one.npz") as one, np.load(tmp_path / "many.npz") as many:
        assert list(one) == list(many)
        for name in one:
            assert one[name].dtype == many[name].dtype and one[name].shape == many[name].shape
            np.testing.assert_array_equal(one[name], many[name])
    assert main([*command[:-1], "-o", str(tmp_path / "many"), "--chunk", "10"]) == 0
    assert "many" in capsys.readouterr().out


def test_a_folder_belongs_to_one_run(program: snnir.Program, x: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "fewer.npy", x[:-1])

    def run(**changes: object) -> None:
        arguments = {"program": program, "inputs": tmp_path / "x.npy", "options": Options(), "chunk": 10} | changes
        run_stream(output=tmp_path / "out", **arguments)  # type: ignore[arg-type]

    run()
    whole = contents(tmp_path / "out")
    other = snnir.compile(perceptron(np.random.default_rng(9)), calibration=x)
    for changes, message in (
        ({"program": other}, "its program differs"),
        ({"inputs": tmp_path / "fewer.npy"}, "shapes or dtypes of the inputs"),
        ({"options": Options(steps=4)}, "options differs"),
        ({"chunk": 11}, "size of the chunks differs .there 10, now 11"),
    ):
        with pytest.raises(UsageError, match=message):
            run(**changes)
    shutil.copy(tmp_path / "x.npy", tmp_path / "copy.npy")  # another file, the same data: compared, then trusted
    os.utime(tmp_path / "copy.npy", ns=(1, 1))
    run(inputs=tmp_path / "copy.npy")
    run()
    assert contents(tmp_path / "out") == whole
    changed = x.copy()
    changed[37, 2] += 1
    np.save(tmp_path / "x.npy", changed)
    with pytest.raises(UsageError, match="samples 30 to 39 of .*x.npy are not what they were"):
        run()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="holds no run of snnir"):
        run_stream(program, tmp_path / "x.npy", tmp_path / "mine")


def test_a_run_that_failed_before_its_first_chunk_binds_nothing(program: snnir.Program, x: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", x)
    run_stream(program, tmp_path / "x.npy", tmp_path / "whole")
    with pytest.raises(UsageError, match="device"):
        run_stream(program, tmp_path / "x.npy", tmp_path / "out", Options(backend="torch", device="abacus"))
    (tmp_path / "out" / "spikes").mkdir()
    (tmp_path / "out" / "spikes" / "half.npy").write_bytes(b"")
    (tmp_path / "out" / ".run.json.a1b2").write_bytes(b"")
    run_stream(program, tmp_path / "x.npy", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_an_interrupted_command_says_how_to_go_on(
    program: snnir.Program, x: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program.save(tmp_path / "p.snnir")
    np.save(tmp_path / "x.npy", x)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(streaming.job, "simulate_chunk", interrupted)
    command = ["run", str(tmp_path / "p.snnir"), str(tmp_path / "x.npy"), "--chunk", "9", "-o", str(tmp_path / "out")]
    assert main(command) == 1
    assert "the same command goes on from there" in " ".join(capsys.readouterr().err.split())


def test_two_processes_do_not_write_to_one_folder(program: snnir.Program, x: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", x)

    def nested(done: int, total: int) -> None:
        with pytest.raises(UsageError, match="another process writes"):
            run_stream(program, tmp_path / "x.npy", tmp_path / "out", chunk=30)

    run_stream(program, tmp_path / "x.npy", tmp_path / "out", chunk=30, progress=nested)


def test_memory_grows_with_the_chunk_and_not_with_the_data(program: snnir.Program, tmp_path: Path) -> None:
    peaks = []
    for samples in (500, 5000):
        np.save(tmp_path / f"{samples}.npy", data(np.random.default_rng(0), samples, 6))
        tracemalloc.start()
        run_stream(program, tmp_path / f"{samples}.npy", tmp_path / f"out-{samples}", chunk=100, threads=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_no_samples_are_a_run_too(program: snnir.Program, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((0, 6), np.float32))
    result = run_stream(program, tmp_path / "x.npy", tmp_path / "out", labels=np.zeros(0, np.int64))
    assert result.totals.samples == 0
    assert np.load(tmp_path / "out" / "output" / "y.npy").shape == (0, 3)


def _bad(kind: str, x: np.ndarray, folder: Path) -> Path:
    path = folder / "x.npy"
    if kind == "nan":
        x = x.copy()
        x[41, 1] = np.nan
        np.save(path, x)
    elif kind == "wide":
        np.save(path, np.zeros((4, 7), np.float32))
    elif kind == "flat":
        np.save(path, np.zeros(4, np.float32))
    elif kind == "words":
        np.save(path, np.array([["a"] * 6]))
    elif kind == "objects":
        np.savez(folder / "x.npz", x=np.array([{}], dtype=object))
        return folder / "x.npz"
    elif kind == "name":
        np.savez(folder / "x.npz", z=x)
        return folder / "x.npz"
    elif kind == "damaged":
        path.write_bytes(b"\x93NUMPY\x01\x00")
    elif kind in ("ragged", "mixed", "empty", "stray"):
        path = folder / "parts"
        path.mkdir()
        if kind in ("ragged", "mixed"):
            np.save(path / "a.npy", x)
            np.save(path / "b.npy", x[:, :5] if kind == "ragged" else x.astype(np.float64))
        if kind == "stray":
            (path / "readme.txt").write_text("", encoding="utf-8")
    elif kind == "holes.parquet":
        path = folder / "x.parquet"
        pyarrow.parquet.write_table(pyarrow.table({"x": [[1.0] * 6, [None] * 6]}), path)
    elif kind == "ragged.parquet":
        path = folder / "x.parquet"
        pyarrow.parquet.write_table(pyarrow.table({"x": [[1.0] * 6, [1.0] * 5]}), path)
    elif kind == "none.zarr":
        path = folder / "none.zarr"
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("none", "x.npy does not exist"),
        ("none.zarr", "none.zarr does not exist"),
        ("nan", "samples 40 to 49: input x holds 1 NaN"),
        ("wide", "expected shape [N, 6], found [4, 7]"),
        ("flat", "expected 2 axes"),
        ("words", "expected numbers"),
        ("objects", "Python objects"),
        ("name", "takes inputs x; "),
        ("damaged", "cannot be read as .npy"),
        ("ragged", "parts may differ in the number of samples only"),
        ("mixed", "parts may differ in the number of samples only"),
        ("empty", "found nothing"),
        ("stray", "found readme.txt"),
        ("holes.parquet", "empty cells"),
        ("ragged.parquet", "of different lengths"),
    ],
)
def test_bad_data_is_named(program: snnir.Program, x: np.ndarray, tmp_path: Path, kind: str, message: str) -> None:
    path = _bad(kind, x, tmp_path)
    with pytest.raises(SnnirError) as caught:
        run_stream(program, path, tmp_path / "out", chunk=10)
    assert message in str(caught.value)


@pytest.mark.parametrize(("kind", "module"), [("zarr", "zarr"), ("parquet", "pyarrow.parquet")])
def test_a_library_that_is_missing_is_named(
    program: snnir.Program, x: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, module: str
) -> None:
    path = write(kind, x, tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf"pip install snnir\[{kind}\]"):
        run_stream(program, path, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--chunk", "10"], "give --output"),
        (["--chunk", "10", "-o", "{t}/out", "--compare-executions"], "all samples at once"),
        (["--chunk", "10", "-o", "{t}/x.npy"], "give a folder"),
        (["--chunk", "10", "-o", "{t}/no/out"], "cannot write"),
        (["--chunk", "0", "-o", "{t}/out"], "x>=1"),
    ],
)
def test_bad_use_of_the_command(
    program: snnir.Program, x: np.ndarray, tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program.save(tmp_path / "p.snnir")
    np.save(tmp_path / "x.npy", x)
    given = [option.format(t=tmp_path) for option in options]
    assert main(["run", str(tmp_path / "p.snnir"), str(tmp_path / "x.npy"), *given]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
