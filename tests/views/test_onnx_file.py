"""ONNX files of every level: valid, whole, and where standard operators say what an op does, they do what snnir does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from snnir.cli.main import main
from snnir.views.onnx_file import DOMAIN, onnx_model
from tests.random_graphs import random_graph
from tests.views.conftest import Digits


@pytest.mark.parametrize("seed", range(10))
def test_random_graphs_become_valid_files_with_every_node(seed: int) -> None:
    graph, _ = random_graph(seed)
    model = onnx_model(graph)  # checks it

    def names(part: onnx.GraphProto) -> list[str]:
        found = []
        for node in part.node:
            found += [node.name] if node.domain == DOMAIN else []
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    found += names(attribute.g)
        return found

    every = names(model.graph)
    assert len(set(every)) == len(every) == sum(1 for _ in graph.walk())


def test_all_levels_are_files_that_hold_what_is_known_of_a_neuron(digits: Digits, tmp_path: Path) -> None:
    digits.program.save(tmp_path / "digits.snnir")
    np.save(tmp_path / "x.npy", digits.calibration[:8])
    command = ["inspect", str(tmp_path / "digits.snnir"), "--format", "onnx", "-o", str(tmp_path / "levels")]
    command += ["--calibration", str(tmp_path / "x.npy"), "--overlay", str(tmp_path / "o.json"), "--overlay-of", "spikes"]
    assert main(command) == 0
    assert {path.name for path in (tmp_path / "levels").iterdir()} == {"float.onnx", "quantized.onnx", "spiking.onnx"}
    model = onnx.load(tmp_path / "levels" / "spiking.onnx")
    (bif,) = [node for node in model.graph.node if node.op_type == "bif"]
    known = {item.key: item.value for item in bif.metadata_props}
    result = digits.program.run(digits.calibration[:8])
    assert known["bits"] == "4" and known["settling bound"].endswith("steps") and known["from"] == "Relu relu"
    assert float(known["spikes"]) == pytest.approx(float(result.spikes["rows"].mean()), rel=1e-4)
    overlay = json.loads((tmp_path / "o.json").read_text())
    outer, body = overlay[model.graph.name], overlay["last.forward.last/body"]
    assert outer["results"]["rows"]["value"] == float(result.spikes["rows"].mean())
    assert set(body["results"]) == {"last.forward.last/y"}
    colours = {each["bgColor"] for part in (outer, body) for each in part["results"].values()}
    assert colours == {"#dbe9fb", "#0b62c4"}  # the least and the greatest of both graphs
