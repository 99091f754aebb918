"""Recurrent layers: RNN, GRU and LSTM in any direction and layout."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Op, Value
from snnir.ir.ops import Concat, Gru, Lstm, Reshape, Rnn, SequenceMask, Slice, Transpose
from snnir.ir.ops.cells import ACTIVATIONS
from snnir.ir.types import DTYPES

__all__: list[str] = []

_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
_NAMES = {name.replace("_", ""): name for name in ACTIVATIONS}

_MakeOp = Callable[[tuple[str, ...], bool, float], Op]
_MakeBias = Callable[[np.ndarray, int], np.ndarray]
"""From B of one direction (W's biases, then R's) and the hidden size to the bias of the IR's op."""


@handler("RNN", "rnn")
def rnn(call: Call) -> list[Result]:
    """Any increasing activation that snnir knows; results Y and Y_h."""
    return _layer(call, ("Tanh",), lambda names, reverse, clip: Rnn(names[0], reverse, clip), _added)


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

    return _layer(call, ("Sigmoid", "Tanh"), lambda names, reverse, clip: Gru(names, after, reverse, clip), bias)


@handler("LSTM", "lstm")
def lstm(call: Call) -> list[Result]:
    """Peepholes and input_forget included; results Y, Y_h and Y_c."""
    coupled = bool(call.integer("input_forget", 0))
    return _layer(call, ("Sigmoid", "Tanh", "Tanh"), lambda names, reverse, clip: Lstm(names, coupled, reverse, clip), _added)


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
    clip = call.number("clip", 0.0) or math.inf
    batch_first = bool(call.integer("layout", 0))
    x = call.value(0)
    if not batch_first:
        x = call.emit(Transpose((1, 0, 2)), x, label="batch_first")
    mask = _mask(call, x)
    sequences: list[Value] = []
    states: list[list[Value]] = []
    for index, reverse in enumerate(reverses):
        label = "reverse" if reverse else "forward"
        op = make(activations[index], reverse, clip)
        operands = _parameters(call, index, batch_first, label, make_bias, mask)
        names = [call.name(0, label), call.name(1, f"{label}.last"), call.name(2, f"{label}.cell")]
        y, *last = call.emit_all(op, x, *operands, names=names[: 3 if isinstance(op, Lstm) else 2])
        sequences.append(y)
        states.append(last)
    lasts = [_last(call, list(each), batch_first, 1 + place) for place, each in enumerate(zip(*states, strict=True))]
    return [_sequence(call, sequences, batch_first), *lasts]


def _activations(call: Call, defaults: tuple[str, ...], directions: int) -> list[tuple[str, ...]]:
    """The activations' words, direction by direction. Parameters go to those that take any, in order; ONNX calls them
    alpha and beta, and an activation that finds none left keeps its default.
    """
    given = call.words("activations", defaults * directions)
    lists = [list(call.numbers(name)) for name in ("activation_alpha", "activation_beta")]
    words = []
    for name in given:
        op = ACTIVATIONS.get(_NAMES.get(name.lower(), ""))
        if op is None:
            raise RefusalError(f"activation {name}; supported are {', '.join(_NAMES)}")
        fields = [item.name for item in dataclasses.fields(op)][:2] if op.name != "elu" else ["alpha"]
        defaults_of = [getattr(op(), field) for field in fields]
        numbers = [source.pop(0) if source else default for source, default in zip(lists, defaults_of, strict=False)]
        words.append(":".join([op.name, *(repr(float(number)) for number in numbers)]) if numbers != defaults_of else op.name)
    count = len(defaults)
    return [tuple(words[index * count : (index + 1) * count]) for index in range(directions)]


def _mask(call: Call, x: Value) -> Value | None:
    """[N, T, 1], 1 where elements exist; None where all sequences have the full length."""
    if not call.has(4):
        return None
    known, length = call.operands[4], x.type.shape[1]
    if not isinstance(known, np.ndarray):
        return call.emit(SequenceMask(length), call.value(4), label="exists")
    if all(number == length for number in known.reshape(-1).tolist()):
        return None
    if not isinstance(length, int) or x.type.shape[0] != len(known):
        raise RefusalError(f"sequence_lens {known.tolist()} are constant, but the input is {x.type}")
    exists = np.arange(length) < known.reshape(-1, 1)
    return call.constant(f"{call.name()}.exists", exists.astype(DTYPES[x.type.dtype])[:, :, np.newaxis])


def _parameters(call: Call, index: int, batch_first: bool, label: str, make_bias: _MakeBias, mask: Value | None) -> list[Value]:
    """W, R, bias, the initial states, peepholes and mask of one direction, as the IR's ops take them."""
    weight, recurrent = call.known(1, "W")[index], call.known(2, "R")[index]
    hidden = recurrent.shape[1]
    both = call.known(3, "B")[index] if call.has(3) else np.zeros(2 * len(weight), weight.dtype)
    constants = (weight, recurrent, make_bias(both, hidden))
    values = [call.constant(f"{call.name()}.{label}.{what}", array) for what, array in zip("WRB", constants, strict=True)]
    values.append(_initial(call, 5, index, batch_first, f"{label}.initial", hidden, weight.dtype))
    if call.node.op_type == "LSTM":
        values.append(_initial(call, 6, index, batch_first, f"{label}.initial_cell", hidden, weight.dtype))
        if call.has(7) or mask is not None:
            peepholes = call.known(7, "P")[index] if call.has(7) else np.zeros(3 * hidden, weight.dtype)
            values.append(call.constant(f"{call.name()}.{label}.P", peepholes))
    return values if mask is None else [*values, mask]


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
