"""The integer body of one function: what it takes, and its nodes in fixed-point arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from snnir.errors import UnsupportedError
from snnir.ir import QUANTIZED, Graph, Node, Quantization, TensorType, Value
from snnir.ir.ops import Quantize
from snnir.passes.functions.fixed import Arithmetic, Fixed
from snnir.passes.functions.integer_forms import integer_form_of
from snnir.passes.host_part import is_sum

__all__ = ["FunctionBody"]


class FunctionBody:
    """Writes the body of the function that the quantizers `ends` round.

    `taken` lists the values of the calibrated graph that it takes: levels, and sums that it reads whole. For each, `take`
    gives the scale of the integers; `write` then gives the body and the levels of its results.
    """

    def __init__(self, interior: Mapping[Node, object], ends: Sequence[Node], limits: Mapping[str, int]) -> None:
        self.ends = ends
        self.graph = Graph(ends[0].operands[0].name, QUANTIZED)
        self.graph.limits.update(limits)  # upper ends of open sizes: sums over them count on those
        self.arithmetic = Arithmetic(self.graph)
        self.fixed: dict[Value, Fixed] = {}
        first = ends[0].operands[0].node
        self.nodes = [node for node in interior if interior[node] is interior[first]]
        inside = set(self.nodes)
        operands = (value for node in self.nodes for value in node.operands if not value.is_constant)
        self.taken = list(dict.fromkeys(value for value in operands if value.producer not in inside or is_sum(value)))

    def take(self, value: Value, type_: TensorType, unit: np.ndarray, lo: int, hi: int) -> None:
        """One value that the function takes: integers `lo..hi` of the shape of `type_`, 1 stands for `unit`."""
        name, count = value.name, 0
        while name in self.graph.values:  # a name that an earlier operand's arithmetic took
            count += 1
            name = f"{value.name}.{count}"
        inner = self.graph.input(name, TensorType(type_.shape, "i64"))
        if unit.size == 1:
            self.fixed[value] = Fixed(inner, float(unit.reshape(-1)[0]), lo, hi)
            return
        self.arithmetic.label = value.name
        self.fixed[value] = self.arithmetic.product(Fixed(inner, 1.0, lo, hi), self.arithmetic.constant(unit))

    def write(self) -> tuple[tuple[Quantization, ...], Graph]:
        """The levels of the results, and the body. Raises `UnsupportedError` naming a node without an integer form."""
        arithmetic = self.arithmetic
        for node in self.nodes:
            form = integer_form_of(node)
            if form is None:
                raise UnsupportedError(f"{node.describe()}: {node.op.name} has no integer form, and stands inside the network")
            arithmetic.label, arithmetic.origin = node.output.name, node.origin
            self.fixed[node.output] = form.rule(arithmetic, node, [self.operand(value) for value in node.operands])
        quantizations = []
        for end in self.ends:
            op = end.expect(Quantize)
            levels = op.quantization
            arithmetic.label, arithmetic.origin = end.output.name, end.origin
            value = self.fixed[end.operands[0]]
            if value.keep is not None:
                raise UnsupportedError(f"{end.describe()}: minus infinity is no level; only a softmax takes masked values")
            # beyond the levels by one, so that rounding at the ends stays what it is
            value = arithmetic.saturated(value, (levels.lo - 1) * levels.scale, (levels.hi + 1) * levels.scale)
            self.graph.output(end.output.name, arithmetic.rescaled(value, levels.scale).value)
            quantizations.append(levels)
        return tuple(quantizations), self.graph

    def operand(self, value: Value) -> Fixed:
        """A value of the function as fixed-point numbers."""
        if value not in self.fixed and value.is_constant:
            self.fixed[value] = self.arithmetic.constant(value.array)
        return self.fixed[value]

    def origin(self, end: Node) -> tuple[str, ...]:
        """The nodes of the user's model that the function computes."""
        words = [word for node in self.nodes for word in node.origin]
        return tuple(dict.fromkeys([*words, *end.origin]))
