"""The plain recurrent cell (ONNX operator specification, RNN): `h = f(W x + b + R s)`."""

from __future__ import annotations

from snnir.ir import Graph, Node
from snnir.ir.ops import Rnn
from snnir.passes.cells.body import Body

__all__ = ["rnn_body"]


def rnn_body(node: Node) -> Graph:
    """The body of an `rnn` layer, with the state h."""
    op = node.expect(Rnn)
    weight, recurrent, bias = node.operands[1:4]
    body = Body(node, ("h",))
    feed = body.feed("gate", weight.array, bias.array)
    total = body.add("sum", feed, body.back("gate", body.states[0], recurrent.array))
    return body.finish(body.activate("y", op.activation, total))
