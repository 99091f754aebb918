"""Models whose batch is fixed and whose samples belong together: any number of samples, one group after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import snnir
from snnir.errors import UnsupportedError
from snnir.frontends.onnx import run_onnxruntime
from snnir.ir.parse import parse
from snnir.ir.text import tensors, text
from snnir.streaming import run_stream
from tests.models import model_of as small_model

RNG = np.random.default_rng(0)
SIZE = 4


def real(*shape: int) -> np.ndarray:
    return np.asarray(RNG.normal(size=shape) / 2, np.float32)


def model_of(what: str) -> onnx.ModelProto:
    """Two layers for a batch of four samples, and what makes them depend on each other, or on their place."""
    node = helper.make_node
    arrays = {"w": real(6, 8), "v": real(8, 2), "c": real(SIZE, 2), "zero": np.array([0]), "one": np.array([1])}
    arrays["end"] = np.array([1000])
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Relu", ["a"], ["r"])]
    if what == "roll":
        nodes += [node("Slice", ["r", "one", "end"], ["t"]), node("Slice", ["r", "zero", "one"], ["u"])]
        nodes += [node("Concat", ["t", "u"], ["turned"], axis=0), node("Add", ["turned", "r"], ["s"])]
        nodes += [node("MatMul", ["s", "v"], ["y"])]
    else:
        nodes.append(node("MatMul", ["r", "v"], ["h"]))
        nodes += {
            "constant": [node("Add", ["h", "c"], ["y"])],
            "softmax": [node("Softmax", ["h"], ["y"], axis=0)],
            "mean": [node("ReduceMean", ["h"], ["m"], axes=[0], keepdims=1), node("Sub", ["h", "m"], ["y"])],
            "one for all": [node("ReduceMean", ["h"], ["y"], axes=[0], keepdims=0)],
        }[what]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [SIZE, 6])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2] if what == "one for all" else [SIZE, 2])
    graph = helper.make_graph(nodes, "groups", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize("what", ["constant", "mean", "softmax", "roll", "one for all"])
def test_any_number_of_samples_is_calibrated_run_and_verified(what: str, tmp_path: Path) -> None:
    model, x = model_of(what), RNG.normal(size=(30, 6)).astype(np.float32)
    program = snnir.compile(model, calibration=x, bits=8)
    filled = np.concatenate([x, x[-1:].repeat(2, 0)])
    groups = [run_onnxruntime(model, {"x": filled[start : start + SIZE]})["y"] for start in range(0, len(filled), SIZE)]
    expected = np.stack(groups) if what == "one for all" else np.concatenate(groups)[:30]
    found = program.run(x).outputs["y"]
    assert found.shape == expected.shape
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98
    assert program.verify(x).ok
    program.save(tmp_path / "groups.snnir")
    np.testing.assert_array_equal(snnir.load(tmp_path / "groups.snnir").run(x).outputs["y"], found)
    np.testing.assert_array_equal(program.run(x[:SIZE]).outputs["y"], found[: 1 if what == "one for all" else SIZE])
    assert program.run(x[:1]).outputs["y"].shape[0] == 1
    graph = program.graph("float")
    assert parse(text(graph), tensors(graph)) == graph


def test_chunks_are_refused(tmp_path: Path) -> None:
    x = RNG.normal(size=(8, 6)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    program = snnir.compile(model_of("mean"), calibration=x)
    with pytest.raises(UnsupportedError, match="belong together in groups"):
        run_stream(program, tmp_path / "x.npy", tmp_path / "out", chunk=4)


class Mixing(nn.Module):
    """Two layers, and a function of all samples."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.first, self.second, self.what = nn.Linear(6, 8), nn.Linear(8, 3), what

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h: torch.Tensor = self.second(torch.relu(self.first(x)))
        functions = {
            "max": lambda: h / h.max(),
            "sum": lambda: h.sum(0),
            "norm": lambda: nn.functional.normalize(h, dim=0),
            "running": lambda: h.cumsum(0),
            "mean": lambda: h - h.mean(0),
            "softmax": lambda: h.softmax(0),
            "roll": lambda: h - h.roll(1, 0),
            "pairs": lambda: h @ h.T,
        }
        return functions[self.what]()


@pytest.mark.parametrize("what", ["max", "sum", "norm", "running", "mean", "softmax", "roll", "pairs"])
def test_modules_that_mix_samples_are_refused_by_name(what: str) -> None:
    torch.manual_seed(0)
    x = RNG.normal(size=(16, 6)).astype(np.float32)
    for check in (True, False):
        with pytest.raises(UnsupportedError, match="the samples of the batch"):
            snnir.compile(Mixing(what).eval(), calibration=x, check=check)


def test_modules_that_mix_samples_are_told_by_an_example_of_one() -> None:
    with pytest.raises(UnsupportedError, match="the samples of the batch"):
        snnir.import_model(Mixing("max").eval(), example_inputs=torch.zeros(1, 6))


def test_programs_exported_with_a_batch_whose_samples_belong_together() -> None:
    torch.manual_seed(0)
    module, x = Mixing("max").eval(), RNG.normal(size=(10, 6)).astype(np.float32)
    program = snnir.compile(torch.export.export(module, (torch.zeros(SIZE, 6),)), calibration=x, bits=8)
    found = next(iter(program.run(x).outputs.values()))
    with torch.no_grad():
        expected = np.concatenate([module(torch.from_numpy(part)).numpy() for part in (x[:4], x[4:8], x[[8, 9, 9, 9]])])[:10]
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98
    assert program.verify(x).ok


def test_samples_stacked_as_the_model_takes_one() -> None:
    """A list of inputs of an export with a batch of 1, each with its batch, is as good as one array of samples."""
    rng = np.random.default_rng(3)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Relu", ["m"], ["y"])]
    model = small_model(nodes, [1, 6], {"w": rng.normal(size=(6, 4)).astype(np.float32)})
    x = rng.normal(size=(20, 6)).astype(np.float32)
    program = snnir.compile(model, calibration=[sample[np.newaxis] for sample in x])  # type: ignore[arg-type]
    assert program.facts.calibration_samples == 20
    expected = program.run(x).outputs["y"]
    assert expected.shape == (20, 4)
    assert np.array_equal(program.run(x[:, np.newaxis]).outputs["y"], expected)
