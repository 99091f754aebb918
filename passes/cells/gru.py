"""The gated recurrent unit (ONNX operator specification, GRU), with the reset before or after the recurrent product.

`z = f(W_z x + R_z s + b_z)`, `r = f(W_r x + R_r s + b_r)`, `c = g(W_h x + R_h (r * s) + b_h)` or, reset after,
`c = g(W_h x + r * (R_h s + d_h) + b_h)`, and `h = (1 - z) c + z s`.
"""

from __future__ import annotations

import numpy as np

from snnir.ir import Graph, Node
from snnir.ir.ops import Gru
from snnir.passes.cells.body import Body

__all__ = ["gru_body"]


def gru_body(node: Node) -> Graph:
    """The body of a `gru` layer, with the state h."""
    op = node.expect(Gru)
    body = Body(node, ("h",))
    (state,) = body.states
    weights, recurrents = (np.split(value.array, 3) for value in node.operands[1:3])
    biases = np.split(node.operands[3].array, 4)
    gates = []
    for index, name in enumerate(("z", "r")):
        total = body.add(f"{name}.sum", body.feed(name, weights[index], biases[index]), body.back(name, state, recurrents[index]))
        gates.append(body.activate(name, op.activations[0], total))
    update, reset = gates
    feed = body.feed("c", weights[2], biases[2])
    if op.reset_after:
        back = body.multiply("c.reset", reset, body.back("c", state, recurrents[2], biases[3]))
    else:
        back = body.back("c", body.multiply("c.reset", reset, state), recurrents[2])
    candidate = body.activate("c", op.activations[1], body.add("c.sum", feed, back))
    fresh = body.multiply("fresh", body.complement("z.rest", update), candidate)
    return body.finish(body.add("y", fresh, body.multiply("kept", update, state)))
