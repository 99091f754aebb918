"""Drawing at random: numbers, weights, and recurrent cells of several kinds."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

from snnir.ir import BATCH, Graph, Op, TensorType, Value
from snnir.ir.dims import dim
from snnir.ir.ops import (
    Add,
    ArgMax,
    Clip,
    Concat,
    Gru,
    Linear,
    Lookup,
    Lstm,
    MatMul,
    Mul,
    Relu,
    Rnn,
    Scan,
    Sigmoid,
    Tanh,
    Transpose,
)
from tests.random_functions import FunctionDraw

__all__ = ["Draw", "N"]

T = TypeVar("T")
N = dim(BATCH)


class Draw:
    """A graph under construction, and where its random numbers come from."""

    def __init__(self, rng: np.random.Generator, graph: Graph, functions: FunctionDraw, function_share: float) -> None:
        self.rng, self.graph = rng, graph
        self.functions, self.function_share = functions, function_share
        self.length = 0
        self.count = 0

    def function(self, x: Value, body: Graph | None = None) -> Value:
        """Sometimes a function of x, in the graph or, more often, in a body."""
        share = self.function_share * (1 if body is None else 2)
        return self.functions.of(body or self.graph, x) if self.functions.chance(share) else x

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def choose(self, options: tuple[T, ...]) -> T:
        return options[int(self.rng.integers(len(options)))]

    def between(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def add(self, op: Op, *operands: Value) -> Value:
        self.count += 1
        return self.graph.add1(op, *operands, name=f"{op.name}{self.count}", origin=(f"{op.name} {self.count}",))

    def constant(self, array: np.ndarray) -> Value:
        return self.graph.constant("c", array.astype(np.float32))

    def weight(self, *shape: int) -> np.ndarray:
        """Weights of varied scale; sometimes a channel without any."""
        fan_in = int(np.prod(shape[1:]))
        array: np.ndarray = self.rng.normal(size=shape) * self.choose((0.3, 1.0, 2.0)) / np.sqrt(fan_in)
        if self.chance(0.15):
            array[self.between(0, shape[0] - 1)] = 0
        return array

    def bias(self, count: int) -> tuple[Value, ...]:
        return (self.constant(self.rng.normal(size=count) * 0.5),) if self.chance(0.6) else ()

    def recurrent(self, x: Value) -> Value:
        if self.functions.chance(0.4 * self.function_share):
            return self.choosing(x)
        cells = (self.rnn, self.rnn, self.gated, self.gated, self.indrnn, self.two_states, self.product_cell, self.bidirectional)
        return self.choose(cells)(x)

    def bidirectional(self, x: Value) -> Value:
        """Two layers, one of them backwards, next to each other."""
        return self.graph.add1(Concat(2), self.gated(x, reverse=False), self.gated(x, reverse=True), name="bidirectional")

    def gated(self, x: Value, reverse: bool | None = None) -> Value:
        """A GRU of either form, or an LSTM with or without peepholes; some clip their sums."""
        inputs, hidden = int(str(x.type.shape[2])), self.between(2, 4)
        reverse = self.chance(0.25) if reverse is None else reverse
        clip = 0.8 if self.chance(0.2) else math.inf
        op: Gru | Lstm = Gru(reset_after=self.chance(0.5), reverse=reverse, clip=clip)
        if self.chance(0.5):
            op = Lstm(input_forget=self.chance(0.3), reverse=reverse, clip=clip)
        rows = op.GATES * hidden
        bias = self.rng.normal(size=4 * hidden) * 0.3
        if isinstance(op, Gru) and not op.reset_after:
            bias[rows:] = 0
        states = [
            self.rng.normal(size=(1, hidden)) * 0.5 if self.chance(0.4) else np.zeros((1, hidden)) for _ in range(op.STATES)
        ]
        operands = [self.weight(rows, inputs), self.weight(rows, hidden), bias, *states]
        if isinstance(op, Lstm) and self.chance(0.5):
            operands.append(self.rng.normal(size=3 * hidden) * 0.5)
        results = self.graph.add(op, x, *(self.constant(array) for array in operands), names=("gated_y",))
        if self.chance(0.15):
            self.graph.output(f"state{len(self.graph.outputs)}", results[-1])
        return results[0]

    def rnn(self, x: Value) -> Value:
        inputs, hidden = int(str(x.type.shape[2])), self.between(2, 6)
        recurrent = self.weight(hidden, hidden)
        if self.chance(0.4):
            recurrent = np.diag(self.rng.uniform(-1, 1, hidden))
        initial = self.rng.normal(size=(1, hidden)) if self.chance(0.4) else np.zeros((1, hidden))
        operands = (self.weight(hidden, inputs), recurrent, self.rng.normal(size=hidden) * 0.3, initial)
        op = Rnn(self.choose(("relu", "tanh")), self.chance(0.25))
        y, last = self.graph.add(op, x, *(self.constant(array) for array in operands), names=("rnn_y", "rnn_last"))
        if self.chance(0.15):
            self.graph.output(f"state{len(self.graph.outputs)}", last)
        return y

    def indrnn(self, x: Value) -> Value:
        """A hand-written cell: `y = relu(W x + u * s)`, sometimes with a residual connection inside."""
        inputs = int(str(x.type.shape[2]))
        hidden = inputs if self.chance(0.4) else self.between(2, 6)
        body, state, element = self.body(x, hidden)
        feed = body.add1(Linear(), element, body.constant("w", self.weight(hidden, inputs).astype(np.float32)))
        back = body.add1(Mul(), state, body.constant("u", self.rng.uniform(-1, 1, hidden).astype(np.float32)))
        total = self.function(body.add1(Add(), feed, back), body)
        if hidden == inputs and self.chance(0.5):
            total = body.add1(Add(), total, element)
        y = body.add1(self.choose((Relu(), Clip(0.0, 6.0), Tanh())), total, name="cell")
        body.output("next", y)
        body.output("y", y)
        initial = self.constant(np.zeros(hidden) if self.chance(0.6) else self.rng.normal(size=hidden))
        return self.graph.add(Scan(1, 1, 1, self.chance(0.2)), initial, x, names=("scan_last", "scan_y"), body=body)[1]

    def two_states(self, x: Value) -> Value:
        """A cell with two states, one of which is a delayed copy of the other; only the sum leaves it."""
        inputs, hidden = int(str(x.type.shape[2])), self.between(2, 5)
        body, state, element = self.body(x, hidden, delayed=True)
        delayed = body.inputs[1]
        feed = body.add1(Linear(), element, body.constant("w", self.weight(hidden, inputs).astype(np.float32)))
        back = body.add1(Linear(), state, body.constant("r", self.weight(hidden, hidden).astype(np.float32)))
        far = body.add1(Mul(), delayed, body.constant("u", self.rng.uniform(-1, 1, hidden).astype(np.float32)))
        total = body.add1(Add(), body.add1(Add(), self.function(feed, body), back), far)
        h = self.function(body.add1(self.choose((Relu(), Tanh(), Sigmoid())), total, name="h"), body)
        mixed = body.add1(Concat(1), h, delayed)
        y = body.add1(
            Relu(), body.add1(Linear(), mixed, body.constant("o", self.weight(3, 2 * hidden).astype(np.float32))), name="out"
        )
        for name, value in (("next", h), ("next_delayed", state), ("y", y)):
            body.output(name, value)
        zero = self.constant(np.zeros((1, hidden)))
        names = ("cell_last", "cell_delayed", "cell_y")
        return self.graph.add(Scan(2, 1, 1), zero, zero, x, names=names, body=body)[2]

    def product_cell(self, x: Value) -> Value:
        """A hand-written cell with products of two states, of state and element, and of three values."""
        inputs, hidden = int(str(x.type.shape[2])), self.between(2, 3)
        body, state, element = self.body(x, hidden, delayed=True)
        delayed = body.inputs[1]
        feed = body.add1(Linear(), element, body.constant("w", self.weight(hidden, inputs).astype(np.float32)))
        gate = self.function(body.add1(Sigmoid(), feed, name="gate"), body)
        mixed = body.add1(Mul(), state, delayed, name="mixed")
        kept = body.add1(Mul(), gate, mixed if self.chance(0.4) else state, name="kept")
        h = body.add1(Tanh(), body.add1(Add(), body.add1(Add(), kept, mixed), feed), name="h")
        for name, value in (("next", h), ("next_delayed", kept), ("y", body.add1(Mul(), h, gate, name="y"))):
            body.output(name, value)
        initial = self.constant(self.rng.normal(size=(1, hidden)) if self.chance(0.5) else np.zeros((1, hidden)))
        names = ("product_last", "product_kept", "product_y")
        return self.graph.add(Scan(2, 1, 1, self.chance(0.2)), initial, initial, x, names=names, body=body)[2]

    def choosing(self, x: Value) -> Value:
        """A cell that takes the place of its largest sum of the element before, an integer: greedy decoding."""
        inputs, hidden, words = int(str(x.type.shape[2])), self.between(2, 4), self.between(2, 5)
        body = Graph(f"choosing{self.count}")
        word = body.input("word", TensorType((N,), "i64"))
        state = body.input("state", TensorType((N, hidden), "f32"))
        element = body.input("element", TensorType((N, inputs), "f32"))
        table, feed, back, score = (
            body.constant(name, self.weight(*shape).astype(np.float32))
            for name, shape in (("t", (words, hidden)), ("w", (hidden, inputs)), ("r", (hidden, hidden)), ("s", (words, hidden)))
        )
        embedded = body.add1(Lookup(), table, word)
        own = body.add1(Add(), body.add1(Linear(), element, feed), body.add1(Linear(), state, back))
        h = body.add1(self.choose((Tanh(), Relu())), body.add1(Add(), own, embedded), name="h")
        scores = body.add1(Linear(), h, score, name="scores")
        body.output("word", body.add1(ArgMax(1, False), scores, name="best"))
        body.output("state", h)
        body.output("scores", scores)
        start = self.graph.constant("start", np.array([self.between(0, words - 1)]))
        zero = self.constant(np.zeros((1, hidden)))
        names = ("last_word", "last_state", "spoken")
        word_, _, spoken = self.graph.add(Scan(2, 1, 1, self.chance(0.2)), start, zero, x, names=names, body=body)
        if self.chance(0.3):
            self.graph.output(f"word{len(self.graph.outputs)}", word_)
        return spoken

    def attend(self, x: Value) -> Value:
        """Each element's similarity to all others weighs them: two matrix products of values that both change."""
        inputs, width = int(str(x.type.shape[2])), self.between(2, 3)
        parts = [
            self.add(self.choose((Relu(), Tanh())), self.add(Linear(), x, self.constant(self.weight(width, inputs))))
            for _ in range(3)
        ]
        scores = self.add(MatMul(), parts[0], self.add(Transpose((0, 2, 1)), parts[1]))
        return self.add(MatMul(), self.add(Sigmoid(), scores), parts[2])

    def body(self, x: Value, hidden: int, delayed: bool = False) -> tuple[Graph, Value, Value]:
        body = Graph(f"body{self.count}")
        state = body.input("state", TensorType((N, hidden), "f32"))
        if delayed:
            body.input("delayed", TensorType((N, hidden), "f32"))
        element = body.input("element", TensorType((N, x.type.shape[2]), "f32"))
        return body, state, element
