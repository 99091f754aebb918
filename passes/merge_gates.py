"""Merge gates: an activation that is a product of a value with a function of it becomes one function of that value."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from snnir.ir import FLOAT, Graph, Node, Value
from snnir.ir.ops import Abs, Add, Elementwise, Gated, Mul, SignedSquare, Softplus, Tanh
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.passes.affine import is_constant
from snnir.passes.infra import Context, Pass, Result, register
from snnir.passes.remove_dead_code import remove_dead_code

__all__ = ["MergeGates"]


@register
@dataclass(frozen=True)
class MergeGates(Pass):
    """Turn `x f(a x + b)` (SiLU, hard swish, GELU, mish) into one op, which a table of the complete sum computes.

    As a product it takes neurons for x, neurons for f and an event of their product for each change. As a function of the
    complete sum (`functions/`) it takes one event, and the integers are those of the table.

    1. f is one increasing function, or `tanh(softplus(x))`; a and b are numbers.
    2. `x |x|` increases: it becomes one function, which is one population of staircases.
    3. Products of values that are not functions of one another (gates of cells, squeeze and excitation) stay, and so does `x x`:
       as a sum of two staircases of x (`max(x, 0)^2` and that of -x) it sent more spikes (docs/neurons.md).
    """

    name = "merge-gates"
    takes = gives = FLOAT

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass."""
        new, changed = rebuild(graph, _rule)
        if not changed:
            return Result(graph, False)
        return Result(remove_dead_code(new), True, (f"{changed} activations become functions of one sum",))


def _rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
    if not isinstance(node.op, Mul) or any(value.is_constant for value in operands):
        return None
    for place, (x, gate) in enumerate((operands, operands[::-1])):
        op = _gated(x, gate)
        if op is not None:
            made = node.operands[1 - place].producer
            origin = (*node.origin, *(word for word in (made.origin if made is not None else ()) if word not in node.origin))
            return (rewriter.emit(op, x, name=node.output.name, origin=origin),)
        if gate.producer is not None and isinstance(gate.producer.op, Abs) and gate.producer.operands[0] is x:
            return (rewriter.emit(SignedSquare(), x, name=node.output.name),)
    return None


def _gated(x: Value, gate: Value) -> Gated | None:
    """The op of `x` times `gate`, where the gate is a function of x."""
    made = gate.producer
    if made is None or not isinstance(made.op, Elementwise):
        return None
    (inner,) = made.operands
    if isinstance(made.op, Tanh) and inner.producer is not None and isinstance(inner.producer.op, Softplus):
        return Gated("mish") if inner.producer.operands[0] is x else None
    attributes = tuple(getattr(made.op, item.name) for item in fields(made.op))
    if not all(isinstance(value, int | float) for value in attributes):
        return None
    affine = _affine(x, inner)
    return None if affine is None else Gated(made.op.name, tuple(map(float, attributes)), *affine)


def _affine(x: Value, inner: Value) -> tuple[float, float] | None:
    """(a, b) where `inner` is `a x + b` with single numbers."""
    scale, shift = 1.0, 0.0
    while inner is not x:
        node = inner.producer
        if node is None or not isinstance(node.op, Add | Mul) or not is_constant(node.operands[1]):
            return None
        numbers = np.unique(node.operands[1].array)
        if numbers.size != 1:
            return None
        if isinstance(node.op, Add):
            shift += scale * float(numbers[0])
        else:
            scale *= float(numbers[0])
        inner = node.operands[0]
    return scale, shift
