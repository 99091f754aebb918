"""Modules and checks that the tests of the PyTorch frontend share."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import nn

import snnir
import snnir.compiler.importing
from snnir.frontends.torch import run_torch
from snnir.ir import Graph
from snnir.ir.execute import execute

TOLERANCE = 1e-5


DYNAMIC = torch.export.Dim.DYNAMIC


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Any], *modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(modules)

    def forward(self, *x: torch.Tensor) -> Any:
        return self.function(*x)


def data(*shapes: tuple[int, ...], seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def randomised(module: nn.Module) -> nn.Module:
    """Parameters and statistics that are not those of initialisation."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.is_floating_point():
                drawn = torch.randn(tensor.shape, generator=generator) * 0.5
                tensor.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else drawn)
    return module.eval()


def same(module: nn.Module, graph: Graph, *inputs: torch.Tensor, example: Any = None) -> None:
    arrays = {value.name: x.numpy() for value, x in zip(graph.inputs, inputs, strict=True)}
    ours, theirs = execute(graph, arrays), run_torch(module, arrays, example)
    assert list(ours) == list(theirs)
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape, name
        assert np.abs(ours[name] - expected).max() <= TOLERANCE * max(float(np.abs(expected).max()), 1e-3), name


def check(module: nn.Module, *shapes: tuple[int, ...], positive: bool = False) -> Graph:
    """Import with one batch, compare on another; the batch is open."""
    randomised(module)
    example = [x.abs() + 0.1 if positive else x for x in data(*shapes)]
    graph = snnir.import_model(module, example_inputs=tuple(example))
    assert all(value.type.shape[0] == snnir.ir.dims.dim("N") for value in graph.inputs), graph.notes
    other = [x.abs() + 0.1 if positive else x for x in data(*((5, *shape[1:]) for shape in shapes), seed=2)]
    same(module, graph, *other)
    return graph


class Crnn(nn.Module):
    """Convolution, batch norm, a recurrent layer, a head."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(3, 6, 3, padding=1), nn.BatchNorm1d(6)
        self.rnn = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[kind](6, 5, batch_first=True)
        self.head = nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.rnn(torch.relu(self.norm(self.conv(x.transpose(1, 2)))).transpose(1, 2))
        logits: torch.Tensor = self.head(y[:, -1])
        return logits


def onnx_of(module: nn.Module, x: torch.Tensor, axes: dict[int, str], opset: int | None = None) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names: dict[str, Any] = {"input_names": ["x"], "output_names": ["output"], "dynamic_axes": {"x": axes}}
        torch.onnx.export(module, (x,), cast(Any, buffer), dynamo=False, opset_version=opset, **names)
    return buffer.getvalue()
