"""Unrolled recurrences become one scan where their steps are the same computation, and stay as they are where not."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import snnir
from snnir.frontends.onnx import import_onnx
from snnir.ir import Graph, Node, Op, Shape, TensorType, Value
from snnir.ir.dims import dim
from snnir.ir.execute import execute
from snnir.ir.ops import (
    Add,
    Concat,
    Expand,
    Gather,
    Linear,
    MatMul,
    Mul,
    Relu,
    Reshape,
    Scan,
    Sigmoid,
    Slice,
    Sub,
    Tanh,
    Transpose,
)
from snnir.ir.verify import verify
from snnir.passes import Context
from snnir.passes.fold_constants import FoldConstants
from snnir.passes.roll_recurrences import RollRecurrences
from tests.frontends.test_torch_exports import export

N = dim("N")


def scans(graph: Graph) -> list[Node]:
    return [node for _, node in graph.walk() if isinstance(node.op, Scan)]


def roll(graph: Graph) -> Graph:
    graph = FoldConstants().run(graph, Context()).graph
    result = RollRecurrences().run(graph, Context())
    verify(result.graph)
    assert result.changed == (len(scans(result.graph)) > len(scans(graph)))
    assert len(result.remarks) == len(scans(result.graph)) - len(scans(graph))
    return result.graph


def same(before: Graph, after: Graph, seed: int = 0) -> None:
    shape = before.inputs[0].type.substitute({"N": 3}).static_shape("x")
    x = {"x": np.random.default_rng(seed).normal(size=shape).astype(np.float32)}
    a, b = execute(before, x), execute(after, x)
    for name in a:
        np.testing.assert_allclose(b[name], a[name], rtol=1e-5, atol=1e-5)


@dataclass
class Loop:
    """A random cell, written out step by step."""

    seed: int
    length: int = 0
    changed: int = -1
    """The step that has a weight of its own."""
    start: str = ""

    def __post_init__(self) -> None:
        rng = self.rng = np.random.default_rng(self.seed)
        self.length = self.length or int(rng.integers(5, 12))
        self.features, self.hidden = int(rng.integers(2, 5)), int(rng.integers(1, 5))
        self.count = int(rng.integers(1, 4))
        self.time_major = bool(rng.integers(2))
        self.reverse = bool(rng.integers(2))
        self.start = self.start or str(rng.choice(["constant", "expanded", "folded", "computed"]))
        self.gated = [bool(rng.integers(2)) for _ in range(self.count)]
        self.unit = bool(rng.integers(2))
        self.links = rng.integers(0, 2, (self.count, self.count)).astype(bool) | np.eye(self.count, dtype=bool)
        self.activations: list[Op] = [rng.choice(np.array([Tanh(), Relu(), Sigmoid()], object)) for _ in range(self.count)]
        shape: Shape = (self.length, N, self.features) if self.time_major else (N, self.length, self.features)
        self.graph = Graph("loop")
        self.x = self.graph.input("x", TensorType(shape, "f32"))
        self.weights: dict[str, np.ndarray] = {}

    def weight(self, name: str, *shape: int, step: int = -1) -> Value:
        if name not in self.weights:
            self.weights[name] = (0.5 * self.rng.normal(size=shape)).astype(np.float32)
        array = self.weights[name]
        if step == self.changed >= 0 and name == "U0.0":
            array = array.copy()
            array.flat[0] += 0.25
        return self.graph.constant(name, array)

    def element(self, step: int) -> Value:
        place = self.length - 1 - step if self.reverse else step
        axis = 0 if self.time_major else 1
        if self.seed % 3 == 0:
            return self.graph.add1(Gather(axis, (place - self.length if self.seed % 2 else place,)), self.x)
        cut = self.graph.add1(Slice(axis, place, place + 1), self.x)
        return cut if self.time_major and self.unit else self.graph.add1(Reshape((N, self.features)), cut)

    def initial(self, index: int) -> Value | None:
        shape: Shape = (1, N, self.hidden) if self.unit else (N, self.hidden)
        one = tuple(1 if size is N else int(str(size)) for size in shape)
        if self.start == "folded":
            return None
        if self.start == "expanded":
            return self.graph.add1(Expand(shape), self.graph.constant("h0", np.zeros(one, np.float32)))
        if self.start == "constant":
            return self.weight(f"h{index}", *one)
        size = self.length * self.features
        whole = self.graph.add1(Transpose((1, 0, 2)), self.x) if self.time_major else self.x
        flat = self.graph.add1(Reshape((N, size)), whole)
        state = self.graph.add1(Relu(), self.graph.add1(Linear(), flat, self.weight(f"S{index}", self.hidden, size)))
        return self.graph.add1(Reshape(shape), state)

    def total(self, name: str, index: int, step: int, x: Value, states: list[Value | None]) -> Value:
        g = self.graph
        sum_ = g.add1(MatMul(), x, self.weight(f"W{name}{index}", self.features, self.hidden))
        sum_ = g.add1(Add(), sum_, self.weight(f"b{name}{index}", self.hidden))
        for other, state in enumerate(states):
            if self.links[index, other] and state is not None:
                back = g.add1(MatMul(), state, self.weight(f"U{name}{index}.{other}", self.hidden, self.hidden, step=step))
                sum_ = g.add1(Add(), back, sum_)
        return sum_

    def build(self) -> Graph:
        g = self.graph
        states = [self.initial(index) for index in range(self.count)]
        rows: list[Value] = []
        for step in range(self.length):
            x = self.element(step)
            new: list[Value | None] = []
            for index in range(self.count):
                value = g.add1(self.activations[index], self.total("", index, step, x, states))
                old = states[index]
                if self.gated[index]:
                    gate = g.add1(Sigmoid(), self.total("z", index, step, x, states))
                    rest = g.add1(Sub(), g.constant("one", np.array(1, np.float32)), gate)
                    value = g.add1(Mul(), rest, value)
                    if old is not None:
                        value = g.add1(Add(), value, g.add1(Mul(), gate, old))
                new.append(value)
            states = new
            (first, *_) = [state for state in new if state is not None]
            rows.append(first if first.type.rank == 3 else g.add1(Reshape((1, N, self.hidden)), first))
        if self.seed % 5:
            g.output("sequence", g.add1(Concat(0), *rows))
        if self.seed % 4 == 0:
            g.output("middle", g.add1(Relu(), rows[self.length // 2]))
        for index, state in enumerate(states):
            if state is not None:
                g.output(f"last{index}", state)
        verify(g)
        return g


@pytest.mark.parametrize("seed", range(120))
def test_a_random_cell_becomes_one_scan(seed: int) -> None:
    loop = Loop(seed)
    graph = loop.build()
    rolled = roll(graph)
    (scan,) = scans(rolled)
    sequence = scan.operands[scan.op.states]  # type: ignore[attr-defined]
    length = sequence.type.shape[scan.op.axis]  # type: ignore[attr-defined]
    apart = loop.start == "constant"  # step 0 holds products with the constants, which are folded
    assert length == loop.length - apart
    assert len(rolled.nodes) < (80 if apart else 30)
    same(graph, rolled, seed)


@pytest.mark.parametrize("seed", range(60))
def test_a_step_with_a_weight_of_its_own_is_not_rolled_over(seed: int) -> None:
    length = 5 + seed % 6
    loop = Loop(seed, length, changed=1 + seed % (length - 1))
    graph = loop.build()
    rolled = RollRecurrences().run(FoldConstants().run(graph, Context()).graph, Context())
    assert not rolled.changed
    assert not scans(rolled.graph)
    if seed % 6 == 0:  # it converts as the feed-forward network that it is
        data = {value.name: random_input(value, seed) for value in graph.inputs}
        program = snnir.compile(graph, calibration=data)
        assert not scans(program.graph())
        assert program.verify(data).ok


def random_input(value: Value, seed: int) -> np.ndarray:
    shape = [3 if size == N else int(str(size)) for size in value.type.shape]
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


class Layers(nn.Module):
    """PyTorch's own layers, which the default exporter unrolls."""

    def __init__(self, layers: int = 1, bidirectional: bool = False) -> None:
        super().__init__()
        self.rnn = nn.RNN(3, 5, layers, bidirectional=bidirectional, batch_first=True)
        self.head = nn.Linear(10 if bidirectional else 5, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y, last = self.rnn(x)
        return self.head(y), last


class GruLoop(nn.Module):
    """A gated cell by hand, over time; its last state through a linear layer."""

    def __init__(self, hidden: int = 4) -> None:
        super().__init__()
        self.hidden = hidden
        self.enter, self.back, self.head = nn.Linear(3, 3 * hidden), nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.shape[0], self.hidden)
        for t in range(x.shape[1]):
            a, b = self.enter(x[:, t]).chunk(3, 1), self.back(h).chunk(3, 1)
            z, r = torch.sigmoid(a[0] + b[0]), torch.sigmoid(a[1] + b[1])
            h = (1 - z) * torch.tanh(a[2] + r * b[2]) + z * h
        logits: torch.Tensor = self.head(h)
        return logits


