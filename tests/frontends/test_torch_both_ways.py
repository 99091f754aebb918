"""The same module through torch.export and through ONNX: the same integers."""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from onnx import numpy_helper
from torch import nn

import snnir
import snnir.compiler.importing
import snnir.torch
from snnir.ir import Graph
from tests.frontends.torch_modules import Crnn, data, onnx_of, randomised


class Image(nn.Module):
    """Two-dimensional convolutions with a residual connection and pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.head = nn.BatchNorm2d(4), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.max_pool2d(torch.relu(self.norm(self.first(x))), 2)
        logits: torch.Tensor = self.head(F.avg_pool2d(F.relu(h + self.second(h)), 2).flatten(1))
        return logits


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm", "image"])
def test_both_frontends_give_the_same_integers(kind: str) -> None:
    module = randomised(Image() if kind == "image" else Crnn(kind))
    x = data((24, 1, 8, 8) if kind == "image" else (24, 6, 3))[0]
    axes = {0: "N"} if kind == "image" else {0: "N", 1: "T"}
    direct = snnir.compile(module, calibration=x.numpy(), bits=4)
    around = snnir.compile(onnx_of(module, x, axes), calibration=x.numpy(), bits=4)
    assert float(str(direct.facts["import_error"])) < 1e-5
    test = data((6, 1, 8, 8) if kind == "image" else (6, 9, 3), seed=5)[0].numpy()
    ours, theirs = direct.reference(test), around.reference(test)
    assert np.array_equal(ours["output"], theirs["output"])
    quantized = [program.graph("quantized") for program in (direct, around)]
    integers = [sorted((v.type.shape, v.digest) for v in constants(graph)) for graph in quantized]
    assert integers[0] == integers[1]
    verification = direct.verify(test)
    assert verification.ok and verification.within_bounds


class Digits(nn.Module):
    """The network of the demo, with the weights of its ONNX file."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        super().__init__()
        hidden, channels = weights["rnn.W"].shape[1:]
        self.conv, self.norm = nn.Conv1d(8, channels, 3, padding=1), nn.BatchNorm1d(channels)
        self.rnn, self.head = snnir.torch.IndRNN(channels, hidden), nn.Linear(hidden, 10)
        state = {
            "conv.weight": weights["conv.weight"],
            "conv.bias": weights["conv.bias"],
            "norm.weight": weights["norm.scale"],
            "norm.bias": weights["norm.bias"],
            "norm.running_mean": weights["norm.mean"],
            "norm.running_var": weights["norm.var"],
            "rnn.inputs.0.weight": weights["rnn.W"][0],
            "rnn.inputs.0.bias": weights["rnn.B"][0, :hidden],
            "rnn.recurrent.0": weights["rnn.R"][0].diagonal(),
            "head.weight": weights["head.weight"],
            "head.bias": weights["head.bias"],
        }
        self.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in state.items()}, strict=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = torch.relu(self.norm(self.conv(x.transpose(1, 2)))).transpose(1, 2)
        logits: torch.Tensor = self.head(self.rnn(rows)[0][:, -1])
        return logits


def test_the_demo_as_a_module_has_the_integers_of_its_file() -> None:
    folder = resources.files("snnir") / "data"
    model = onnx.load_from_string((folder / "digits-crnn.onnx").read_bytes())
    with resources.as_file(folder / "digits.npz") as path, np.load(path) as archive:
        calibration, test = archive["calibration"], archive["test"]
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    direct = snnir.compile(Digits(weights).eval(), calibration=calibration)
    around = snnir.compile(model, calibration=calibration)
    ours, theirs = direct.reference(test)["output"], around.reference(test)["logits"]
    assert np.array_equal(ours, theirs)
    assert direct.verify(test[:50]).ok


def constants(graph: Graph) -> list[Any]:
    """All constants that nodes take, bodies included."""
    found = [value for value in graph.constants if value.uses]
    return found + [value for node in graph.nodes if node.body is not None for value in constants(node.body)]
