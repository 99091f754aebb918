"""ONNX files of every level: valid, whole, and where standard operators say what an op does, they do what snnir does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from snnir.cli.main import main
from snnir.ir.execute import execute
from snnir.ir.op import OPS
from snnir.views.onnx_file import _ALIKE, DOMAIN, onnx_model
from tests.random_graphs import random_graph
from tests.views.conftest import Digits
from tests.views.large_graph import large_graph


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

    assert len(set(names(model.graph))) == len(names(model.graph)) == sum(1 for _ in graph.walk())


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
    assert overlay["results"]["rows"]["value"] == float(result.spikes["rows"].mean())
    assert {item["stop"] for item in overlay["gradient"]} == {0, 1}


def test_functions_of_standard_operators_compute_what_the_ops_compute() -> None:
    graph = large_graph(8)
    x = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)
    model = onnx_model(graph)
    assert {function.name for function in model.functions} == {"linear", "relu", "add"}
    (found,) = ReferenceEvaluator(model).run(None, {"x": x})
    np.testing.assert_allclose(np.asarray(found), execute(graph, {"x": x})["y"], rtol=1e-5, atol=1e-6)


def test_the_quantizer_of_the_file_rounds_half_up(digits: Digits) -> None:
    model = onnx_model(digits.program.graph("spiking"))
    node = model.graph.node[0]
    assert node.op_type == "encode"
    (function,) = [item for item in model.functions if item.name == "encode"]
    part = onnx.helper.make_model(
        onnx.helper.make_graph(
            [node],
            "one",
            [onnx.helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, [1, 8, 8])],
            [onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.INT64, [1, 8, 8])],
        ),
        functions=[function],
        opset_imports=model.opset_import,
    )
    (found,) = ReferenceEvaluator(part).run(None, {node.input[0]: digits.x[:1]})
    (encoder,) = [item for item in digits.program.graph("spiking").nodes if item.outputs[0].name == node.output[0]]
    quantization = encoder.outputs[0].type.quantization
    assert quantization is not None
    assert np.abs(found - quantization.round(digits.x[:1])).max() == 0


def test_ops_that_are_named_as_standard_ones_exist() -> None:
    assert set(_ALIKE) <= set(OPS)
    for operator in _ALIKE.values():
        assert onnx.defs.has(operator)
