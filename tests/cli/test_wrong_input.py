"""Whatever is wrong with what a command is given: exit code 2, one paragraph that names it, no traceback, nothing written."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

import snnir
from snnir.cli.main import main
from tests.models import data, perceptron


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a program, a bundle and data, and files of all kinds of wrong content."""
    where, rng = tmp_path_factory.mktemp("wrong"), np.random.default_rng(0)
    x = data(rng, 20, 6)
    onnx.save(perceptron(rng), where / "m.onnx")
    program = snnir.compile(where / "m.onnx", calibration=x)
    program.save(where / "m.snnir")
    snnir.bundle(program, x, samples=1).save(where / "m.snnb")
    arrays: dict[str, np.ndarray] = {
        "x": x,
        "five": x[:, :5],
        "rank": x[np.newaxis],
        "nan": np.where(np.arange(120).reshape(20, 6) == 7, np.nan, x),
        "infinite": np.full((20, 6), np.inf),
        "none": x[:0],
        "scalar": np.array(3.0),
        "complex": x.astype(complex),
        "words": np.array([list("abcdef")]),
        "beyond": np.full((20, 6), 1e300),
    }
    for name, array in arrays.items():
        np.save(where / f"{name}.npy", array)
    np.savez(where / "other.npz", z=x)
    np.savez(where / "nothing.npz")
    (where / "cut.npy").write_bytes((where / "x.npy").read_bytes()[:200])
    (where / "cut.snnir").write_bytes((where / "m.snnir").read_bytes()[:900])
    (where / "cut.snnb").write_bytes((where / "m.snnb").read_bytes()[:900])
    (where / "cut.onnx").write_bytes((where / "m.onnx").read_bytes()[:90])
    (where / "table.csv").write_text("1,2\n")
    (where / "page.onnx").write_text("<!DOCTYPE html><html></html>")
    (where / "pointer.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    (where / "empty").write_bytes(b"")
    (where / "bits.json").write_text('{"bits": 99}')
    (where / "list.json").write_text("[1]")
    (where / "folder").mkdir()
    return where


@pytest.fixture
def inside(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the folder to work in, which must be as it was afterwards."""
    where = tmp_path / "wrong"
    shutil.copytree(folder, where)
    monkeypatch.chdir(where)
    yield where
    now = {path.relative_to(where): path.read_bytes() for path in where.rglob("*") if path.is_file()}
    assert now == {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(command: str, says: str, capsys: pytest.CaptureFixture[str], code: int = 2) -> None:
    capsys.readouterr()
    assert main([word if word != '""' else "" for word in command.split()]) == code, command
    said = capsys.readouterr().err.strip()
    assert re.search(says, said), f"{command}\n{said}"
    body = [line for line in said.splitlines() if line and not line.startswith(("Usage:", "Try "))]
    assert len(body) == 1 and "Traceback" not in said and "Errno" not in said, said


DATA = {
    "missing.npy": "missing.npy does not exist",
    "folder": "folder is a folder; give a .npy file",
    "empty": "empty is empty",
    "table.csv": r"table.csv is a table in text \(CSV\)",
    "cut.npy": "cut.npy cannot be read",
    "m.onnx": "m.onnx holds no arrays, but an ONNX model",
    "m.snnir": "m.snnir holds no arrays, but a compiled program",
    "five.npy": r"input x: expected shape \[N, 6\], found \[20, 5\]",
    "rank.npy": r"input x: expected shape \[N, 6\], found \[1, 20, 6\]",
    "nan.npy": "input x holds 1 NaN or infinite",
    "infinite.npy": "input x holds 120 NaN or infinite",
    "none.npy": "is empty|0 samples|size 0|0 that were given",
    "scalar.npy": "found \\[\\]",
    "complex.npy": "expected numbers .*complex128",
    "words.npy": "expected numbers .*<U1",
    "beyond.npy": "120 values beyond the range of float32",
    "other.npz": "takes inputs x; given were z",
    "nothing.npz": "takes inputs x; given were none",
}
READERS = (
    "compile m.onnx --calibration {} -o new.snnir",
    "check m.onnx --calibration {}",
    "debug m.onnx --calibration {}",
    "run m.snnir {} -o new.npz",
    "verify m.snnir {}",
    "bundle m.snnir --samples {} -o new.snnb",
    "replay m.snnb {}",
    "report m.snnir {} -o new.html",
    "plot m.snnir {} -o new",
    "explore m.onnx --calibration {} -o new.html",
)


@pytest.mark.parametrize("file", DATA)
def test_data_that_are_no_inputs(file: str, inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in READERS:
        if file == "folder" and command.startswith("run"):
            continue  # which runs it in chunks
        refused(command.format(file), DATA[file], capsys)


CHUNKS = DATA | {
    "folder": "expected a folder of .npy or .npz files",
    "rank.npy": r"expected 2 axes \(Nx6:f32\), found shape \[1, 20, 6\]",
    "scalar.npy": "expected 2 axes .*found shape \\[\\]",
    "nan.npy": "samples 0 to 6: input x holds 1 NaN",
    "infinite.npy": "samples 0 to 6: input x holds 42 NaN",
    "beyond.npy": "samples 0 to 6: input x holds 42 values",
    "other.npz": "other.npz holds z",
    "nothing.npz": "nothing.npz holds none",
    "words.npy": "expected numbers .*<U1",
}


@pytest.mark.parametrize("file", CHUNKS)
def test_data_that_are_no_inputs_of_a_run_in_chunks(file: str, inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(f"run m.snnir {file} --chunk 7 -o chunks", CHUNKS[file], capsys)
    if (inside / "chunks").exists():  # what a run in chunks had done is kept
        shutil.rmtree(inside / "chunks")


MODELS = {
    "missing": "missing does not exist; give an ONNX file",
    "folder": "folder cannot be read: Is a directory",
    "empty": "empty is empty",
    "x.npy": "no ONNX model, but a NumPy array",
    "cut.onnx": "truncated",
    "page.onnx": "no ONNX model, but a web page: download the file itself",
    "pointer.onnx": "no ONNX model, but a pointer of Git LFS",
    "table.csv": "no ONNX model, but text",
    '""': "the path is empty",
    "n" * 300: "is no name of a file: File name too long",
}


@pytest.mark.parametrize("file", MODELS, ids=lambda name: name[:12])
def test_files_that_are_no_models(file: str, inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        "check {}",
        "compile {} --calibration x.npy -o new.snnir",
        "debug {} --calibration x.npy",
        "explore {} -o new.html",
        "tune {} --calibration x.npy --budget-bits 4 -o new",
    ):
        refused(command.format(file), MODELS[file], capsys)
    if len(file) < 20:
        refused(f"verify m.snnir x.npy --model {file}", MODELS[file], capsys)


PROGRAMS = {
    "missing": "missing does not exist",
    "empty": "empty is empty|not a whole bundle",
    "x.npy": "but a NumPy array .*: that is data|not a whole bundle",
    "m.onnx": "but an ONNX model: compile it first|not a whole bundle",
    "cut.snnir": "not a whole|cut.snnb",
    "cut.snnb": "not a whole|is one of the files that are read",
    "table.csv": "but text|not a whole bundle",
    '""': "the path is empty",
}


@pytest.mark.parametrize("file", PROGRAMS)
def test_files_that_are_no_programs(file: str, inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        "run {} x.npy",
        "verify {} x.npy",
        "report {} x.npy -o new.html",
        "plot {} x.npy -o new",
        "nir {} -o new.nir",
        "bundle {}",
        "replay {}",
    ):
        refused(command.format(file), PROGRAMS[file], capsys)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--bits 0", "it takes 2 to 8"),
        ("--bits x", "not a valid integer"),
        ("--weight-bits 1", "they take 2 to 16"),
        ("--value-bits nope=3", "those that do are"),
        ("--value-bits r", "give the value's name and its bits"),
        ("--method nope", "choose one of mse"),
        ("--batch-axis x=7", "which has 2 axes"),
        ("--batch-axis q=0", "the inputs are x"),
        ("--dim Q=4", "open sizes of the model's inputs are N"),
        ("--shape x=N", "give the input's name and its sizes|open sizes"),
        ("--constant q=3", "the inputs of model m are x"),
        ("--constant x=no.npy", "no.npy does not exist"),
        ("--neuron lif", "is not one of"),
        ("--options bits.json", "it takes 2 to 8"),
        ("--options list.json", "expected options"),
        ("--options empty", "cannot be read as JSON"),
        ("--options missing", "missing cannot be read: No such file"),
        ("--pipeline nope", "unknown pass 'nope'; known are"),
        ("--nonsense", "No such option"),
    ],
)
def test_options_that_are_wrong(options: str, says: str, inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = f"compile m.onnx --calibration x.npy -o new.snnir {options}"
    if options == "--shape x=N":  # which says what is so
        assert main(command.split()) == 0
        (inside / "new.snnir").unlink()
        return
    refused(command, says, capsys)


@pytest.mark.parametrize("output", ["folder", "no/new{}", "/proc/new{}", "x.npy", "m.onnx", '""', "n" * 300 + "{}"])
def test_outputs_that_cannot_be_written(output: str, inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    says = "output|cannot write|the path is empty|is no name of a file"
    for command, suffix in (
        ("compile m.onnx --calibration x.npy", ".snnir"),
        ("run m.snnir x.npy", ".npz"),
        ("bundle m.snnir --samples x.npy", ".snnb"),
        ("explore m.onnx", ".html"),
        ("report m.snnir x.npy", ".html"),
        ("nir m.snnir", ".nir"),
        ("replay m.snnb x.npy", ".npz"),
    ):
        if output != "folder" or suffix != ".snnb":  # a bundle may be a folder
            refused(f"{command} -o {output.format(suffix)}", says, capsys)
