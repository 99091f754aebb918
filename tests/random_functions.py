"""Functions of complete levels drawn at random: softmax with and without masks, normalisations, quotients, curves, places."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from snnir.ir import Graph, Op, Value
from snnir.ir.dims import Dim, concrete
from snnir.ir.ops import (
    Abs,
    Add,
    ArgMax,
    Clip,
    Cos,
    Div,
    Exp,
    GeluGate,
    Log,
    LogSoftmax,
    Lookup,
    Masked,
    Mul,
    Pow,
    Reciprocal,
    ReduceMean,
    Reshape,
    Sigmoid,
    Sin,
    Softmax,
    Sqrt,
    Step,
    Sub,
    TakeAlong,
    Tanh,
    TopK,
)

__all__ = ["FunctionDraw"]


class FunctionDraw:
    """Functions of values [N, ...] that keep their shape, written into any graph or body."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.count = 0

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def add(self, graph: Graph, op: Op, *operands: Value) -> Value:
        self.count += 1
        return graph.add1(op, *operands, name=f"f{self.count}.{op.name}", origin=(f"function {self.count}",))

    def constant(self, graph: Graph, array: np.ndarray | float) -> Value:
        return graph.constant("fc", np.asarray(array, np.float32))

    def of(self, graph: Graph, x: Value) -> Value:
        """One function of x, sometimes a function of that."""
        choices: tuple[Callable[[Graph, Value], Value], ...] = (
            self.softmax,
            self.softmax,
            self.normalised,
            self.normalised,
            self.group_normalised,
            self.quotient,
            self.curve,
            self.curve,
            self.gate,
            self.chosen,
            self.winners,
            self.ordered,
        )
        result = choices[int(self.rng.integers(len(choices)))](graph, x)
        if self.chance(0.2):
            result = choices[int(self.rng.integers(len(choices)))](graph, result)
        return self.add(graph, Add(), result, x) if self.chance(0.15) else result

    def known_axes(self, x: Value) -> list[int]:
        """The axes behind the batch whose sizes are known, the last first."""
        return [axis for axis in range(x.type.rank - 1, 0, -1) if not isinstance(x.type.shape[axis], Dim)]

    def softmax(self, graph: Graph, x: Value) -> Value:
        axes = self.known_axes(x)
        axis = axes[0] if self.chance(0.7) else axes[int(self.rng.integers(len(axes)))]
        if self.chance(0.3):
            keep = self.rng.random(concrete(x.type.shape[axis])) < 0.6
            keep[int(self.rng.integers(len(keep)))] = True  # somebody is always there
            mask = keep.reshape(-1, *([1] * (x.type.rank - 1 - axis))).astype(np.float32)
            if self.chance(0.3):  # as models write it that know no infinity
                return self.add(graph, Softmax(axis), self.add(graph, Add(), x, self.constant(graph, -1e9 * (1 - mask))))
            if self.chance(0.5):  # a mask that changes with the input, beside what is always seen
                far = self.add(graph, Sub(), x, self.constant(graph, float(self.rng.normal() * 0.5)))
                seen = self.add(graph, Add(), self.add(graph, Step(), far), self.constant(graph, mask))
                return self.add(graph, Softmax(axis), self.add(graph, Masked(), x, self.add(graph, Clip(0.0, 1.0), seen)))
            masked = self.add(graph, Masked(), x, self.constant(graph, mask))
            return self.add(graph, Softmax(axis), masked)
        return self.add(graph, LogSoftmax(axis) if self.chance(0.25) else Softmax(axis), x)

    def normalised(self, graph: Graph, x: Value, axes: tuple[int, ...] = ()) -> Value:
        """Layer, instance or RMS normalisation, with or without weights."""
        known = self.known_axes(x)
        if not axes:
            axes = tuple(sorted(known if self.chance(0.2) else known[:1]))
        apart = x
        if self.chance(0.75):
            apart = self.add(graph, Sub(), x, self.add(graph, ReduceMean(axes), x))
        power = self.add(graph, Mul(), apart, apart)
        if self.chance(0.3):
            power = self.add(graph, Pow(), apart, self.constant(graph, 2.0))
        variance = self.add(graph, ReduceMean(axes), power)
        root = self.add(graph, Sqrt(), self.add(graph, Add(), variance, self.constant(graph, 1e-2)))
        result = self.add(graph, Div(), apart, root)
        if self.chance(0.5):
            width = concrete(x.type.shape[-1]) if known[0] == x.type.rank - 1 else 1
            result = self.add(graph, Mul(), result, self.constant(graph, self.rng.uniform(0.5, 1.5, width)))
            result = self.add(graph, Add(), result, self.constant(graph, self.rng.normal(size=width) * 0.3))
        return result

    def group_normalised(self, graph: Graph, x: Value) -> Value:
        """Groups of the features of [N, F] or [N, C, H, W]."""
        sizes = x.type.shape[1:]
        if any(isinstance(size, Dim) for size in sizes) or concrete(sizes[0]) % 2:
            return self.normalised(graph, x)
        groups = (x.type.shape[0], 2, concrete(sizes[0]) // 2, *sizes[1:])
        split = self.add(graph, Reshape(groups), x)
        return self.add(graph, Reshape(x.type.shape), self.normalised(graph, split, tuple(range(2, len(groups)))))

    def positive(self, graph: Graph, x: Value) -> Value:
        return self.add(graph, Add(), self.add(graph, Abs(), x), self.constant(graph, float(self.rng.uniform(0.2, 1))))

    def quotient(self, graph: Graph, x: Value) -> Value:
        below = self.positive(graph, x)
        return self.add(graph, Reciprocal(), below) if self.chance(0.3) else self.add(graph, Div(), x, below)

    def curve(self, graph: Graph, x: Value) -> Value:
        draw = int(self.rng.integers(8))
        if draw < 2:
            return self.add(graph, Sin() if draw else Cos(), x)
        if draw < 4:
            return self.add(graph, Sqrt() if draw == 2 else Log(), self.positive(graph, x))
        if draw == 4:
            return self.add(graph, Pow(), self.positive(graph, x), self.constant(graph, float(self.rng.choice([-0.5, 0.5, 1.7]))))
        held = self.add(graph, Clip(-3.0, 3.0), x)
        if draw == 5:
            return self.add(graph, Exp(), held)
        return self.add(graph, Tanh() if draw == 6 else Sigmoid(), self.quotient(graph, held))

    def gate(self, graph: Graph, x: Value) -> Value:
        """SiLU and GELU, in parts."""
        return self.add(graph, Mul(), x, self.add(graph, Sigmoid() if self.chance(0.5) else GeluGate(), x))

    def chosen(self, graph: Graph, x: Value) -> Value:
        """x and a number for the place of its largest element, or a row of a table in its place."""
        axis = self.known_axes(x)[0]
        size, ranked = concrete(x.type.shape[axis]), self.apart(graph, x, axis)
        if axis == x.type.rank - 1 and self.chance(0.6):
            place = self.add(graph, ArgMax(axis, False, self.chance(0.3)), ranked)
            return self.add(graph, Lookup(), self.constant(graph, self.rng.normal(size=(size, size))), place)
        place = self.add(graph, ArgMax(axis), ranked)
        number = self.add(graph, Lookup(), self.constant(graph, self.rng.normal(size=size)), place)
        return self.add(graph, Add(), x, number)

    def apart(self, graph: Graph, x: Value, axis: int) -> Value:
        """x with a number of its own added to each place: equal elements would be ordered as an executor rounds."""
        shape = [-1] + [1] * (x.type.rank - 1 - axis)
        offsets = self.rng.normal(size=concrete(x.type.shape[axis])).reshape(shape)
        return self.add(graph, Add(), x, self.constant(graph, offsets))

    def top(self, graph: Graph, x: Value, axis: int, count: int) -> tuple[Value, Value]:
        """The largest or least elements and their places."""
        self.count += 1
        ranked = self.apart(graph, x, axis)
        values, places = graph.add(
            TopK(axis, count, self.chance(0.7)), ranked, names=(f"f{self.count}.top", f"f{self.count}.places")
        )
        return values, places

    def winners(self, graph: Graph, x: Value) -> Value:
        """The largest elements along the last axis as they are, the others as 0."""
        axis = x.type.rank - 1
        if axis not in self.known_axes(x):
            return self.ordered(graph, x)
        size = concrete(x.type.shape[axis])
        _, places = self.top(graph, x, axis, int(self.rng.integers(1, size + 1)))
        hot = self.add(graph, Lookup(), self.constant(graph, np.eye(size)), places)
        mean = self.add(graph, ReduceMean((axis,), False), hot)
        count = self.constant(graph, concrete(places.type.shape[axis]))
        return self.add(graph, Mul(), x, self.add(graph, Mul(), mean, count))

    def ordered(self, graph: Graph, x: Value) -> Value:
        """All elements of an axis in their order, or each taken from the place that another is ranked to."""
        axis = self.known_axes(x)[0]
        values, places = self.top(graph, x, axis, concrete(x.type.shape[axis]))
        return values if self.chance(0.5) else self.add(graph, TakeAlong(axis), self.add(graph, Add(), x, values), places)
