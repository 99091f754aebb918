"""A quantizer of the model as real arithmetic, for the host behind the network."""

from __future__ import annotations

import numpy as np

from snnir.ir import Graph, Node, Op, Value
from snnir.ir.ops import Clip, Div, FakeQuantize, Mul, Round
from snnir.ir.types import DTYPES

__all__ = ["rounding_in_real_numbers"]


def rounding_in_real_numbers(graph: Graph, node: Node, op: FakeQuantize, x: Value) -> list[Value]:
    """`scale clip(round(x / scale), lo, hi)`, appended to `graph`: the value of every step, the result last.

    Steps carry the name and origin of `node`. A rounding mode that the host does not know is taken for half to even; the caller
    refuses it.
    """
    name, levels = node.output.name, op.quantization
    scale = graph.constant(f"{name}.scale", np.array(levels.scale, DTYPES[x.type.dtype]))
    steps: tuple[tuple[Op, tuple[Value, ...], str], ...] = (
        (Div(), (scale,), f"{name}.ratio"),
        (Round(op.rounding if op.rounding in Round.MODES else "even"), (), f"{name}.rounded"),
        (Clip(levels.lo, levels.hi), (), f"{name}.clipped"),
        (Mul(), (scale,), name),
    )
    found = []
    for step, others, label in steps:
        x = graph.add1(step, x, *others, name=label, origin=node.origin)
        found.append(x)
    return found
