"""Files are told by their content, none is overwritten by mistake, and errors have one form and one exit code each."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

import snnir
from snnir.cli.main import main
from snnir.errors import InputError, ModelError
from snnir.runtime.totals import right_answers
from tests.models import data, perceptron


def _zip(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


FOREIGN = {
    "numpy array": (_npy(), r"NumPy array.*--calibration"),
    "gzip": (gzip.compress(b"onnx"), "gunzip"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(40), "tf2onnx"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(40), "Keras and NIR"),
    "pickle": (pickle.dumps({"w": 1}, 2), "torch.onnx.export"),
    "keras": (_zip("config.json", "metadata.json", "model.weights.h5"), "Keras archive"),
    "torchscript": (_zip("m/data.pkl", "m/code/a.py", "m/constants.pkl"), "TorchScript"),
    "state dict": (_zip("m/data.pkl", "m/data/0"), "state dict"),
    "exported program": (_zip("m/archive_format", "m/models/model.json"), r"call the file \.pt2"),
    "arrays": (_zip("a.npy", "b.npy"), r"\.npz"),
    "program": (_zip("manifest.json", "float.ir"), "compiled program of snnir"),
    "bundle": (_zip("SHA256SUMS", "manifest.json"), "bundle of snnir"),
    "text": (b"graph digits level=float\n", "snnir opt"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_file_of_another_kind_is_named_by_its_content(what: str, tmp_path: Path) -> None:
    content, says = FOREIGN[what]
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=says):
        snnir.import_model(path)


@pytest.fixture
def compiled(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A model, its data and a program, as files."""
    model, inputs, program = tmp_path / "m.onnx", tmp_path / "x.npy", tmp_path / "m.snnir"
    rng = np.random.default_rng(0)
    onnx.save(perceptron(rng), model)
    np.save(inputs, data(rng, 40, 6))
    assert main(["compile", str(model), "--calibration", str(inputs), "-o", str(program), "--json"]) == 0
    return model, inputs, program


def test_nothing_that_is_read_or_of_another_kind_is_overwritten(
    compiled: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, inputs, program = compiled
    notes = tmp_path / "notes.snnir"
    notes.write_text("mine")
    before = {path: path.read_bytes() for path in (model, inputs, program, notes)}
    compile_ = ["compile", str(model), "--calibration", str(inputs), "-o"]
    for output in (model, inputs, notes, tmp_path / "m.txt"):
        assert main([*compile_, str(output)]) == 2
        assert "--output" in capsys.readouterr().err
    run = ["run", str(program), str(inputs), "-o"]
    for output in (program, inputs, tmp_path / "out.csv"):
        assert main([*run, str(output)]) == 2
    assert main(["bundle", str(program), "--samples", str(inputs), "-o", str(tmp_path / "notes.snnb")]) == 0
    (tmp_path / "things").mkdir()
    (tmp_path / "things" / "mine.txt").write_text("mine")
    emit = ["bundle", str(program), "--samples", str(inputs), "--emit", "hex", "-o", str(tmp_path / "things")]
    assert main(emit) == 2
    assert {path: path.read_bytes() for path in before} == before
    assert [path.name for path in (tmp_path / "things").iterdir()] == ["mine.txt"]
    assert main([*compile_, str(notes), "--force"]) == 0
    assert main([*compile_, str(program)]) == 0  # a program may be written again
    assert main([*emit, "--force"]) == 0
    assert main(emit) == 0


def test_errors_are_json_where_json_is_asked_for(compiled: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    _, inputs, program = compiled
    capsys.readouterr()
    for arguments, kind, code in (
        (["run", str(program), "missing.npy", "--json"], "InputError", 2),
        (["run", "missing.snnir", str(inputs), "--json"], "FileFormatError", 2),
        (["run", str(program), str(inputs), "--steps", "no", "--json"], "UsageError", 2),
        (["run", str(program), str(inputs), "--nothing", "--json"], "UsageError", 2),
    ):
        assert main(arguments) == code
        error = json.loads(capsys.readouterr().out)["error"]
        assert error["kind"] == kind and error["message"] and error["nodes"] == []


def test_inputs_beyond_the_calibrated_range_are_counted_and_warned_of(
    compiled: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, inputs, path = compiled
    program = snnir.load(path)
    x = np.load(inputs)
    assert max(program.clipped(x).values()) < 0.05
    assert max(program.clipped(100 * x).values()) > 0.5
    np.save(tmp_path / "large.npy", 100 * x)
    capsys.readouterr()
    assert main(["run", str(path), str(tmp_path / "large.npy")]) == 0
    assert "saturates" in capsys.readouterr().err


def test_labels_that_are_no_class_are_refused_and_words_compared_as_words() -> None:
    outputs = {"y": np.eye(3, dtype=np.float32)}
    assert right_answers(outputs, np.array([0, 1, 0])) == 2
    with pytest.raises(InputError, match="3 classes"):
        right_answers(outputs, np.array([0, 1, 3]))
    with pytest.raises(InputError, match="labels of its kind"):
        right_answers(outputs, np.array(["a", "b", "c"]))
    assert right_answers({"label": np.array(["a", "b", "c"])}, np.array(["a", "b", "x"])) == 2


def test_the_package_says_what_it_holds() -> None:
    assert {"compile", "load", "torch", "Program"} <= set(dir(snnir))


def test_data_of_other_kinds_are_named(
    compiled: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved, table = tmp_path / "x.pt", tmp_path / "x.csv"
    saved.write_bytes(_zip("x/data.pkl", "x/data/0", "x/version"))
    table.write_text("a,b\n1,2\n")
    for path, words in (
        (saved, "what torch.save writes; write arrays with numpy.save"),
        (table, "read the text with numpy.loadtxt"),
    ):
        assert main(["check", str(compiled[0]), "--calibration", str(path)]) == 2
        message = capsys.readouterr().err
        assert words in message and path.name in message and "allow_pickle" not in message


def test_no_samples_are_not_exact(compiled: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "none.npy", np.zeros((0, 6), np.float32))
    assert main(["verify", str(compiled[2]), str(tmp_path / "none.npy")]) == 2
    assert "0 samples, and nothing would be compared" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["a file", "a folder of the system"])
def test_a_demo_that_cannot_be_written_says_so(where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    output = tmp_path / "file" if where == "a file" else Path("/proc/snnir")
    assert main(["demo", "-o", str(output)]) == 2
    assert f"cannot write into {output}" in capsys.readouterr().err


def test_a_run_says_what_each_layer_took(compiled: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    _, inputs, program = compiled
    capsys.readouterr()
    assert main(["run", str(program), str(inputs), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["populations"] and facts["synapses"]
    assert sum(item["spikes_per_sample"] for item in facts["populations"]) == pytest.approx(facts["spikes_per_sample"])
    assert sum(item["synops_per_sample"] for item in facts["synapses"]) == pytest.approx(facts["synops_per_sample"])


def test_what_is_compiled_is_logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    from snnir.backends.simulator import library

    class Kernel:
        address, name = None, "small"

        def load(self, folder: object) -> bool:
            return False

        def compile(self, folder: object) -> None:
            self.address = 1

    kernels = {"small": Kernel()}
    monkeypatch.setattr(library, "_natives", lambda: kernels)
    with caplog.at_level("INFO", logger="snnir"):
        library.prepare(["small"])
    assert [record.getMessage().split(" ")[0] for record in caplog.records] == ["compiling", "compiled"]