class LstmLoop(nn.Module):
    """Two stacked cells by hand, from the last element to the first; each step gives out a linear map of its state."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(3 + 4, 16), nn.Linear(4 + 4, 16), nn.Linear(4, 2)

    @staticmethod
    def cell(layer: nn.Linear, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        i, f, g, o = layer(torch.cat([x, h], 1)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h1 = c1 = h2 = c2 = torch.zeros(x.shape[0], 4)
        rows = []
        for t in reversed(range(x.shape[1])):
            h1, c1 = self.cell(self.first, x[:, t], h1, c1)
            h2, c2 = self.cell(self.second, h1, h2, c2)
            rows.append(self.head(h2))
        return torch.stack(rows, 1)


class Growing(nn.Module):
    """A leaky sum of a threshold's output; results are collected by one concatenation a step."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.head = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fed = self.enter(x)
        h = torch.zeros(x.shape[0], 5)
        rows = torch.zeros(x.shape[0], 0, 5)
        for t in range(x.shape[1]):
            h = torch.relu(0.5 * h + fed[:, t])
            rows = torch.cat([rows, h[:, None]], 1)
        logits: torch.Tensor = self.head(rows)
        return logits


class Apart(nn.Module):
    """A gate and a candidate, each computed from the whole sequence before the loop; the input goes in once more."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.candidate, self.back = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gates, candidates = self.gate(x), self.candidate(x)
        h = torch.zeros(x.shape[0], 3)
        rows = []
        for t in range(x.shape[1]):
            z = torch.sigmoid(gates[:, t])
            h = z * h + (1 - z) * torch.tanh(candidates[:, t] + self.back(h) + x[:, t])
            rows.append(h)
        return torch.stack(rows, 1)


CASES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "rnn": (Layers, 1),
    "two-layers": (lambda: Layers(2), 2),
    "both-directions": (lambda: Layers(2, True), 4),
    "gru-loop": (GruLoop, 1),
    "gru-loop-of-one": (lambda: GruLoop(1), 1),
    "apart": (Apart, 1),
    "growing": (Growing, 1),
    "lstm-loop": (LstmLoop, 1),
}


@pytest.mark.parametrize("dynamic", [True, False], ids=["any-batch", "batch-of-1"])
@pytest.mark.parametrize("name", CASES)
def test_an_unrolled_export_becomes_scans_and_an_exact_spiking_network(name: str, dynamic: bool) -> None:
    make, count = CASES[name]
    torch.manual_seed(0)
    content = export(make(), torch.randn(3 if dynamic else 1, 7, 3), True, dynamic)
    graph = import_onnx(content)
    assert not scans(graph)
    rolled = roll(graph)
    assert len(scans(rolled)) == count
    assert all(node.operands[node.op.states].type.shape[node.op.axis] == 7 for node in scans(rolled))  # type: ignore[attr-defined]
    same(graph, rolled)
    x = np.random.default_rng(1).normal(size=(16, 7, 3)).astype(np.float32)
    program = snnir.compile(content, calibration=x)
    assert len(scans(program.graph())) == count
    for delivery in ("relay", "replay", "graded"):
        report = program.verify(x, delivery=delivery)
        assert report.ok, report


def test_784_steps_are_rolled_compiled_and_exact() -> None:
    x = np.random.default_rng(1).normal(size=(16, 784, 1)).astype(np.float32)
    path = Path(__file__).parents[2] / "benchmarks" / "roll_recurrences.py"
    spec = importlib.util.spec_from_file_location("roll_benchmark", path)
    assert spec is not None and spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    program = snnir.compile(benchmark.unrolled_rnn(784, 1, 32), calibration=x)
    spiking = program.graph()
    assert len(scans(spiking)) == 1
    assert sum(1 for _ in spiking.walk()) < 20
    report = program.verify(x[:2])
    assert report.ok, report
    assert report.compared > 784 * 32 * 2


def test_steps_without_a_state_stay_as_they_are() -> None:
    graph = Graph("apart")
    x = graph.input("x", TensorType((N, 6, 3), "f32"))
    weight = graph.constant("w", np.ones((4, 3), np.float32))
    rows = [graph.add1(Relu(), graph.add1(Linear(), graph.add1(Gather(1, (step,)), x), weight)) for step in range(6)]
    graph.output("y", graph.add1(Concat(1), *rows))
    assert not RollRecurrences().run(graph, Context()).changed


def test_a_state_of_two_steps_ago_is_not_rolled() -> None:
    graph = Graph("delayed")
    x = graph.input("x", TensorType((N, 8, 3), "f32"))
    rows = [graph.add1(Tanh(), graph.add1(Gather(1, (step,)), x)) for step in range(2)]
    for step in range(2, 8):
        total = graph.add1(Add(), graph.add1(Gather(1, (step,)), x), rows[step - 2])
        rows.append(graph.add1(Tanh(), total))
    graph.output("y", graph.add1(Concat(1), *rows))
    result = RollRecurrences().run(graph, Context())
    same(graph, result.graph)
    assert not scans(result.graph)
