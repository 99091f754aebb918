"""A network with functions as one NIR file for each part: the files and the manifest alone give its integers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.backends.nir.write import levels_of
from snnir.cli.main import main
from snnir.errors import UnsupportedError
from snnir.export.nir import source_of
from snnir.ir import Graph, TensorType
from snnir.ir.dims import dim
from snnir.ir.execute import bind_sizes
from snnir.ir.ops import Conv, Encode, Gru, Linear, MaxPool, Relu, Reshape
from snnir.ir.types import Quantization
from snnir.machine import emitting, interpret
from snnir.machine.addresses import IndexMap
from snnir.machine.host_graphs import reversed_trains
from snnir.machine.microcode import Step, compute
from snnir.machine.program import Readout
from snnir.machine.unrolling import written_out
from tests.backends.test_carry import recurrent as gated
from tests.backends.test_functions import compiled

MODELS = ["attention", "recurrent"]


def step_of(found: dict[str, Any]) -> Step:
    """A step as the manifest has it."""
    maps = [None if map_ is None else IndexMap(table=np.array(map_, np.int64)) for map_ in found["maps"]]
    data = np.array(found["data"], np.int64) if "data" in found else None
    return Step(found["kind"], tuple(found["operands"]), tuple(maps), found["size"], found.get("width", 1), data)


def run_files(folder: Path, levels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The integers [N, n] that the files and the manifest give, by name: of functions, and the real values of readouts."""
    manifest = json.loads((folder / "segments.json").read_text(encoding="utf-8"))
    samples = len(next(iter(levels.values())))
    known = {name: np.tile(np.array(array, np.int64), (samples, 1)) for name, array in manifest["constants"].items()} | levels
    for number, segment in enumerate(manifest["segments"]):
        for function in manifest["functions"]:
            if function["before_segment"] == number:
                code = [step_of(step) for step in function["code"]]
                low, high = function["levels"]
                known[function["value"]] = np.clip(compute(code, [known[source] for source in function["sources"]]), low, high)
        graph = snnir.import_nir(folder / segment["file"])
        inputs = {}
        for item in segment["inputs"]:
            array = known[item["value"]] * (item["scale"] if item["from"] == "model" else 1)
            inputs[item["value"]] = array.reshape(len(array), *item["shape"]).astype(np.float32)
        found = snnir.compile(graph).run(inputs).outputs
        for item, array in zip(segment["outputs"], found.values(), strict=True):
            known[item["value"]] = array.reshape(len(array), -1)
            if item["for"] == "functions":
                known[item["value"]] = np.rint(known[item["value"]]).astype(np.int64)
    return known


@pytest.mark.parametrize("neuron", ["bif", "few-spikes"])
@pytest.mark.parametrize("name", MODELS)
def test_files_and_manifest_give_the_integers(name: str, neuron: str, tmp_path: Path) -> None:
    program, x = compiled(name, neuron)
    data = {"x": x[:3]}
    lengths = {key: size for key, size in bind_sizes(program.graph(), data).items() if key != "N"}
    with pytest.raises(UnsupportedError, match="with segments=True"):
        snnir.export_nir(program, tmp_path / "a.nir", lengths=lengths)
    report = snnir.export_nir(program, tmp_path / "parts", lengths=lengths, segments=True)
    assert len(report.segments) >= 2 and report.populations == sum(part.populations for part in report.segments)
    assert equal_integers(program.graph(), data, tmp_path / "parts")


def pooled() -> Graph:
    rng = np.random.default_rng(0)
    graph = Graph("pooled")
    x = graph.input("x", TensorType((dim("N"), 1, 6, 6), "f32"))
    weights = [graph.constant("w", rng.normal(size=shape).astype(np.float32)) for shape in ((2, 1, 3, 3), (3, 8))]
    h = graph.add1(Relu(), graph.add1(Conv((1, 1), (0, 0, 0, 0), (1, 1)), x, weights[0]))
    h = graph.add1(Reshape((dim("N"), 8)), graph.add1(MaxPool((2, 2), (2, 2), (0, 0, 0, 0), (1, 1)), h))
    graph.output("y", graph.add1(Linear(), h, weights[1]))
    return graph


@pytest.mark.parametrize("name", ["pooled", "gru"])
def test_products_and_maxima_are_cut_out_like_functions(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    graph, shape = (pooled(), (8, 1, 6, 6)) if name == "pooled" else (gated(Gru(), 3, 1), (8, 2, 3))
    data = {"x": rng.normal(size=shape).astype(np.float32)}
    program = snnir.compile(graph, calibration=data, bits=3, check=False)
    report = snnir.export_nir(program, tmp_path, lengths={} if name == "pooled" else {"T": 2}, segments=True)
    assert len(report.segments) >= 2
    assert equal_integers(program.graph(), data, tmp_path)


def equal_integers(graph: Graph, data: dict[str, np.ndarray], folder: Path) -> int:
    """Compare every readout of the files with the program's own; how many numbers were compared."""
    source = source_of(graph, bind_sizes(graph, data))
    flat = written_out(source.program)
    found = run_files(folder, levels_of(source, flat, data))
    windows = interpret(source.program, interpreted(source, data))
    reverse = reversed_trains(source.program)
    compared = 0
    for op in flat.program.ops:
        if isinstance(op, Readout):
            base, element = flat.copies.get(op.train.name, (op.train.name, None))
            counts = windows.counts[base]
            if element is not None:
                counts = counts[:, counts.shape[1] - 1 - element if base in reverse else element]
            real = (counts * op.scale[op.scale_map.array()]).astype(np.float32)
            np.testing.assert_array_equal(found[op.train.name], real, err_msg=op.train.name)
            compared += real.size
    return compared


def interpreted(source: Any, data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Levels of the program with its scans."""
    found = {}
    for name, real in source.host.reals(data, source.program).items():
        train = emitting(source.program)[name][0].train
        (levels,) = Encode(Quantization(train.scale, train.lo, train.hi)).evaluate(real)
        found[name] = levels.astype(np.int64)
    return found


def test_the_command_writes_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program, x = compiled("attention", "bif")
    program.save(tmp_path / "p.snnir")
    lengths = [f"--length={key}={size}" for key, size in bind_sizes(program.graph(), {"x": x[:1]}).items() if key != "N"]
    command = ["nir", str(tmp_path / "p.snnir"), "--segments", *lengths]
    assert main([*command, "-o", str(tmp_path / "parts"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {
        "segments.json",
        *(f"segment{number}.nir" for number in range(len(facts["segments"]))),
    }
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    for output in ("a.nir", "other"):
        assert main([*command, "-o", str(tmp_path / output)]) == 2
        assert "--segments writes a folder" in " ".join(capsys.readouterr().err.split())
