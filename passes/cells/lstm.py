"""The long short-term memory (ONNX operator specification, LSTM), with peepholes and coupled input and forget gates.

`i = f(W_i x + R_i s + P_i * C + b_i)`, the forget gate alike or `1 - i`, `c = g(W_c x + R_c s + b_c)`, `C' = f * C + i * c`,
`o = f(W_o x + R_o s + P_o * C' + b_o)`, `h = o * h(C')`. Gates stand in the order i, o, f, c; peepholes in the order i, o, f.
"""

from __future__ import annotations

import numpy as np

from snnir.ir import Graph, Node, Value
from snnir.ir.ops import Lstm
from snnir.passes.cells.body import Body

__all__ = ["lstm_body"]


def lstm_body(node: Node) -> Graph:
    """The body of an `lstm` layer, with the states h and cell."""
    op = node.expect(Lstm)
    body = Body(node, ("h", "cell"))
    state, cell = body.states
    weights, recurrents, biases = (np.split(value.array, 4) for value in node.operands[1:4])
    peepholes = dict(zip("iof", np.split(node.operands[6].array, 3), strict=True)) if len(node.operands) > 6 else {}
    peepholes = {name: peek for name, peek in peepholes.items() if peek.any()}

    def total(name: str, index: int, peek: Value | None) -> Value:
        parts = [body.feed(name, weights[index], biases[index]), body.back(name, state, recurrents[index])]
        if peek is not None and name in peepholes:
            parts.append(body.multiply(f"{name}.peek", peek, body.constant(f"{name}.peephole", peepholes[name])))
        return body.add(f"{name}.sum", *parts)

    first, middle, last = op.activations
    enter = body.activate("i", first, total("i", 0, cell))
    forget = body.complement("f", enter) if op.input_forget else body.activate("f", first, total("f", 2, cell))
    candidate = body.activate("c", middle, total("c", 3, None))
    new = body.add("cell.next", body.multiply("kept", forget, cell), body.multiply("entered", enter, candidate))
    leave = body.activate("o", first, total("o", 1, new))
    return body.finish(body.multiply("y", leave, body.activate("cell.out", last, new, clipped=False)), new)
