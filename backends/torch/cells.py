"""Meanings of named recurrent layers; equations and gate order in `snnir/ir/ops/cells.py`.

What does not depend on the state, `W x + b`, is computed for the whole sequence at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from snnir.backends.torch.registry import meaning, meaning_of
from snnir.ir import ops
from snnir.ir.ops.cells import activation

__all__: list[str] = []

_Results = tuple[torch.Tensor, ...]
_Step = Callable[[torch.Tensor, tuple[torch.Tensor, ...]], tuple[torch.Tensor, ...]]
"""Given what the element feeds in and the states: the next states, of which the first is given out."""


def _apply(word: str, x: torch.Tensor, clip: float = math.inf) -> torch.Tensor:
    op = activation(word)
    return meaning_of(op)(op, x.clamp(-clip, clip) if math.isfinite(clip) else x)[0]


def _loop(
    feed: torch.Tensor, initial: Sequence[torch.Tensor], hidden: int, mask: Sequence[torch.Tensor], reverse: bool, step: _Step
) -> _Results:
    """feed[N, T, G H] through `step`: y[N, T, H] and the last states [N, H]."""
    batch, length = feed.shape[:2]
    states = tuple(torch.broadcast_to(state, (batch, hidden)) for state in initial)
    given: list[torch.Tensor] = [feed.new_zeros(batch, hidden)] * length
    for k in reversed(range(length)) if reverse else range(length):
        new = step(feed[:, k], states)
        given[k] = new[0]
        if mask:
            exists = mask[0][:, k] > 0
            given[k] = torch.where(exists, new[0], torch.zeros_like(new[0]))
            new = tuple(torch.where(exists, after, before) for after, before in zip(new, states, strict=True))
        states = new
    y = torch.stack(given, 1) if given else feed.new_zeros(batch, 0, hidden)
    return y, *states


@meaning(ops.Rnn)
def _rnn(
    op: ops.Rnn,
    x: torch.Tensor,
    weight: torch.Tensor,
    recurrent: torch.Tensor,
    bias: torch.Tensor,
    initial: torch.Tensor,
    *mask: torch.Tensor,
) -> _Results:
    def step(feed: torch.Tensor, states: tuple[torch.Tensor, ...]) -> _Results:
        return (_apply(op.activation, feed + states[0] @ recurrent.T, op.clip),)

    return _loop(x @ weight.T + bias, (initial,), recurrent.shape[1], mask, op.reverse, step)


@meaning(ops.Gru)
def _gru(
    op: ops.Gru,
    x: torch.Tensor,
    weight: torch.Tensor,
    recurrent: torch.Tensor,
    bias: torch.Tensor,
    initial: torch.Tensor,
    *mask: torch.Tensor,
) -> _Results:
    hidden, (f, g) = recurrent.shape[1], op.activations
    gates, candidate = recurrent[: 2 * hidden], recurrent[2 * hidden :]

    def step(feed: torch.Tensor, states: tuple[torch.Tensor, ...]) -> _Results:
        (h,) = states
        z, r, c = feed.chunk(3, 1)
        back_z, back_r = (h @ gates.T).chunk(2, 1)
        z, r = _apply(f, z + back_z, op.clip), _apply(f, r + back_r, op.clip)
        back = r * (h @ candidate.T + bias[3 * hidden :]) if op.reset_after else (r * h) @ candidate.T
        return ((1 - z) * _apply(g, c + back, op.clip) + z * h,)

    return _loop(x @ weight.T + bias[: 3 * hidden], (initial,), hidden, mask, op.reverse, step)


@meaning(ops.Lstm)
def _lstm(
    op: ops.Lstm,
    x: torch.Tensor,
    weight: torch.Tensor,
    recurrent: torch.Tensor,
    bias: torch.Tensor,
    initial: torch.Tensor,
    initial_cell: torch.Tensor,
    *rest: torch.Tensor,
) -> _Results:
    hidden, (f, g, out) = recurrent.shape[1], op.activations
    peek_i, peek_o, peek_f = rest[0].chunk(3) if rest else [x.new_zeros(hidden)] * 3

    def step(feed: torch.Tensor, states: tuple[torch.Tensor, ...]) -> _Results:
        h, cell = states
        i, o, forget, c = (feed + h @ recurrent.T).chunk(4, 1)
        i = _apply(f, i + peek_i * cell, op.clip)
        forget = 1 - i if op.input_forget else _apply(f, forget + peek_f * cell, op.clip)
        new = forget * cell + i * _apply(g, c, op.clip)
        return _apply(f, o + peek_o * new, op.clip) * _apply(out, new), new

    return _loop(x @ weight.T + bias, (initial, initial_cell), hidden, rest[1:], op.reverse, step)
