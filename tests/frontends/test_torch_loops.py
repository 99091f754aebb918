"""Python loops in scripted PyTorch modules: the exporter writes an ONNX Loop, which becomes one scan."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import snnir
from snnir.frontends.onnx import import_onnx, run_onnxruntime
from snnir.ir.execute import execute


class Layers(nn.Module):
    """The layers of a plain cell, and a linear layer behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.feed, self.back, self.head = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 3)


class Appends(Layers):
    """Appends to a list, which is stacked."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.shape[0], 5)
        outputs: list[torch.Tensor] = []
        for t in range(x.shape[1]):
            h = torch.tanh(self.feed(x[:, t]) + self.back(h))
            outputs.append(h)
        logits: torch.Tensor = self.head(torch.stack(outputs, 1))
        return logits


class Writes(Layers):
    """Writes to a tensor in place."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, outputs = torch.zeros(x.shape[0], 5), torch.zeros(x.shape[0], x.shape[1], 5)
        for t in range(x.shape[1]):
            h = torch.tanh(self.feed(x[:, t]) + self.back(h))
            outputs[:, t] = h
        logits: torch.Tensor = self.head(outputs)
        return logits


class Joins(Layers):
    """Reads from a list of elements, and joins what it appends along an axis that there is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.shape[0], 5)
        elements = x.unbind(1)
        outputs: list[torch.Tensor] = []
        for t in range(len(elements)):
            h = torch.relu(self.feed(elements[t]) + self.back(h))
            outputs.append(h.unsqueeze(1))
        logits: torch.Tensor = self.head(torch.cat(outputs, 1))
        return logits


class Unbinds(Layers):
    """Goes through a list of elements."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.shape[0], 5)
        for element in x.unbind(1):
            h = torch.tanh(self.feed(element) + self.back(h))
        logits: torch.Tensor = self.head(h)
        return logits


class Counts(Layers):
    """A while loop with a counter of its own, from the end."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, t = torch.zeros(x.shape[0], 5), x.shape[1] - 1
        while t >= 0:
            h = torch.tanh(self.feed(x[:, t]) + self.back(h))
            t -= 1
        logits: torch.Tensor = self.head(h)
        return logits


def export(module: nn.Module, samples: int, any_batch: bool) -> bytes:
    """The scripted module as ONNX bytes."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            torch.jit.script(module.eval()),
            (torch.zeros(samples, 6, 4),),
            file,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            verbose=False,
            dynamic_axes={"x": {0: "batch"}} if any_batch else None,
        )
    return file.getvalue()


@pytest.mark.parametrize("any_batch", [True, False], ids=["any-batch", "batch-of-1"])
@pytest.mark.parametrize("make", [Appends, Writes, Joins, Unbinds, Counts])
def test_scripted_loops(make: type[nn.Module], any_batch: bool) -> None:
    torch.manual_seed(0)
    content = export(make(), 3 if any_batch else 1, any_batch)
    graph = import_onnx(content)
    assert sum(node.op.name == "scan" for _, node in graph.walk()) == 1
    assert bool(graph.notes) == (not any_batch)
    x = np.random.default_rng(0).normal(size=(24, 6, 4)).astype(np.float32)
    (ours,) = execute(graph, {"x": x}).values()
    (theirs,) = run_onnxruntime(content, {"x": x}).values()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    report = snnir.compile(content, calibration=x).verify(x)
    assert report.ok, report
    assert report.compared > 1000
