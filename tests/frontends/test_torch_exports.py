"""Models exported by both exporters of PyTorch: the import computes what ONNX Runtime computes."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

import snnir
from snnir.frontends.onnx import import_onnx, run_onnxruntime
from snnir.ir.execute import execute


class Crnn(nn.Module):
    """Conv1d, batch norm, ReLU, a ReLU RNN, a linear layer."""

    def __init__(self, initial: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv1d(8, 12, 3, padding=1)
        self.norm = nn.BatchNorm1d(12)
        self.rnn = nn.RNN(12, 16, nonlinearity="relu", batch_first=True)
        self.head = nn.Linear(16, 10)
        self.initial = initial

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.norm(self.conv(x.transpose(1, 2)))).transpose(1, 2)
        state = torch.zeros(1, x.shape[0], 16) + 0.5 if self.initial else None
        y, _ = self.rnn(h, state)
        logits: torch.Tensor = self.head(y[:, -1])
        return logits


class TwoLayers(nn.Module):
    """Two stacked tanh layers, both directions; every element is given out."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(8, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y, last = self.rnn(x)
        return self.head(y), last


class Residual(nn.Module):
    """Two-dimensional convolutions with batch norm, a residual connection, both kinds of pooling, log-softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.norm = nn.BatchNorm2d(8)
        self.most, self.mean = nn.MaxPool2d(2), nn.AvgPool2d(2)
        self.head = nn.Linear(8 * 2 * 2, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.most(torch.relu(self.norm(self.first(x))))
        h = self.mean(nn.functional.relu6(h + self.second(h)))
        return torch.log_softmax(self.head(h.flatten(1)), 1)


class Branches(nn.Module):
    """Concatenation, leaky ReLU, hard sigmoid, a mean over space."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv1d(3, 4, 5, stride=2, padding=2), nn.Conv1d(3, 6, 3, stride=2, dilation=2, padding=2)
        self.head = nn.Linear(10, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = torch.cat([nn.functional.leaky_relu(self.a(x)), nn.functional.hardsigmoid(self.b(x))], 1)
        logits: torch.Tensor = self.head(both.mean(2))
        return logits


class Gated(nn.Module):
    """A gated cell over time, in both directions; its last element through a linear layer."""

    def __init__(self, cell: type[nn.GRU] | type[nn.LSTM]) -> None:
        super().__init__()
        self.cell = cell(6, 5, batch_first=True, bidirectional=True)
        self.head = nn.Linear(10, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.cell(x)
        logits: torch.Tensor = self.head(y[:, -1])
        return logits


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "crnn": (Crnn, (8, 8)),
    "crnn-initial": (lambda: Crnn(True), (8, 8)),
    "two-layers": (TwoLayers, (5, 8)),
    "gru": (lambda: Gated(nn.GRU), (7, 6)),
    "lstm": (lambda: Gated(nn.LSTM), (7, 6)),
    "residual": (Residual, (1, 8, 8)),
    "branches": (Branches, (3, 12)),
}


_read_translations = ONNXRegistry.from_torchlib


@functools.cache
def _translations(opset_version: int) -> ONNXRegistry:
    """The exporter's own translations of operators: it reads and compiles all of them anew for every model."""
    return _read_translations(opset_version)


def export(module: nn.Module, sample: torch.Tensor, dynamo: bool, dynamic: bool) -> bytes:
    """The module as ONNX bytes, with a batch of any size or of the sample's."""
    options: dict[str, Any] = {}
    if dynamic and dynamo:
        options["dynamic_shapes"] = ({0: torch.export.Dim("batch")},)
    elif dynamic:
        options["dynamic_axes"] = {"x": {0: "batch"}}
    file = io.BytesIO()
    with warnings.catch_warnings(), mock.patch.object(ONNXRegistry, "from_torchlib", staticmethod(_translations)):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (sample,),
            file,  # type: ignore[arg-type]
            dynamo=dynamo,
            opset_version=20 if dynamo else 17,
            input_names=["x"],
            verbose=False,
            **options,
        )
    return file.getvalue()


