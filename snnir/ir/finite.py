"""Where NaN and infinities may come in.

Levels, sums and whatever becomes one are finite. An input may hold NaN and infinities where they can only reach ops that
the host computes and whose meaning covers them (`Op.takes_any`), and data movement. Truth and integers, such as the
answers to `is_nan`, are finite again.
"""

from __future__ import annotations

from snnir.ir.graph import Graph, Value
from snnir.ir.op import Trait
from snnir.ir.ops import Add, Masked, Shown, Softmax

__all__ = ["needs_finite"]


def needs_finite(graph: Graph, value: Value, below: bool = False) -> str:
    """Why the input must be finite: what its elements reach, in a user's words; empty where it may hold any number.

    `below`: all that is not finite in it is minus infinity, which hides from a softmax what it is added to.
    """
    if value.name in graph.finite:
        return "the import answered a question for such numbers with no"
    seen, rest = {value}, [value]
    while rest:
        for node in rest.pop().users:
            if below and isinstance(node.op, Softmax | Shown):
                continue
            if below and (isinstance(node.op, Add) or (isinstance(node.op, Masked) and node.operands[1] not in seen)):
                fresh = set(node.outputs) - seen
                seen |= fresh
                rest += fresh
                continue
            if node.op.has(Trait.ROUNDS):
                return "its elements become levels, which are finite"
            if not node.op.takes_any():
                return f"{node.describe()} (op {node.op.name}) takes none"
            reached = {result for result in node.outputs if not result.type.is_exact} - seen
            seen |= reached
            rest += reached
    return ""
