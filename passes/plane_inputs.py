"""Plane inputs: few-spike neurons that tell the levels of inputs bit by bit, so that no weight is multiplied by a level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnir.ir import QUANTIZED, Graph, Node, Value
from snnir.ir.ops import Mul, Quantize, Requantize
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.passes.infra import Context, Pass, Result, register

__all__ = ["PlaneInputs"]


@register
@dataclass(frozen=True)
class PlaneInputs(Pass):
    """Give every quantized input a population that takes its levels as they are: of few-spike neurons it emits their bits.

    1. The levels of `quantize` go, times 1, into a `requantize` with a threshold of 1 and the same levels.
    2. Constants that are quantized stay: what they charge is the same for all samples.

    What reads an input then adds weights once for each bit that is 1, shifted, where it multiplied them by levels; the levels
    are the same, and come after as many steps as they have bits. The only multiplications left are those by 1.
    """

    name = "plane-inputs"
    takes = gives = QUANTIZED

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass."""
        new, changed = rebuild(graph, _rule)
        return Result(new, changed > 0, (f"the bits of {changed} inputs are told one by one",))


def _rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
    op = node.op
    if not isinstance(op, Quantize) or operands[0].is_constant:
        return None
    (levels,) = rewriter.copy(node, operands)
    one = rewriter.constant(f"{node.output.name}.one", np.ones((1,) * min(levels.type.rank, 1), np.int8))
    theta = rewriter.constant(f"{node.output.name}.theta", np.array(1, np.int32))
    charge = rewriter.emit(Mul(), levels, one, name=f"{node.output.name}.charge")
    return (rewriter.emit(Requantize(op.quantization), charge, theta, name=f"{node.output.name}.bits"),)
