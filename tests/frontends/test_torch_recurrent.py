"""Recurrent layers, scans and cells in loops, imported through torch.export."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import snnir
import snnir.compiler.importing
from tests.frontends.torch_modules import check, data, randomised, same


class Recurrent(nn.Module):
    """A recurrent layer with or without initial states; every result is given out."""

    def __init__(self, kind: str, initial: bool, **options: Any) -> None:
        super().__init__()
        self.layer = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[kind](3, 4, **options)
        self.initial = initial

    def forward(self, x: torch.Tensor, *states: torch.Tensor) -> Any:
        return self.layer(x, (states if len(states) > 1 else states[0]) if states else None)


FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "layers": {"num_layers": 2, "dropout": 0.3},
    "bidirectional": {"bidirectional": True},
    "both": {"num_layers": 2, "bidirectional": True},
    "no_bias": {"bias": False},
    "no_bias_both": {"bias": False, "num_layers": 2, "bidirectional": True},
}


@pytest.mark.parametrize("kind", ["rnn", "rnn_relu", "gru", "lstm"])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_recurrent_layers(kind: str, batch_first: bool, form: str) -> None:
    options = FORMS[form] | ({"nonlinearity": "relu"} if kind == "rnn_relu" else {})
    kind = kind.split("_")[0]
    rows = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    for initial in (False, True):
        module = randomised(Recurrent(kind, initial, batch_first=batch_first, **options))
        states = 0 if not initial else 2 if kind == "lstm" else 1

        def arguments(batch: int, length: int, seed: int, states: int = states) -> list[torch.Tensor]:
            x = (batch, length, 3) if batch_first else (length, batch, 3)
            return data(x, *([(rows, batch, 4)] * states), seed=seed)

        graph = snnir.import_model(module, example_inputs=tuple(arguments(2, 5, 0)))
        assert [str(size) for size in graph.inputs[0].type.shape] == (["N", "T", "3"] if batch_first else ["T", "N", "3"])
        for batch, length in ((3, 7), (1, 2)):
            same(module, graph, *arguments(batch, length, 1))


class ScanCell(nn.Module):
    """A cell of the user's own, written with PyTorch's scan."""

    def __init__(self, reverse: bool, start: bool) -> None:
        super().__init__()
        self.u = nn.Parameter(torch.rand(4))
        self.inside, self.back = nn.Linear(3, 4), nn.Linear(4, 4)
        self.reverse, self.start = reverse, start

    def forward(self, x: torch.Tensor) -> Any:
        from torch._higher_order_ops.scan import scan

        def step(states: tuple[torch.Tensor, torch.Tensor], element: torch.Tensor) -> Any:
            a, b = states
            a = torch.relu(self.inside(element) + self.u * a)
            b = torch.tanh(self.back(b) + 0.5 * a)
            return (a, b), (b.clone(), a + b)

        zero = torch.zeros(x.shape[0], 4)
        start = x[:, 0, :1].expand(-1, 4) * 1.0 if self.start else zero + 0.25
        return scan(step, (zero, start), x, dim=1, reverse=self.reverse)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("start", [False, True])
def test_scans(reverse: bool, start: bool) -> None:
    graph = check(ScanCell(reverse, start), (2, 5, 3))
    assert any(node.op.name == "scan" for node in graph.nodes)
    x = data((3, 8, 3))[0]
    same(randomised(ScanCell(reverse, start)), graph, x)


class Unrolled(nn.Module):
    """A cell called in a Python loop, which torch.export writes out."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNNCell(3, 4, nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.shape[0], 4)
        for element in x.unbind(1):
            h = self.cell(element, h)
        return h


def test_an_unrolled_loop_is_rolled_back() -> None:
    module = randomised(Unrolled())
    x = data((16, 8, 3))[0]
    program = snnir.compile(module, calibration=x.numpy(), bits=5)
    assert any(node.op.name == "scan" for node in program.graph("quantized").nodes)
    assert any("rolled" in str(note) or "scan" in str(note) for note in program.facts["remarks"])  # type: ignore[attr-defined]
    assert program.verify(x.numpy()).ok


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_cells_in_a_loop(kind: str) -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRUCell(3, 4) if kind == "gru" else nn.LSTMCell(3, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = c = torch.zeros(x.shape[0], 4)
            for element in x.unbind(1):
                if kind == "gru":
                    h = self.cell(element, h)
                else:
                    h, c = self.cell(element, (h, c))
            return h

    graph = check(Loop(), (2, 5, 3))
    assert graph.notes == ["input x: lengths stay those of the example, Nx5x3:f32"]
