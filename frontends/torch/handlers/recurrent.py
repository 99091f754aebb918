"""Recurrent layers: RNN, GRU and LSTM of any number of layers, both directions, either layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from snnir.frontends.torch.call import Call
from snnir.frontends.torch.registry import Entry, RefusalError, Spread, handler
from snnir.ir import Op, Value
from snnir.ir.ops import Concat, Gru, Lstm, Reshape, Rnn, Slice, Transpose

__all__: list[str] = []


@dataclass(frozen=True)
class _Kind:
    """How one kind of layer becomes an op of the IR: `order` says where each of the IR's gates stands among PyTorch's."""

    make: Callable[[bool], Op]
    order: tuple[int, ...]
    states: int = 1


_KINDS = {
    "rnn_tanh": _Kind(lambda reverse: Rnn("tanh", reverse), (0,)),
    "rnn_relu": _Kind(lambda reverse: Rnn("relu", reverse), (0,)),
    "gru": _Kind(lambda reverse: Gru(reset_after=True, reverse=reverse), (1, 0, 2)),  # PyTorch: r, z, n
    "lstm": _Kind(lambda reverse: Lstm(reverse=reverse), (0, 3, 1, 2), 2),  # PyTorch: i, f, g, o
}


def _enter(operator: str, kind: _Kind, op: str) -> None:
    @handler(f"snnir.{operator}", op)
    @handler(f"aten.{operator}.input", op)
    def layer(call: Call) -> list[Entry]:
        return _layer(call, kind)


for _name, _kind in _KINDS.items():
    _enter(_name, _kind, "rnn" if _name.startswith("rnn") else _name)


def _layer(call: Call, kind: _Kind) -> list[Entry]:
    if call.flag("train") and call.number("dropout") > 0:
        raise RefusalError("it is in training mode, with dropout between its layers; call eval() on the module")
    biases, directions = call.flag("has_biases"), 2 if call.flag("bidirectional") else 1
    parameters = list(call.given("params"))
    if not all(isinstance(item, torch.Tensor) for item in parameters):
        raise RefusalError("its weights change with the input; they must be constant")
    each = 4 if biases else 2
    count = call.integer("num_layers")
    if len(parameters) != each * count * directions:
        raise RefusalError("it has a projection (proj_size), which is not supported")
    initial = call.given("hx")
    states = list(initial) if isinstance(initial, list | tuple) else [initial]
    first = call.flag("batch_first")
    x = call.value("input")
    if x.type.rank != 3:
        raise RefusalError(f"its input {x.type} has no batch; give x[N, T, I]")
    if not first:
        x = call.emit(Transpose((1, 0, 2)), x, label="batch_first")
    lasts: list[list[Value]] = [[] for _ in states]
    for number in range(count):
        sequences = []
        for direction in range(directions):
            place = number * directions + direction
            label = f"l{number}" + ("_reverse" if direction else "")
            constants = _parameters(call, kind, parameters[place * each : (place + 1) * each], label)
            starts = [_initial(call, state, place, f"{label}.{what}") for state, what in zip(states, ("h0", "c0"), strict=False)]
            names = [call.name(label), call.name(f"{label}.last"), call.name(f"{label}.cell")][: 1 + kind.states]
            y, *last = call.emit_all(kind.make(bool(direction)), x, *constants, *starts, names=names)
            sequences.append(y)
            for collected, value in zip(lasts, last, strict=True):
                collected.append(value)
        x = sequences[0] if directions == 1 else call.emit(Concat(2), *sequences, label=f"l{number}.both")
    y = x if first else call.emit(Transpose((1, 0, 2)), x)
    return [y, *(_stacked(call, values) for values in lasts)]


def _parameters(call: Call, kind: _Kind, tensors: Sequence[torch.Tensor], label: str) -> list[Value]:
    """W, R and the bias, gates in the IR's order."""
    weight, recurrent = (_ordered(tensor, kind.order) for tensor in tensors[:2])
    rows = weight.shape[0]
    zero = weight.new_zeros(rows)
    inner, outer = (_ordered(tensor, kind.order) for tensor in tensors[2:]) if len(tensors) == 4 else (zero, zero)
    if len(kind.order) == 3:  # GRU: the reset comes after the candidate's recurrent bias, which stays apart
        gates = rows // 3 * 2
        bias = torch.cat([inner[:gates] + outer[:gates], inner[gates:], outer[gates:]])
    else:
        bias = inner + outer
    named = zip("WRB", (weight, recurrent, bias), strict=True)
    return [call.constant(f"{label}.{what}", tensor) for what, tensor in named]


def _ordered(tensor: torch.Tensor, order: tuple[int, ...]) -> torch.Tensor:
    if len(order) == 1:
        return tensor.detach()
    gates = tensor.detach().chunk(len(order))
    return torch.cat([gates[place] for place in order])


def _initial(call: Call, state: Entry, place: int, label: str) -> Value:
    """An initial state [N, H] of one layer and direction; one row where it is the same for all samples."""
    known = state.array if isinstance(state, Spread) else state
    if isinstance(known, torch.Tensor):
        rows = known[place]
        same = bool((rows == rows[:1]).all())
        return call.constant(label, (rows[:1] if same else rows).contiguous())
    value = call.as_value(state, "hx")
    cut = call.emit(Slice(0, place, place + 1), value, label=f"{label}.cut")
    return call.emit(Reshape(cut.type.shape[1:]), cut, label=label)


def _stacked(call: Call, lasts: list[Value]) -> Value:
    """The last states [layers and directions, N, H]."""
    name = lasts[0].name
    rows = [call.emit(Reshape((1, *value.type.shape)), value, label=f"row{index}") for index, value in enumerate(lasts)]
    return rows[0] if len(rows) == 1 else call.graph.add1(Concat(0), *rows, name=f"{name}.all", origin=call.origin)
