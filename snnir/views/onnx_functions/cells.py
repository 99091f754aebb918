"""Bodies of the named recurrent layers: a `Scan` over the elements, with masks, clipping and any activation of ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from snnir.ir import TensorType
from snnir.ir.ops import Gru, Lstm, Rnn
from snnir.ir.ops.cells import activation
from snnir.ir.types import DTYPES
from snnir.views.onnx_functions.body import Body, Term, writes
from snnir.views.onnx_functions.elements import element_function
from snnir.views.onnx_functions.recurrence import back_in_place, in_order, spread

__all__: list[str] = []

Types = Mapping[str, TensorType]

Step = Callable[..., tuple[Term, ...]]
"""The next states from an element and the states; the first of them is h."""


def _activated(word: str, x: Term, clip: float = math.inf) -> Term:
    if math.isfinite(clip):
        x = x.do("Max", -clip).do("Min", clip)
    return element_function(activation(word), x)


def _turned(x: Term) -> Term:
    return x.do("Transpose", perm=[1, 0])


def _scanned(body: Body, inner: Body, states: Types, elements: Types, outputs: Types, *given: Term) -> tuple[Term, ...]:
    """The results of a `Scan` along axis 0 whose graph is what was written in `inner`."""
    graph = inner.graph("element", {**states, **elements}, outputs)
    kinds = [DTYPES[type_.dtype] for type_ in outputs.values()]
    return body.applied("Scan", len(outputs), *given, dtypes=kinds, body=graph, num_scan_inputs=len(elements))


def _layer(body: Body, op: Rnn | Gru | Lstm, operands: tuple[Term, ...], step: Callable[[Body], Step]) -> tuple[Term, ...]:
    """Results of a layer for the `step` that is written inside the body of its scan."""
    node, mask = body.node, op.mask(operands)
    inner = body.inside()
    state_types = [value.type for value in node.outputs[1:]]
    given = [
        spread(body, term, value.type, wanted)
        for term, value, wanted in zip(operands[4:], node.operands[4:], state_types, strict=False)
    ]
    sequences = [(operands[0], node.operands[0].type), *([(mask, node.operands[-1].type)] if mask is not None else [])]
    given += [in_order(term, 3, 1, op.reverse) for term, _ in sequences]
    states = [Term(inner, body.fresh("state"), given[0].dtype) for _ in state_types]
    elements = [Term(inner, body.fresh("element"), term.dtype) for term, _ in sequences]
    element_types = [type_.with_shape((type_.shape[0], type_.shape[2])) for _, type_ in sequences]
    following = step(inner)(elements[0], *states)
    y = following[0]
    if mask is not None:
        exists = elements[1] > 0.0
        y = exists.where(y, 0.0)
        following = tuple(exists.where(new, old) for new, old in zip(following, states, strict=True))
    following = tuple(term.do("Identity") for term in (*following, y))
    results = _scanned(
        body,
        inner,
        {term.name: type_ for term, type_ in zip(states, state_types, strict=True)},
        {term.name: type_ for term, type_ in zip(elements, element_types, strict=True)},
        {term.name: type_ for term, type_ in zip(following, [*state_types, state_types[0]], strict=True)},
        *given,
    )
    return (back_in_place(results[-1], 3, 1, op.reverse), *results[:-1])


@writes("rnn")
def _rnn(body: Body, op: Rnn, *operands: Term) -> tuple[Term, ...]:
    """`h_k = f(W x_k + R h_{k-1} + b)`."""
    weight, recurrent, bias = _turned(operands[1]), _turned(operands[2]), operands[3]

    def step(inner: Body) -> Step:
        w, r, b = (inner.adopted(term) for term in (weight, recurrent, bias))
        return lambda x, h: (_activated(op.activation, x.do("MatMul", w) + h.do("MatMul", r) + b, op.clip),)

    return _layer(body, op, operands, step)


@writes("gru")
def _gru(body: Body, op: Gru, *operands: Term) -> tuple[Term, ...]:
    """Gates z, r, h of `snnir.ir.ops.Gru`."""
    hidden = int(body.node.operands[2].type.static_shape("a recurrent matrix")[1])
    weight, (f, g) = _turned(operands[1]), op.activations
    back = [_turned(operands[2].sliced(0, *ends)) for ends in ((0, 2 * hidden), (2 * hidden, 3 * hidden))]
    biases = [operands[3].sliced(0, *ends) for ends in ((0, 3 * hidden), (3 * hidden, 4 * hidden))]

    def step(inner: Body) -> Step:
        w, gates, candidate, b, d = (inner.adopted(term) for term in (weight, *back, *biases))

        def next_state(x: Term, h: Term) -> tuple[Term, ...]:
            fed = x.do("MatMul", w) + b
            z, r, c = inner.applied("Split", 3, fed, axis=1, num_outputs=3)
            z_back, r_back = inner.applied("Split", 2, h.do("MatMul", gates), axis=1, num_outputs=2)
            z, r = _activated(f, z + z_back, op.clip), _activated(f, r + r_back, op.clip)
            back = r * (h.do("MatMul", candidate) + d) if op.reset_after else (r * h).do("MatMul", candidate)
            c = _activated(g, c + back, op.clip)
            return ((-z + 1.0) * c + z * h,)

        return next_state

    return _layer(body, op, operands, step)


@writes("lstm")
def _lstm(body: Body, op: Lstm, *operands: Term) -> tuple[Term, ...]:
    """Gates i, o, f, c of `snnir.ir.ops.Lstm`."""
    weight, recurrent, bias = _turned(operands[1]), _turned(operands[2]), operands[3]
    (f, g, out), clip = op.activations, op.clip
    peek = body.applied("Split", 3, operands[6], axis=0, num_outputs=3) if len(operands) > 6 else ()

    def step(inner: Body) -> Step:
        w, r, b = (inner.adopted(term) for term in (weight, recurrent, bias))
        looks = [inner.adopted(term) for term in peek]

        def look(total: Term, place: int, cell: Term) -> Term:
            return total + looks[place] * cell if looks else total

        def next_states(x: Term, h: Term, cell: Term) -> tuple[Term, ...]:
            i, o, forget, c = inner.applied("Split", 4, x.do("MatMul", w) + h.do("MatMul", r) + b, axis=1, num_outputs=4)
            i = _activated(f, look(i, 0, cell), clip)
            forget = -i + 1.0 if op.input_forget else _activated(f, look(forget, 2, cell), clip)
            new = forget * cell + i * _activated(g, c, clip)
            return _activated(f, look(o, 1, new), clip) * _activated(out, new), new

        return next_states

    return _layer(body, op, operands, step)
