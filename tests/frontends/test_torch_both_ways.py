"""The same module through torch.export and through ONNX: the same integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import snnir
import snnir.api
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


def constants(graph: Graph) -> list[Any]:
    """All constants that nodes take, bodies included."""
    found = [value for value in graph.constants if value.uses]
    return found + [value for node in graph.nodes if node.body is not None for value in constants(node.body)]
