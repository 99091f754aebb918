"""Float graphs drawn at random: what the main properties are tested on.

Three families (sequences, images, vectors), with convolutions, batch norm, activations, residual sums, branches, pools,
data movement and recurrence; saturating inputs, dead channels, odd shapes. Small, so that one converts in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from snnir.ir import Graph, Op, TensorType, Value
from snnir.ir.dims import Dim, Dimension, dim
from snnir.ir.ops import (
    Abs,
    Add,
    Affine,
    ArgMax,
    Atan,
    AveragePool,
    BatchNorm,
    Clip,
    Concat,
    Conv,
    Cos,
    Div,
    Elu,
    Erf,
    Exp,
    Extend,
    Gather,
    GeluGate,
    HardSigmoid,
    LeakyRelu,
    Linear,
    Log,
    LogSoftmax,
    MaxPool,
    Mul,
    Pad,
    Pow,
    Reciprocal,
    ReduceMean,
    Relu,
    Reshape,
    Round,
    ScaledTanh,
    Sigmoid,
    Sign,
    Sin,
    Slice,
    Softmax,
    Softplus,
    Softsign,
    Sqrt,
    Sub,
    Tanh,
    ThresholdedRelu,
    Transpose,
)
from tests.random_draws import Draw, N
from tests.random_functions import FunctionDraw

__all__ = ["random_graph"]

ACTIVATIONS: tuple[Op, ...] = (
    Relu(),
    Relu(),
    Relu(),
    Clip(0.0, 6.0),
    Clip(-1.0, 1.0),
    Tanh(),
    Sigmoid(),
    LeakyRelu(0.1),
    HardSigmoid(),
    Elu(0.5, 2.0, 1.5),
    Softplus(),
    Softsign(),
    ThresholdedRelu(0.5),
    ScaledTanh(1.5, 0.7),
    Affine(0.5, 0.1),
    Exp(),
    Erf(),
    GeluGate(),
    Atan(),
    Sign(),
    Round("floor"),
)


def random_graph(seed: int) -> tuple[Graph, dict[str, np.ndarray]]:
    """A float graph with input x, and data for it (float32, a batch of 1 to 4)."""
    # functions have numbers of their own, so that the rest of a graph is the same with and without them
    functions = FunctionDraw(np.random.default_rng([seed, 1]))
    share = 0.35 if functions.chance(0.5) else 0.0
    draw = _Draw(np.random.default_rng(seed), Graph(f"random{seed}"), functions, share)
    family = draw.choose((draw.sequence, draw.sequence, draw.image, draw.vector))
    x = family()
    draw.finish(x)
    return draw.graph, {"x": draw.data()}


class _Draw(Draw):
    def data(self) -> np.ndarray:
        shape = [
            (self.between(1, 4) if size == N else self.length) if isinstance(size, Dim) else size
            for size in self.graph.inputs[0].type.shape
        ]
        x = self.rng.normal(size=shape) * self.choose((0.5, 1.0, 3.0))
        if self.chance(0.3):
            x = np.abs(x)
        if self.chance(0.2) and x.size:
            x.reshape(-1)[self.rng.integers(x.size)] *= 20
        if self.chance(0.2):
            x[self.rng.random(x.shape) < 0.5] = 0
        return x.astype(np.float32)

    # families

    def signal(self, x: Value) -> Value:
        """Perhaps some signal processing before the network, which stays on the host."""
        if self.chance(0.65):
            return x
        squared = self.add(Add(), self.add(Mul(), x, x), self.graph.constant("guard", np.array(0.25, np.float32)))
        power = self.graph.constant("exponent", np.array(0.75, np.float32))
        function = self.choose((Sqrt(), Log(), Reciprocal(), Abs(), Sin(), Cos(), Pow()))
        return self.add(function, squared, *([power] if isinstance(function, Pow) else []))

    def sequence(self) -> Value:
        self.length = self.between(1, 6)
        size: Dimension = dim("T") if self.chance(0.35) else self.length
        x = self.graph.input("x", TensorType((N, size, self.between(2, 6)), "f32"))
        h = self.signal(x)
        for _ in range(self.between(1, 3)):
            steps = (self.conv_block, self.recurrent, self.recurrent, self.dense_block, self.affine)
            step = self.choose((*steps, self.attend) if isinstance(size, int) else steps)
            h = self.function(step(h))
        if not any(node.op.name in ("rnn", "scan") for node in self.graph.nodes):
            h = self.function(self.recurrent(h))
        return self.collapse(h)

    def image(self) -> Value:
        sizes = (self.between(1, 3), self.between(5, 8), self.between(4, 8))
        h = self.signal(self.graph.input("x", TensorType((N, *sizes), "f32")))
        for _ in range(self.between(1, 3)):
            h = self.function(self.choose((self.image_conv, self.image_conv, self.image_pool, self.image_move))(h))
        if self.chance(0.4):
            h = self.add(ReduceMean((2, 3), self.chance(0.5)), h)
        return self.add(Reshape((N, self.features(h))), h)

    def vector(self) -> Value:
        h = self.signal(self.graph.input("x", TensorType((N, self.between(3, 8)), "f32")))
        steps = (self.dense_block, self.dense_block, self.residual, self.branches, self.affine, self.norm, self.reorder)
        for _ in range(self.between(2, 4)):
            h = self.function(self.choose(steps)(h))
        return h

    # blocks on [N, T, C] and [N, F]

    def activation(self, x: Value) -> Value:
        return x if self.chance(0.12) else self.add(self.choose(ACTIVATIONS), x)

    def dense(self, x: Value, width: int) -> Value:
        inputs = int(str(x.type.shape[-1]))
        return self.add(Linear(), x, self.constant(self.weight(width, inputs)), *self.bias(width))

    def dense_block(self, x: Value) -> Value:
        return self.activation(self.dense(x, self.between(2, 8)))

    def affine(self, x: Value) -> Value:
        width = int(str(x.type.shape[-1]))
        op = self.choose((Mul(), Add(), Sub(), Div()))
        array = self.rng.normal(size=width) if self.chance(0.6) else self.rng.normal(size=())
        array = np.where(np.abs(array) < 0.2, 0.5, array)
        constant = self.constant(array)
        turned = isinstance(op, Sub) and self.chance(0.3)
        return self.add(op, *((constant, x) if turned else (x, constant)))

    def residual(self, x: Value) -> Value:
        width = int(str(x.type.shape[-1]))
        inner = self.dense(self.dense_block(x) if self.chance(0.5) else x, width)
        return self.activation(self.add(Add(), inner, x if self.chance(0.6) else self.dense(x, width)))

    def branches(self, x: Value) -> Value:
        parts = [self.dense_block(x) for _ in range(self.between(2, 3))]
        if self.chance(0.3):
            parts.append(x)
        return self.add(Concat(x.type.rank - 1), *parts)

    def reorder(self, x: Value) -> Value:
        """Some of the features, in another order."""
        width = int(str(x.type.shape[1]))
        if self.chance(0.5):
            return self.cut(x, 1)
        count = self.between(2, 6)
        return self.add(Gather(1, tuple(self.between(0, width - 1) for _ in range(count)), (count,)), x)

    def cut(self, x: Value, axis: int) -> Value:
        least = 1 if int(str(x.type.shape[axis])) > 1 else 0
        cuts = (Slice(axis, least), Slice(axis, None, -least or None), Slice(axis, None, None, -1), Slice(axis, 0, None, 2))
        return self.add(self.choose(cuts), x)

    def norm(self, x: Value) -> Value:
        channels = int(str(x.type.shape[1]))
        parameters = [self.rng.uniform(0.5, 1.5, channels), *self.rng.normal(size=(2, channels)) * 0.5]
        if self.chance(0.2):
            parameters[0][0] *= -1
        variance = self.rng.uniform(0.5, 2, channels)
        return self.add(BatchNorm(), x, *(self.constant(array) for array in (*parameters, variance)))

    def conv_block(self, x: Value) -> Value:
        """Over time, on the transposed sequence."""
        h = self.add(Transpose((0, 2, 1)), x)
        symbolic = isinstance(x.type.shape[1], Dim)
        if symbolic or self.chance(0.6):
            kernel, padding, stride, dilation = self.choose(((1, (0, 0)), (3, (1, 1)), (3, (2, 0)), (2, (0, 1)))) + (1, 1)
        else:
            dilation, stride = self.between(1, 2), self.between(1, 2)
            kernel, padding = self.between(1, 3), (self.between(2, 3), self.between(2, 3))
        h = self.conv1d(h, kernel, padding, stride, dilation)
        order = self.between(0, 3)
        if order == 1:
            h = self.activation(self.norm(h))
        elif order == 2:
            h = self.norm(self.activation(h))
        else:
            h = self.activation(h)
        if not symbolic and self.chance(0.3):
            h = self.pool1d(h)
        return self.add(Transpose((0, 2, 1)), h)

    def conv1d(self, x: Value, kernel: int, padding: tuple[int, int], stride: int, dilation: int) -> Value:
        channels, maps = int(str(x.type.shape[1])), self.between(2, 6)
        groups = 1
        if channels % 2 == 0 and self.chance(0.3):
            groups, maps = 2, 2 * ((maps + 1) // 2)
        weight = self.constant(self.weight(maps, channels // groups, kernel))
        return self.add(Conv((stride,), padding, (dilation,), groups), x, weight, *self.bias(maps))

    def pool1d(self, x: Value) -> Value:
        size = int(str(x.type.shape[2]))
        kernel = self.between(1, min(3, size))
        padding = (self.between(0, kernel - 1), self.between(0, kernel - 1))
        stride, ceil = self.between(1, 2), self.chance(0.3)
        if self.chance(0.5):
            return self.add(MaxPool((kernel,), (stride,), padding, (1,), ceil), x)
        return self.add(AveragePool((kernel,), (stride,), padding, (1,), ceil, self.chance(0.5)), x)

    def collapse(self, x: Value) -> Value:
        """From a sequence to a vector, or every element given out."""
        if self.chance(0.35):
            return x
        if isinstance(x.type.shape[1], Dim) or self.chance(0.5):
            return self.add(Gather(1, (-1,), ()), x)
        if self.chance(0.3):
            return self.add(ReduceMean((1,), False), x)
        if self.chance(0.3):
            x = self.add(Slice(1, 0, None, 2), x)
        return self.add(Reshape((N, self.features(x))), x)

    # blocks on [N, C, H, W]

    def features(self, x: Value) -> int:
        return int(np.prod([int(str(size)) for size in x.type.shape[1:]]))

    def image_conv(self, x: Value) -> Value:
        channels, maps = int(str(x.type.shape[1])), self.between(2, 5)
        height, width = (int(str(size)) for size in x.type.shape[2:])
        kernel = (self.between(1, min(3, height)), self.between(1, min(3, width)))
        padding = tuple(self.between(0, 1) for _ in range(4))
        groups = channels if self.chance(0.2) else 1
        maps = groups * self.between(1, 2) if groups > 1 else maps
        weight = self.constant(self.weight(maps, channels // groups, *kernel))
        stride = (self.between(1, 2), self.between(1, 2))
        fits = [size + padding[axis] + padding[axis + 2] > 2 * (kernel[axis] - 1) for axis, size in enumerate((height, width))]
        dilation = tuple(self.between(1, 2) if fit else 1 for fit in fits)
        h = self.add(Conv(stride, padding, dilation, groups), x, weight, *self.bias(maps))
        order = self.between(0, 3)
        if order == 1:
            h = self.norm(h)
        residual = stride == (1, 1) and order != 2 and self.chance(0.4)
        if residual and h.type.shape == x.type.shape:
            h = self.add(Add(), h, x)
        h = self.activation(h)
        return self.norm(h) if order == 2 else h

    def image_pool(self, x: Value) -> Value:
        kernel = tuple(self.between(1, min(2, int(str(size)))) for size in x.type.shape[2:])
        padding = tuple(self.between(0, kernel[axis % 2] - 1) for axis in range(4))
        stride, ceil = (self.between(1, 2), self.between(1, 2)), self.chance(0.3)
        if self.chance(0.5):
            return self.add(MaxPool(kernel, stride, padding, (1, 1), ceil), x)
        return self.add(AveragePool(kernel, stride, padding, (1, 1), ceil, self.chance(0.5)), x)

    def image_move(self, x: Value) -> Value:
        move = self.between(0, 3)
        if move == 3:
            return self.add(Extend((0, 0, 1, 0, 0, 0, 1, 1), self.choose(("reflect", "edge", "wrap"))), x)
        if move == 0:
            return self.add(Pad((0, 0, 1, 0, 0, 0, self.between(-1, 1), 2)), x)
        if move == 1:
            return self.cut(x, self.between(2, 3))
        width = int(str(x.type.shape[3]))
        return self.add(Gather(3, tuple(self.between(0, width - 1) for _ in range(width)), (width,)), x)

    def place(self, x: Value) -> Value:
        """The place of the largest of three sums."""
        axis = x.type.rank - 1
        keep = self.chance(0.5)
        return self.add(ArgMax(axis, keep), self.functions.apart(self.graph, self.dense(x, 3), axis))

    def finish(self, x: Value) -> None:
        """Heads: a linear readout, an activation, probabilities, a class; sometimes several."""
        heads: tuple[Callable[[Value], Value], ...] = (
            lambda value: self.dense(value, 3),
            lambda value: self.dense(value, 3),
            lambda value: self.activation(self.dense(value, 2)),
            lambda value: value,
            lambda value: self.add(Softmax(value.type.rank - 1), self.dense(value, 3)),
            lambda value: self.add(LogSoftmax(value.type.rank - 1), self.dense(value, 4)),
            self.place,
        )
        for index in range(1 if self.chance(0.8) else 2):
            self.graph.output(f"y{index}", self.choose(heads)(x))
