"""Lower named recurrent layers to `scan` nodes whose bodies hold ordinary ops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnir.ir import FLOAT, Graph, Node, Op, TensorType, Value
from snnir.ir.ops import Add, Linear, Mul, Relu, Rnn, Scan, Tanh
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.passes.infra import Context, Pass, Result, register

__all__ = ["LowerRecurrent"]

_ACTIVATIONS: dict[str, type[Op]] = {"relu": Relu, "tanh": Tanh}


@register
@dataclass(frozen=True)
class LowerRecurrent(Pass):
    """Write recurrent layers as scans of ordinary ops.

    1. `rnn` becomes a scan with the body `h = f(W x_k + b + R s)` (ONNX operator specification, RNN).
    2. A diagonal R makes it an IndRNN (arXiv:1803.04831): `R s` is then the element-wise `u * s`.
    3. A layer whose W, R or b is not constant stays as it is, and is refused later by name.
    """

    name = "lower-recurrent"
    takes = gives = FLOAT

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass."""
        new, changed = rebuild(graph, _lower)
        return Result(new, changed > 0)


def _lower(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
    if not isinstance(node.op, Rnn) or not all(value.is_constant for value in operands[1:4]):
        return None
    x, weight, recurrent, bias, initial = operands
    hidden = weight.array.shape[0]
    dtype = node.outputs[0].type.dtype
    body = Graph(f"{node.outputs[0].name}.body")
    state = body.input("state", TensorType((x.type.shape[0], hidden), dtype))
    element = body.input("element", TensorType((x.type.shape[0], x.type.shape[2]), dtype))
    feed = body.add1(
        Linear(),
        element,
        body.constant("weight", weight.array),
        body.constant("bias", bias.array),
        name="feed",
        origin=node.origin,
    )
    matrix = recurrent.array
    if np.array_equal(matrix, np.diag(np.diagonal(matrix))):
        back = body.add1(Mul(), state, body.constant("recurrent", np.diagonal(matrix)), name="back", origin=node.origin)
    else:
        back = body.add1(Linear(), state, body.constant("recurrent", matrix), name="back", origin=node.origin)
    total = body.add1(Add(), feed, back, name="sum", origin=node.origin)
    y = body.add1(_ACTIVATIONS[node.op.activation](), total, name="y", origin=node.origin)
    body.output("next", y)
    body.output("y", y)
    names = (node.outputs[1].name, node.outputs[0].name)
    last, sequence = rewriter.emit_all(Scan(1, 1, 1, node.op.reverse), initial, x, names=names, body=body)
    return sequence, last
