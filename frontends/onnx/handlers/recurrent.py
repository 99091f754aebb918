"""Recurrent layers."""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Value
from snnir.ir.ops import Concat, Reshape, Rnn, Slice, Transpose

__all__: list[str] = []

_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


@handler("RNN", "rnn")
def rnn(call: Call) -> list[Result]:
    """Activations Relu and Tanh; forward, reverse and bidirectional; both layouts; results Y and Y_h."""
    direction = call.word("direction", "forward")
    if direction not in _DIRECTIONS:
        raise RefusalError(f"direction {direction!r} is not one of {', '.join(_DIRECTIONS)}")
    reverses = _DIRECTIONS[direction]
    activations = call.attribute("activations", ("Tanh",) * len(reverses))
    assert isinstance(activations, tuple)
    wrong = [str(name) for name in activations if str(name).lower() not in Rnn.ACTIVATIONS]
    if wrong:
        raise RefusalError(f"activation {', '.join(wrong)}; supported are Relu and Tanh")
    if call.attribute("clip") is not None:
        raise RefusalError("it clips its sums, which is not supported")
    batch_first = bool(call.integer("layout", 0))
    x = call.value(0) if batch_first else call.emit(Transpose((1, 0, 2)), call.value(0), label="batch_first")
    _full_length(call, x)
    sequences, lasts = [], []
    for index, reverse in enumerate(reverses):
        label = "reverse" if reverse else "forward"
        operands = _parameters(call, index, batch_first, label)
        op = Rnn(str(activations[index]).lower(), reverse)
        y, last = call.emit_all(op, x, *operands, names=(call.name(0, label), call.name(1, f"{label}.last")))
        sequences.append(y)
        lasts.append(last)
    return [_sequence(call, sequences, batch_first), _last(call, lasts, batch_first)]


def _full_length(call: Call, x: Value) -> None:
    if call.has(4):
        lengths = call.known(4, "sequence_lens")
        if any(length != x.type.shape[1] for length in lengths.reshape(-1).tolist()):
            raise RefusalError(f"sequence_lens {lengths.tolist()} differ from the full length {x.type.shape[1]}")


def _parameters(call: Call, index: int, batch_first: bool, label: str) -> tuple[Value, Value, Value, Value]:
    weight, recurrent = call.known(1, "W")[index], call.known(2, "R")[index]
    hidden = len(weight)
    both = call.known(3, "B")[index] if call.has(3) else np.zeros(2 * hidden, weight.dtype)
    constants = (weight, recurrent, both[:hidden] + both[hidden:])
    values = [call.constant(f"{call.name()}.{label}.{what}", array) for what, array in zip("WRB", constants, strict=True)]
    if not call.has(5):
        initial = call.constant(f"{call.name()}.{label}.initial", np.zeros((1, hidden), weight.dtype))
    elif isinstance(call.operands[5], np.ndarray):
        states = call.operands[5][:, index] if batch_first else call.operands[5][index]
        if (states == states[:1]).all():
            states = states[:1]
        initial = call.constant(f"{call.name()}.{label}.initial", states)
    else:
        state, axis = call.value(5), 1 if batch_first else 0
        cut = call.emit(Slice(axis, index, index + 1), state, label=f"{label}.state")
        shape = tuple(size for place, size in enumerate(cut.type.shape) if place != axis)
        initial = call.emit(Reshape(shape), cut, label=f"{label}.initial")
    return values[0], values[1], values[2], initial


def _sequence(call: Call, sequences: list[Value], batch_first: bool) -> Value:
    """Y: [T, D, N, H], or [N, T, D, H] with layout 1, from [N, T, H] of each direction."""
    batch, length, hidden = sequences[0].type.shape
    rows = [call.emit(Reshape((batch, length, 1, hidden)), y, label=f"Y{index}") for index, y in enumerate(sequences)]
    both = rows[0] if len(rows) == 1 else call.emit(Concat(2), *rows, label="Y.both")
    return both if batch_first else call.emit(Transpose((1, 2, 0, 3)), both)


def _last(call: Call, lasts: list[Value], batch_first: bool) -> Value:
    """Y_h: [D, N, H], or [N, D, H] with layout 1, from [N, H] of each direction."""
    batch, hidden = lasts[0].type.shape
    rows = [call.emit(Reshape((batch, 1, hidden)), last, label=f"Y_h{index}") for index, last in enumerate(lasts)]
    both = rows[0] if len(rows) == 1 else call.emit(Concat(1), *rows, label="Y_h.both")
    return both if batch_first else call.emit(Transpose((1, 0, 2)), both, output=1)
