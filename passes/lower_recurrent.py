"""Lower named recurrent layers to `scan` nodes whose bodies hold ordinary ops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from snnir.ir import FLOAT, Graph, Node, Op, Value
from snnir.ir.ops import Gru, Lstm, Recurrent, Rnn, Scan
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.passes.cells import gru_body, lstm_body, rnn_body
from snnir.passes.infra import Context, Pass, Result, register

__all__ = ["LowerRecurrent"]

_BODIES: dict[type[Op], Callable[[Node], Graph]] = {Rnn: rnn_body, Gru: gru_body, Lstm: lstm_body}


@register
@dataclass(frozen=True)
class LowerRecurrent(Pass):
    """Write recurrent layers as scans of ordinary ops.

    1. `rnn`, `gru` and `lstm` become a scan whose body computes one element (`passes/cells/`, one file a cell).
    2. A diagonal recurrence matrix becomes the element-wise `u * s` of an IndRNN (arXiv:1803.04831).
    3. A layer whose parameters are not constant stays as it is, and is refused later by name.
    """

    name = "lower-recurrent"
    takes = gives = FLOAT

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass."""
        new, changed = rebuild(graph, _lower)
        return Result(new, changed > 0)


def _lower(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
    op = node.op
    if not isinstance(op, Recurrent):
        return None
    initial = operands[4 : 4 + op.STATES]
    if not all(value.is_constant for value in (*operands[1:4], *operands[4 + op.STATES :])):
        return None
    names = [*(value.name for value in node.outputs[1:]), node.outputs[0].name]
    scan = Scan(op.STATES, 1, 1, bool(getattr(op, "reverse", False)))
    *last, y = rewriter.emit_all(scan, *initial, operands[0], names=names, body=_BODIES[type(op)](node))
    return (y, *last)