@functools.cache
def exported(name: str, dynamo: bool, dynamic: bool) -> bytes:
    """A case of `CASES` as ONNX bytes."""
    make, shape = CASES[name]
    torch.manual_seed(0)
    return export(make(), torch.randn(3 if dynamic else 1, *shape), dynamo, dynamic)


@pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "torchscript"])
@pytest.mark.parametrize("dynamic", [True, False], ids=["any-batch", "batch-of-1"])
@pytest.mark.parametrize("name", CASES)
def test_import_equals_onnx_runtime(name: str, dynamic: bool, dynamo: bool) -> None:
    shape = CASES[name][1]
    content = exported(name, dynamo, dynamic)
    graph = import_onnx(content)
    x = np.random.default_rng(1).normal(size=(4, *shape)).astype(np.float32)
    ours = execute(graph, {"x": x})
    axes = {name: value.type.batch_axis or 0 for name, value in graph.outputs.items()}
    theirs = run_onnxruntime(content, {"x": x}, axes)
    assert list(ours) == list(theirs)
    for output, expected in theirs.items():
        span = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(ours[output], expected, rtol=0, atol=1e-5 * span)
    assert all(value.type.batch_axis is not None for value in graph.outputs.values())
    assert bool(graph.notes) == (not dynamic)


@pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "torchscript"])
@pytest.mark.parametrize("name", CASES)
def test_exports_become_exact_spiking_networks(name: str, dynamo: bool) -> None:
    shape = CASES[name][1]
    content = exported(name, dynamo, False)
    x = np.random.default_rng(1).normal(size=(24, *shape)).astype(np.float32)
    program = snnir.compile(content, calibration=x)
    for delivery in ("relay", "replay", "graded"):
        report = program.verify(x, delivery=delivery)
        assert report.ok, report
        assert report.compared > 1000


def test_the_torchscript_exporter_keeps_the_rnn_as_one_node() -> None:
    graph = import_onnx(export(Crnn(), torch.randn(3, 8, 8), False, True))
    assert sum(node.op.name == "rnn" for node in graph.nodes) == 1


class Scanned(nn.Module):
    """A cell of the user's own under PyTorch's higher-order scan: a leaky state with a second, slower one."""

    def __init__(self) -> None:
        super().__init__()
        self.feed, self.back, self.head = nn.Linear(6, 5), nn.Linear(5, 5, bias=False), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        from torch._higher_order_ops.scan import scan

        def step(
            states: tuple[torch.Tensor, torch.Tensor], element: torch.Tensor
        ) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
            fast, slow = states
            fast = torch.relu(self.feed(element) + self.back(fast) - 0.5 * slow)
            slow = 0.75 * slow + 0.25 * fast
            return (fast.clone(), slow.clone()), fast + slow

        zeros = torch.zeros(x.shape[0], 5)
        _, y = scan(step, (zeros, zeros.clone()), x, dim=1)
        logits: torch.Tensor = self.head(y[:, -1])
        return logits


@pytest.mark.parametrize("dynamic", [True, False], ids=["any-batch", "batch-of-2"])
def test_a_scanned_cell_of_the_users_own(dynamic: bool) -> None:
    torch.manual_seed(0)
    content = export(Scanned(), torch.randn(2, 7, 6), True, dynamic)
    graph = import_onnx(content)
    assert sum(node.op.name == "scan" for _, node in graph.walk()) == 1
    x = np.random.default_rng(1).normal(size=(24, 7, 6)).astype(np.float32)
    (ours,) = execute(graph, {"x": x}).values()
    (theirs,) = run_onnxruntime(content, {"x": x}).values()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    assert bool(graph.notes) == (not dynamic)
    report = snnir.compile(content, calibration=x).verify(x)
    assert report.ok, report
    assert report.compared > 500
