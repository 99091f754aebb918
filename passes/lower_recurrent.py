"""Lower named recurrent layers to `scan` nodes whose bodies hold ordinary ops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from snnir.ir import FLOAT, Graph, Node, Op, Value
from snnir.ir.ops import Expand, Gru, Lstm, Recurrent, Reshape, Rnn, Scan, SequenceMask, Sub
from snnir.ir.rewrite import Rewriter, copy_constants, rebuild
from snnir.passes.cells import gru_body, lstm_body, rnn_body
from snnir.passes.infra import Context, Pass, Result, register
from snnir.passes.properties import LAYERS_LOWERED

__all__ = ["LowerRecurrent"]

_BODIES: dict[type[Op], Callable[[Node], Graph]] = {Rnn: rnn_body, Gru: gru_body, Lstm: lstm_body}


@register
@dataclass(frozen=True)
class LowerRecurrent(Pass):
    """Write recurrent layers as scans of ordinary ops.

    1. `rnn`, `gru` and `lstm` become a scan whose body computes one element (`passes/cells/`, one file a cell).
    2. A diagonal recurrence matrix becomes the element-wise `u * s` of an IndRNN (arXiv:1803.04831).
    3. A scan over a single element is its body.
    4. A layer whose parameters are not constant stays as it is, and is refused later by name.
    """

    name = "lower-recurrent"
    takes = gives = FLOAT
    ensures = (LAYERS_LOWERED,)

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass."""
        hits: Counter[str] = Counter()
        new, changed = rebuild(graph, _lower, hits=hits)
        return Result(new, changed > 0, rewrites=hits)


def _lower(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
    op = node.op
    if isinstance(op, Scan) and node.body is not None and _single(op, node.operands):
        return _inline(rewriter, op, rebuild(node.body, _lower)[0], operands)
    if not isinstance(op, Recurrent):
        return None
    initial = operands[4 : 4 + op.STATES]
    mask = op.mask(operands)
    if not all(value.is_constant for value in (*operands[1:4], *operands[4 + op.STATES :]) if value is not mask):
        return None
    names = [*(value.name for value in node.outputs[1:]), node.outputs[0].name]
    sequences = [operands[0]] if mask is None else [operands[0], mask, _padding(rewriter, mask)]
    scan = Scan(op.STATES, len(sequences), 1, bool(getattr(op, "reverse", False)))
    body = _BODIES[type(op)](node)
    if _single(scan, (*initial, node.operands[0])):
        *last, y = _inline(rewriter, scan, body, (*initial, *sequences))
    else:
        *last, y = rewriter.emit_all(scan, *initial, *sequences, names=names, body=body)
    return (y, *last)


def _padding(rewriter: Rewriter, mask: Value) -> Value:
    """`1 - mask`, by the host where it makes the mask."""
    made = mask.producer
    if mask.is_constant:
        return rewriter.constant(f"{mask.name}.padding", 1 - mask.array)
    if made is not None and isinstance(made.op, SequenceMask):
        return rewriter.emit(SequenceMask(made.op.length, not made.op.padding), *made.operands, name=f"{mask.name}.padding")
    one = rewriter.constant("one", np.ones((), np.float32))
    return rewriter.emit(Sub(), one, mask, name=f"{mask.name}.padding")


def _single(op: Scan, operands: Sequence[Value]) -> bool:
    """Whether the sequence has one element."""
    return operands[op.states].type.shape[op.axis] == 1


def _inline(rewriter: Rewriter, op: Scan, body: Graph, operands: Sequence[Value]) -> tuple[Value, ...]:
    """The body in place of the scan, its element and what it gives without and with an axis of size 1."""
    values: dict[Value, Value] = {}
    for index, (outer, inner) in enumerate(zip(operands, body.inputs, strict=True)):
        value = outer
        if op.states <= index < op.states + op.elements:
            value = rewriter.emit(Reshape(inner.type.shape), outer, name=f"{outer.name}.element")
        elif index < op.states and outer.type.shape != inner.type.shape:
            value = rewriter.emit(Expand(inner.type.shape), outer, name=f"{outer.name}.spread")
        values[inner] = value
    copy_constants(body, rewriter.graph, values)
    for node in body.nodes:
        values.update(zip(node.outputs, rewriter.copy(node, [values[value] for value in node.operands]), strict=True))
    results = [values[value] for value in body.outputs.values()]
    for index, value in enumerate(results[op.states :], op.states):
        shape = (*value.type.shape[: op.axis], 1, *value.type.shape[op.axis :])
        results[index] = rewriter.emit(Reshape(shape), value, name=f"{value.name}.sequence")
    return tuple(results)
