"""A scan body under construction: what the cells share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from snnir.ir import Graph, Node, TensorType, Value
from snnir.ir.ops import Add, Clip, Linear, Mul, Recurrent
from snnir.ir.ops.cells import activation as activation_of
from snnir.ir.types import DTYPES

__all__ = ["Body"]


class Body:
    """The body of one layer: its states, its element, and the ops that cells are made of."""

    def __init__(self, node: Node, states: Sequence[str]) -> None:
        op = node.expect(Recurrent)
        self.clip, self.masked = float(getattr(op, "clip", math.inf)), op.mask(node.operands) is not None
        x, recurrent = node.operands[0].type, node.operands[2].array
        self.origin, self.dtype, self.hidden = node.origin, node.outputs[0].type.dtype, recurrent.shape[1]
        self.graph = Graph(f"{node.outputs[0].name}.body")
        state = TensorType((x.shape[0], self.hidden), self.dtype)
        self.states = [self.graph.input(name, state) for name in states]
        self.element = self.graph.input("element", TensorType((x.shape[0], x.shape[2]), self.dtype))
        exists = TensorType((x.shape[0], 1), self.dtype)
        self.masks = [self.graph.input(name, exists) for name in ("exists", "padding")] if self.masked else []

    def constant(self, name: str, array: np.ndarray) -> Value:
        """A constant of the body."""
        return self.graph.constant(name, np.ascontiguousarray(array))

    def feed(self, name: str, weight: np.ndarray, bias: np.ndarray) -> Value:
        """`W x + b` of the element."""
        operands = (self.element, self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias))
        return self.graph.add1(Linear(), *operands, name=f"{name}.feed", origin=self.origin)

    def back(self, name: str, state: Value, matrix: np.ndarray, bias: np.ndarray | None = None) -> Value:
        """`R s` (`+ d`); a diagonal R makes it the element-wise `u * s` of an IndRNN (arXiv:1803.04831)."""
        if bias is None and np.array_equal(matrix, np.diag(np.diagonal(matrix))):
            return self.multiply(f"{name}.back", state, self.constant(f"{name}.recurrent", np.diagonal(matrix)))
        constants = [self.constant(f"{name}.recurrent", matrix)]
        if bias is not None and bias.any():
            constants.append(self.constant(f"{name}.recurrent_bias", bias))
        return self.graph.add1(Linear(), state, *constants, name=f"{name}.back", origin=self.origin)

    def add(self, name: str, *values: Value) -> Value:
        """The sum of `values`."""
        total = values[0]
        for value in values[1:]:
            total = self.graph.add1(Add(), total, value, name=name, origin=self.origin)
        return total

    def multiply(self, name: str, a: Value, b: Value) -> Value:
        """`a * b`."""
        return self.graph.add1(Mul(), a, b, name=name, origin=self.origin)

    def complement(self, name: str, value: Value) -> Value:
        """`1 - value`."""
        one, minus = (
            self.constant(word, np.array(number, DTYPES[self.dtype])) for word, number in (("one", 1), ("minus_one", -1))
        )
        return self.add(name, self.multiply(f"{name}.minus", value, minus), one)

    def activate(self, name: str, activation: str, value: Value, clipped: bool = True) -> Value:
        """An activation by its word (`snnir.ir.ops.cells.activation`), of what the layer clips."""
        if clipped and math.isfinite(self.clip):
            value = self.graph.add1(Clip(-self.clip, self.clip), value, name=f"{name}.clipped", origin=self.origin)
        return self.graph.add1(activation_of(activation), value, name=name, origin=self.origin)

    def finish(self, *next_states: Value) -> Graph:
        """Give out the next states, and the first of them per element.

        Where elements may be missing, states are kept by two products with masks, of which one is 1 and the other 0.
        """
        given = next_states[0]
        if self.masks:
            exists, padding = self.masks
            kept = []
            for state, value in zip(self.states, next_states, strict=True):
                new = self.multiply(f"{state.name}.new", value, exists)
                old = self.multiply(f"{state.name}.old", state, padding)
                kept.append(self.add(f"{state.name}.kept", new, old))
            given, next_states = self.multiply("y.masked", given, exists), tuple(kept)
        for state, value in zip(self.states, next_states, strict=True):
            self.graph.output(f"next_{state.name}", value)
        self.graph.output("y", given)
        return self.graph
