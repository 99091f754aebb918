"""The command line: what each command prints and writes, its exit codes, and its complaints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import snnir
from snnir.cli.main import main
from tests.models import crnn, data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, data, labels and a compiled program."""
    path = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(0)
    onnx.save(crnn(rng), path / "model.onnx")
    np.save(path / "x.npy", data(rng, 20, 4, 6))
    np.save(path / "labels.npy", rng.integers(0, 3, 20))
    arguments = ["compile", str(path / "model.onnx"), "--calibration", str(path / "x.npy"), "-o", str(path / "model.snnir")]
    assert main([*arguments, "--dump-ir", str(path / "ir")]) == 0
    return path


def out(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def read(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    parsed = json.loads(capsys.readouterr().out)
    assert isinstance(parsed, dict)
    return parsed


def test_compile_dumps_the_graph_after_each_pass_that_changed_it(folder: Path) -> None:
    files = sorted(path.name for path in (folder / "ir").glob("*.ir"))
    assert files[0] == "00_import.ir"
    assert "substitute-neurons" in " ".join(files)
    assert "rbif" in (folder / "ir" / files[-1]).read_text(encoding="utf-8")


def test_compile_reports_as_json(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compile", str(folder / "model.onnx"), "--calibration", str(folder / "x.npy"), "-o", str(tmp_path / "p.snnir")]
    assert main([*arguments, "--bits", "3", "--weight-bits", "6", "--json"]) == 0
    facts = read(capsys)
    assert "quantize-activations{bits=3}" in str(facts["pipeline"])
    assert isinstance(facts["import_error"], float)
    assert snnir.load(tmp_path / "p.snnir").graph("spiking").level == "spiking"


def test_run_prints_and_writes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "result.npz"
    command = ["run", str(folder / "model.snnir"), str(folder / "x.npy"), "--labels", str(folder / "labels.npy")]
    assert main([*command, "-o", str(target)]) == 0
    printed = out(capsys)
    assert "yes: the integers of the quantized network" in printed
    assert "accuracy" in printed
    with np.load(target) as archive:
        program = snnir.load(folder / "model.snnir")
        np.testing.assert_array_equal(archive["output/y"], program.reference(np.load(folder / "x.npy"))["y"])
        assert archive["settled"]
        assert archive["steps"].shape == (20, 7)


def test_run_on_the_torch_backend(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "result.npz"
    command = ["run", str(folder / "model.snnir"), str(folder / "x.npy"), "--backend", "torch"]
    assert main([*command, "--device", "cpu", "-o", str(target)]) == 0
    printed = out(capsys)
    assert "yes: the integers of the quantized network" in printed
    assert "not counted by this backend" in printed
    program, x = snnir.load(folder / "model.snnir"), np.load(folder / "x.npy")
    expected = program.run(x)
    with np.load(target) as archive:
        np.testing.assert_array_equal(archive["output/y"], expected.outputs["y"])
        np.testing.assert_array_equal(archive["steps"], expected.steps)
        for name, count in expected.spikes.items():
            np.testing.assert_array_equal(archive[f"spikes/{name}"], count)
        assert not [name for name in archive if name.startswith("synops")]
    assert main([*command, "--json"]) == 0
    assert not {"synops_per_sample", "energy_spiking_nj"} & set(read(capsys))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--backend", "torch", "--device", "abacus"], "device 'abacus' cannot be used"),
        (["--backend", "torch", "--device", "meta"], "device 'meta' cannot be used"),
        (["--backend", "torch", "--threads", "2"], "neither trace nor threads"),
        (["--backend", "torch", "--compare-executions"], "for the simulator"),
        (["--device", "cpu"], "is for backend 'torch'"),
    ],
)
def test_run_refuses_what_a_backend_does_not_know(
    folder: Path, options: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(folder / "model.snnir"), str(folder / "x.npy"), *options]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert complaint in error
    assert "Traceback" not in error


def test_torch_backend_without_torch_says_what_to_install(folder: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        f"from snnir.cli.main import main\nsys.exit(main(['run', {str(folder / 'model.snnir')!r}, {str(folder / 'x.npy')!r}, "
        "'--backend', 'torch']))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "pip install 'snnir[torch]'" in " ".join(result.stderr.split())


def test_run_with_a_cap_claims_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(folder / "model.snnir"), str(folder / "x.npy"), "--steps", "2", "--json"]) == 0
    facts = read(capsys)
    assert facts["settled"] is False
    assert int(str(facts["unsettled_neurons"])) > 0
    assert facts["steps_max"] == 2
    assert main(["run", str(folder / "model.snnir"), str(folder / "x.npy"), "--steps", "2"]) == 0
    assert "anytime" in out(capsys)


@pytest.mark.parametrize("delivery", ["relay", "replay", "graded"])
def test_verify_finds_nothing(folder: Path, delivery: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["verify", str(folder / "model.snnir"), str(folder / "x.npy"), "--delivery", delivery]
    assert main([*command, "--model", str(folder / "model.onnx"), "--json"]) == 0
    facts = read(capsys)
    assert facts["mismatches"] == 0
    assert int(str(facts["compared"])) > 20 * 5 * 6 * 2
    assert facts["ok"] is True
    assert main(command) == 0
    assert "equal integers: 0 mismatches out of" in out(capsys)


def test_executions_are_verified_and_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program, x = str(folder / "model.snnir"), str(folder / "x.npy")
    assert main(["verify", program, x, "--execution", "carry", "--compare-executions", "--json"]) == 0
    verified = read(capsys)
    assert (verified["ok"], verified["mismatches"], verified["execution"]) == (True, 0, "carry")
    assert main(["run", program, x, "--execution", "carry", "--compare-executions", "--json"]) == 0
    ran = read(capsys)
    executions = ran["executions"]
    assert isinstance(executions, dict)
    assert executions == verified["executions"]
    assert ran["spikes_per_sample"] == pytest.approx(executions["carry"]["spikes"])
    assert executions["ratio"] == executions["reset"]["scan_spikes"] / executions["carry"]["scan_spikes"]
    comparison = snnir.load(program).compare_executions(np.load(x))
    assert comparison.facts() == executions
    assert main(["run", program, x, "--compare-executions"]) == 0
    assert "spikes with reset" in out(capsys)
    assert main(["verify", program, x, "--compare-executions"]) == 0
    assert f"(ratio {comparison.ratio:.2f})" in out(capsys)


def test_verify_exits_with_1_on_a_mismatch(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = snnir.load(folder / "model.snnir")
    other = snnir.compile(folder / "model.onnx", calibration=3 * np.load(folder / "x.npy"), bits=4)
    mixed = snnir.Program(
        {**{level: program.graph(level) for level in ("float", "spiking")}, "quantized": other.graph("quantized")}, {}
    )
    mixed.save(tmp_path / "mixed.snnir")
    assert main(["verify", str(tmp_path / "mixed.snnir"), str(folder / "x.npy")]) == 1
    assert "NOT equal integers" in out(capsys)


def test_inspect_shows_levels_passes_and_differences(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program, model, x = (str(folder / name) for name in ("model.snnir", "model.onnx", "x.npy"))
    assert main(["inspect", model]) == 0
    assert "level=float" in (text := capsys.readouterr().out)
    assert "rnn" in text
    for level in ("float", "quantized", "spiking"):
        assert main(["inspect", program, "--level", level]) == 0
        assert snnir.load(program).graph(level) is not None
        assert f"level={level}" in capsys.readouterr().out
    assert main(["inspect", model, "--after", "lower-recurrent"]) == 0
    assert "scan" in capsys.readouterr().out
    assert main(["inspect", model, "--diff", "substitute-neurons", "--calibration", x]) == 0
    difference = capsys.readouterr().out
    assert "\n+" in difference
    assert "rbif" in difference
    assert main(["inspect", program, "--json"]) == 0
    assert read(capsys)["level"] == "spiking"


def test_passes_and_ops_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["passes", "--json"]) == 0
    passes = read(capsys)["passes"]
    assert isinstance(passes, list)
    assert {"calibrate", "substitute-neurons"} <= {entry["name"] for entry in passes}
    assert main(["ops", "--json"]) == 0
    assert "onnx" in str(read(capsys))
    assert main(["ops", "--markdown"]) == 0
    page = capsys.readouterr().out
    assert page == (Path(__file__).parents[2] / "docs" / "operators.md").read_text(encoding="utf-8"), (
        "docs/operators.md is stale; run: snnir ops --markdown > docs/operators.md"
    )
    for command in ("passes", "ops"):
        assert main([command]) == 0
        assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["compile", "{d}/none.onnx", "--calibration", "{d}/x.npy", "-o", "{t}/o.snnir"], 2, "none.onnx does not exist"),
        (["compile", "{d}/x.npy", "--calibration", "{d}/x.npy", "-o", "{t}/o.snnir"], 2, "no ONNX model"),
        (["compile", "{d}/model.onnx", "--calibration", "{d}/none.npy", "-o", "{t}/o.snnir"], 2, "none.npy does not exist"),
        (["compile", "{d}/model.onnx", "--calibration", "{d}/model.onnx", "-o", "{t}/o.snnir"], 2, "holds no arrays"),
        (["compile", "{d}/model.onnx", "--calibration", "{d}/labels.npy", "-o", "{t}/o.snnir"], 2, "expected shape [N, 4, 6]"),
        (["compile", "{d}/model.onnx", "--calibration", "{d}/x.npy", "-o", "{t}/no/o.snnir"], 2, "cannot write"),
        (["compile", "{d}/model.onnx", "--calibration", "{d}/x.npy", "-o", "{t}/o.snnir", "--bits", "9"], 2, "2 to 8 bits"),
        (["compile", "{d}/model.onnx", "--calibration", "{d}/x.npy", "-o", "{t}/o.snnir", "--weight-bits", "17"], 2, "2 to 16"),
        (
            ["compile", "{d}/model.onnx", "--calibration", "{d}/x.npy", "-o", "{t}/o.snnir", "--input-bits", "1"],
            2,
            "input-bits=1",
        ),
        (
            ["compile", "{d}/model.onnx", "--calibration", "{d}/x.npy", "-o", "{t}/o.snnir", "--method", "best"],
            2,
            "mse, percentile",
        ),
        (
            ["compile", "{d}/model.onnx", "--calibration", "{d}/x.npy", "-o", "{t}/o.snnir", "--pipeline", "calibrat"],
            2,
            "did you mean",
        ),
        (
            ["compile", "{d}/model.onnx", "--calibration", "{d}/x.npy", "-o", "{t}/o.snnir", "--pipeline", "fold-constants"],
            2,
            "ends before",
        ),
        (["compile", "{d}/model.onnx"], 2, "Missing option"),
        (
            ["compile", "{d}/model.onnx", "--calibration", "{d}/x.npy", "-o", "{t}/o.snnir", "--dump-ir", "{d}/x.npy"],
            2,
            "cannot write graphs",
        ),
        (["run", "{d}/none.snnir", "{d}/x.npy"], 2, "none.snnir does not exist"),
        (["run", "{d}/model.onnx", "{d}/x.npy"], 2, "compile it first"),
        (["run", "{d}/model.snnir", "{d}/labels.npy"], 2, "expected shape [N, 4, 6]"),
        (["run", "{d}/model.snnir", "{d}/x.npy", "--labels", "{d}/x.npy"], 2, "expected 20 class indices"),
        (["run", "{d}/model.snnir", "{d}/x.npy", "--steps", "0"], 2, "--steps '0'"),
        (["run", "{d}/model.snnir", "{d}/x.npy", "--steps", "some"], 2, "--steps 'some'"),
        (["run", "{d}/model.snnir", "{d}/x.npy", "--delivery", "mail"], 2, "replay"),
        (["run", "{d}/model.snnir", "{d}/x.npy", "--execution", "mail"], 2, "carry"),
        (["run", "{d}/model.snnir", "{d}/x.npy", "-o", "{t}/no/r.npz"], 2, "cannot write"),
        (["inspect", "{d}/model.onnx", "--level", "spiking"], 2, "needs a compiled .snnir file"),
        (["inspect", "{d}/model.onnx", "--after", "nothing"], 2, "not in the pipeline"),
        (["inspect", "{d}/model.onnx", "--after", "calibrate"], 2, "needs calibration data"),
        (["inspect", "{d}/model.onnx", "--after", "calibrate", "--diff", "calibrate"], 2, "choose one"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_bad_use_gets_one_clear_paragraph(
    folder: Path, tmp_path: Path, arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word.format(d=folder, t=tmp_path) for word in arguments]
    assert main(given) == code
    captured = capsys.readouterr()
    assert message in " ".join((captured.err + captured.out).split())
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == [], "nothing is half-written"


def test_debug_shows_the_traceback(folder: Path) -> None:
    with pytest.raises(snnir.SnnirError):
        main(["--debug", "run", str(folder / "none.snnir"), str(folder / "x.npy")])


def test_several_inputs_come_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from onnx import TensorProto, helper

    nodes = [helper.make_node("Add", ["a", "b"], ["s"]), helper.make_node("Relu", ["s"], ["y"])]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in "ab"]
    graph = helper.make_graph(nodes, "two", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "two.onnx")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", a=data(rng, 8, 3), b=data(rng, 8, 3))
    np.save(tmp_path / "a.npy", data(rng, 8, 3))
    compile_it = ["compile", str(tmp_path / "two.onnx"), "-o", str(tmp_path / "two.snnir"), "--calibration"]
    assert main([*compile_it, str(tmp_path / "a.npy")]) == 2
    assert "give a dict of arrays by name" in capsys.readouterr().err
    assert main([*compile_it, str(tmp_path / "x.npz")]) == 0
    assert main(["verify", str(tmp_path / "two.snnir"), str(tmp_path / "x.npz")]) == 0
