"""Recurrent layers: RNN, GRU and LSTM in any direction and layout."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Op, Value
from snnir.ir.ops import Concat, Gru, Lstm, Reshape, Rnn, Slice, Transpose
from snnir.ir.ops.cells import ACTIVATIONS

__all__: list[str] = []

_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
_NAMES = {"relu": "relu", "tanh": "tanh", "sigmoid": "sigmoid", "hardsigmoid": "hard_sigmoid", "leakyrelu": "leaky_relu"}

_MakeOp = Callable[[tuple[str, ...], bool], Op]
_MakeBias = Callable[[np.ndarray, int], np.ndarray]
"""From B of one direction (W's biases, then R's) and the hidden size to the bias of the IR's op."""


@handler("RNN", "rnn")
def rnn(call: Call) -> list[Result]:
    """Any increasing activation that snnir knows; results Y and Y_h."""
    return _layer(call, ("Tanh",), lambda names, reverse: Rnn(names[0], reverse), _added)


@handler("GRU", "gru")
def gru(call: Call) -> list[Result]:
    """Both values of linear_before_reset (ONNX's default is 0, PyTorch computes 1)."""
    after = bool(call.integer("linear_before_reset", 0))

    def bias(both: np.ndarray, hidden: int) -> np.ndarray:
        """b_z, b_r, b_h, d_h; the recurrent bias of the candidate stays apart where the reset comes after it."""
        inputs, recurrent = both[: 3 * hidden], both[3 * hidden :]
        apart = recurrent[2 * hidden :] if after else np.zeros(hidden, both.dtype)
        candidate = inputs[2 * hidden :] if after else inputs[2 * hidden :] + recurrent[2 * hidden :]
        return np.concatenate([inputs[: 2 * hidden] + recurrent[: 2 * hidden], candidate, apart])

    return _layer(call, ("Sigmoid", "Tanh"), lambda names, reverse: Gru(names, after, reverse), bias)


@handler("LSTM", "lstm")
def lstm(call: Call) -> list[Result]:
    """Peepholes and input_forget included; results Y, Y_h and Y_c."""
    coupled = bool(call.integer("input_forget", 0))
    return _layer(call, ("Sigmoid", "Tanh", "Tanh"), lambda names, reverse: Lstm(names, coupled, reverse), _added)


def _added(both: np.ndarray, hidden: int) -> np.ndarray:
    half = len(both) // 2
    return np.asarray(both[:half] + both[half:])


def _layer(call: Call, defaults: tuple[str, ...], make: _MakeOp, make_bias: _MakeBias) -> list[Result]:
    """One op of the IR per direction, with transposes and reshapes around them for the layout."""
    direction = call.word("direction", "forward")
    if direction not in _DIRECTIONS:
        raise RefusalError(f"direction {direction!r} is not one of {', '.join(_DIRECTIONS)}")
    reverses = _DIRECTIONS[direction]
    activations = _activations(call, defaults, len(reverses))
    if call.attribute("clip") is not None:
        raise RefusalError("it clips its sums, which is not supported")
    batch_first = bool(call.integer("layout", 0))
    x = call.value(0)
    if call.scope.stepped is not None and not batch_first and x.type.batch_axis == 0 and x.type.shape[1] == 1:
        # time stands where the batch would, and the batch is 1: one element of each of N sequences (`stepwise.py`)
        if any(reverses):
            raise RefusalError("it goes backwards over a sequence that is axis 0 of the whole model; give the model a batch axis")
        call.scope.stepped.append(call.name(0, "forward"))
    elif not batch_first:
        x = call.emit(Transpose((1, 0, 2)), x, label="batch_first")
    _full_length(call, x)
    sequences: list[Value] = []
    states: list[list[Value]] = []
    for index, reverse in enumerate(reverses):
        label = "reverse" if reverse else "forward"
        op = make(activations[index], reverse)
        operands = _parameters(call, index, batch_first, label, make_bias)
        names = [call.name(0, label), call.name(1, f"{label}.last"), call.name(2, f"{label}.cell")]
        y, *last = call.emit_all(op, x, *operands, names=names[: 3 if isinstance(op, Lstm) else 2])
        sequences.append(y)
        states.append(last)
    lasts = [_last(call, list(each), batch_first, 1 + place) for place, each in enumerate(zip(*states, strict=True))]
    return [_sequence(call, sequences, batch_first), *lasts]


