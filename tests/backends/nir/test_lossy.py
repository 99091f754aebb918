"""The lossy form: never silent, and as far from the integers as its report says, by an interpreter that knows no snnir."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np
import pytest

from snnir.backends.nir import read_nir
from snnir.errors import UnsupportedError, UsageError
from snnir.ir import Graph
from snnir.ir.execute import execute
from snnir.ir.ops import Bif
from tests.backends.nir.interpreter import Interpreter
from tests.backends.nir.test_exact import convolutional, digits, nodes_by_value, perceptron, recurrent, spiking, write_nir


def nets() -> dict[str, tuple[Graph, dict[str, np.ndarray]]]:
    flat, images = {"x": digits()}, {"x": digits()[:, np.newaxis]}
    return {"perceptron": (spiking(perceptron(), flat), flat), "convolutional": (spiking(convolutional(), images), images)}


@pytest.mark.parametrize("name", ["perceptron", "convolutional"])
def test_the_report_says_what_the_file_does(name: str, tmp_path: Path) -> None:
    graph, data = nets()[name]
    path = tmp_path / "a.nir"
    report = write_nir(graph, path, "lossy", data=data)
    written = nir.read(path)
    kinds = [type(node).__name__ for node in written.nodes.values()]
    assert kinds.count("IF") == report.populations
    assert set(kinds) <= {"Input", "Output", "Conv2d", "Flatten", "Linear", "Affine", "IF"}, "what common simulators read"
    assert all((node.v_threshold == 1).all() for node in written.nodes.values() if isinstance(node, nir.IF))
    assert (report.steps, report.samples) == (15, 40)
    settled: dict[str, np.ndarray] = {}
    execute(graph, data, lambda value, array: settled.update({value.name: array}))
    for reset in ("v_reset", "subtract"):
        interpreter = Interpreter(written, subtract=reset == "subtract")
        (entry,) = written.inputs
        for _ in range(report.steps):
            interpreter.step({entry: settled[written.nodes[entry].metadata["value"]]})
        found = {item.name: item for item in report.mismatches if item.reset == reset}
        places = {node.metadata["value"]: place for place, node in written.nodes.items() if "value" in node.metadata}
        for node in graph.nodes:
            if isinstance(node.op, Bif):
                counts = np.sum(interpreter.seen[places[node.output.name]], axis=0).reshape(settled[node.output.name].shape)
                distance = np.abs(counts - settled[node.output.name])
                item = found[node.output.name]
                assert (item.compared, item.different) == (distance.size, int((distance > 0).sum()))
                assert item.mean == pytest.approx(distance.mean())
                assert item.largest == distance.max()
        logits = np.sum(interpreter.seen[places["logits"]], axis=0)
        distance = np.abs(logits - settled["logits"])
        assert found["logits"].largest == pytest.approx(distance.max(), rel=1e-5)
    hard, soft = (sum(item.different for item in report.mismatches if item.reset == reset) for reset in ("v_reset", "subtract"))
    assert hard > soft > 0
    assert set(nodes_by_value(written)) >= {"logits"}


def test_one_layer_with_held_inputs_and_reset_by_subtraction_is_exact(tmp_path: Path) -> None:
    graph, data = nets()["perceptron"]
    report = write_nir(graph, tmp_path / "a.nir", "lossy", data=data)
    first = [item for item in report.mismatches if item.name == report.mismatches[0].name]
    assert {item.reset: item.different > 0 for item in first} == {"v_reset": True, "subtract": False}


def test_a_recurrent_layer_written_out_is_measured_too(tmp_path: Path) -> None:
    graph, data = recurrent()
    program = spiking(graph, data)
    report = write_nir(program, tmp_path / "a.nir", "lossy", data=data, lengths={"T": 8})
    assert report.populations == 8
    assert len({item.name for item in report.mismatches}) == 9


def test_refusals(tmp_path: Path) -> None:
    data = {"x": digits()}
    with pytest.raises(UnsupportedError, match="its levels are a staircase, and nir.IF has one threshold"):
        write_nir(spiking(perceptron(smooth=True), data), tmp_path / "a.nir", "lossy", data=data)
    program = spiking(perceptron(), data)
    with pytest.raises(UsageError, match="measured against the integer network: give data"):
        write_nir(program, tmp_path / "a.nir", "lossy")
    with pytest.raises(UsageError, match="mode 'approximate' is unknown; choose one of exact, lossy"):
        write_nir(program, tmp_path / "a.nir", "approximate")
    with pytest.raises(UsageError, match="is at the float level"):
        write_nir(perceptron(), tmp_path / "a.nir")
    assert list(tmp_path.iterdir()) == []
    write_nir(program, tmp_path / "a.nir", "lossy", data=data)
    with pytest.raises(UnsupportedError, match=r"IF .*it resets to v_reset and sends no negative spikes"):
        read_nir(tmp_path / "a.nir")