def _activations(call: Call, defaults: tuple[str, ...], directions: int) -> list[tuple[str, ...]]:
    given = call.attribute("activations", defaults * directions)
    assert isinstance(given, tuple)
    if call.attribute("activation_alpha") or call.attribute("activation_beta"):
        raise RefusalError("its activations have parameters of their own (activation_alpha, activation_beta)")
    words = [_NAMES.get(str(name).lower(), "") for name in given]
    if not all(words):
        wrong = ", ".join(str(name) for name, word in zip(given, words, strict=True) if not word)
        raise RefusalError(f"activation {wrong}; supported are {', '.join(ACTIVATIONS)}")
    count = len(defaults)
    return [tuple(words[index * count : (index + 1) * count]) for index in range(directions)]


def _full_length(call: Call, x: Value) -> None:
    if call.has(4):
        lengths = call.known(4, "sequence_lens")
        if any(length != x.type.shape[1] for length in lengths.reshape(-1).tolist()):
            raise RefusalError(f"sequence_lens {lengths.tolist()} differ from the full length {x.type.shape[1]}")


def _parameters(call: Call, index: int, batch_first: bool, label: str, make_bias: _MakeBias) -> list[Value]:
    """W, R, bias, the initial states and peepholes of one direction, as the IR's ops take them."""
    weight, recurrent = call.known(1, "W")[index], call.known(2, "R")[index]
    hidden = recurrent.shape[1]
    both = call.known(3, "B")[index] if call.has(3) else np.zeros(2 * len(weight), weight.dtype)
    constants = (weight, recurrent, make_bias(both, hidden))
    values = [call.constant(f"{call.name()}.{label}.{what}", array) for what, array in zip("WRB", constants, strict=True)]
    values.append(_initial(call, 5, index, batch_first, f"{label}.initial", hidden, weight.dtype))
    if call.node.op_type == "LSTM":
        values.append(_initial(call, 6, index, batch_first, f"{label}.initial_cell", hidden, weight.dtype))
        if call.has(7):
            values.append(call.constant(f"{call.name()}.{label}.P", call.known(7, "P")[index]))
    return values


def _initial(call: Call, operand: int, index: int, batch_first: bool, label: str, hidden: int, dtype: np.dtype) -> Value:
    """An initial state [N, H] of one direction; one row where it is the same for all samples."""
    if not call.has(operand):
        return call.constant(f"{call.name()}.{label}", np.zeros((1, hidden), dtype))
    known = call.operands[operand]
    if isinstance(known, np.ndarray):
        states = known[:, index] if batch_first else known[index]
        same = (states == states[:1]).all()
        return call.constant(f"{call.name()}.{label}", states[:1] if same else states)
    state, axis = call.value(operand), 1 if batch_first else 0
    cut = call.emit(Slice(axis, index, index + 1), state, label=f"{label}.cut")
    shape = tuple(size for place, size in enumerate(cut.type.shape) if place != axis)
    return call.emit(Reshape(shape), cut, label=label)


def _sequence(call: Call, sequences: list[Value], batch_first: bool) -> Value:
    """Y: [T, D, N, H], or [N, T, D, H] with layout 1, from [N, T, H] of each direction."""
    batch, length, hidden = sequences[0].type.shape
    rows = [call.emit(Reshape((batch, length, 1, hidden)), y, label=f"Y{index}") for index, y in enumerate(sequences)]
    both = rows[0] if len(rows) == 1 else call.emit(Concat(2), *rows, label="Y.both")
    return both if batch_first else call.emit(Transpose((1, 2, 0, 3)), both)


def _last(call: Call, lasts: list[Value], batch_first: bool, output: int) -> Value:
    """Y_h or Y_c: [D, N, H], or [N, D, H] with layout 1, from [N, H] of each direction."""
    batch, hidden = lasts[0].type.shape
    rows = [call.emit(Reshape((batch, 1, hidden)), last, output=output, label=f"last{index}") for index, last in enumerate(lasts)]
    both = rows[0] if len(rows) == 1 else call.emit(Concat(1), *rows, output=output, label="last.both")
    return both if batch_first else call.emit(Transpose((1, 0, 2)), both, output=output)
