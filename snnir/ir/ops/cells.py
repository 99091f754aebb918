"""Named recurrent layers, batch first, one direction each; `lower-recurrent` writes them as scans of ordinary ops.

Equations and the order of gates are those of the ONNX operator specification (RNN, GRU, LSTM).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from snnir.errors import GraphError, SizeError
from snnir.ir.dims import concrete
from snnir.ir.op import Example, Op, Trait, register
from snnir.ir.ops.activation import (
    Affine,
    Elementwise,
    Elu,
    HardSigmoid,
    LeakyRelu,
    Relu,
    ScaledTanh,
    Sigmoid,
    Softplus,
    Softsign,
    Tanh,
    ThresholdedRelu,
)
from snnir.ir.ops.rules import broadcast, example, sum_dtype
from snnir.ir.types import TensorType

__all__ = ["ACTIVATIONS", "Gru", "Lstm", "Recurrent", "Rnn", "activation"]

_Operand = TypeVar("_Operand")

ACTIVATIONS: dict[str, type[Elementwise]] = {
    op.name: op
    for op in (
        Relu,
        Tanh,
        Sigmoid,
        HardSigmoid,
        LeakyRelu,
        Elu,
        Softplus,
        Softsign,
        ThresholdedRelu,
        ScaledTanh,
        Affine,
    )
}
"""Activations of cells: those of ONNX, all of which increase where their parameters are not negative."""


def activation(word: str) -> Elementwise:
    """The activation that a word stands for: its name, then its parameters, `hard_sigmoid:0.2:0.5`. Raises `GraphError`."""
    name, *parameters = word.split(":")
    if name not in ACTIVATIONS:
        raise GraphError(f"activation {name!r} is not one of {', '.join(ACTIVATIONS)}")
    try:
        return ACTIVATIONS[name](*map(float, parameters))
    except (TypeError, ValueError) as error:
        raise GraphError(f"activation {word!r}: {error}") from error


@dataclass(frozen=True)
class Recurrent(Op):
    """Base: x[N, T, I] and parameters give y[N, T, H] and the last states [N, H], in the order of processing.

    `clip` bounds what activations take to -clip..clip. A `mask`[N, T, 1] of 0 and 1 marks the elements that exist: at
    others states stay as they are, and y is 0.
    """

    GATES: ClassVar[int] = 1
    STATES: ClassVar[int] = 1

    def check_activations(self, names: tuple[str, ...], count: int) -> None:
        """Raise `GraphError` unless `names` are `count` known activations."""
        if len(names) != count:
            raise GraphError(f"{self.name} takes {count} activations; found {', '.join(names)}")
        for name in names:
            activation(name)

    def check(self, *types: TensorType, mask: TensorType | None = None) -> tuple[TensorType, ...]:
        """Result types for x, weight[G H, I], recurrent[G H, H] and STATES initial states."""
        x, weight, recurrent, *initial = types
        rows = weight.shape[0] if weight.rank == 2 else None
        if x.rank != 3 or not isinstance(rows, int) or rows % self.GATES:
            raise GraphError(f"{self.name} needs x[N, T, I] and weight[{self.GATES} H, I]")
        if weight.shape[1] != x.shape[2]:
            raise SizeError(f"{self.name} needs x[N, T, I] and weight[{self.GATES} H, I]", [(x.shape[2], weight.shape[1])])
        hidden = rows // self.GATES
        state = (x.shape[0], hidden)
        if recurrent.shape != (rows, hidden) or any(broadcast(type_.shape, state) != state for type_ in initial):
            ranked = [type_.shape for type_ in initial if type_.rank == 2]
            sizes = [pair for shape in ranked for pair in zip(shape, state, strict=True) if pair[0] != 1]
            text = f"recurrent[{rows}, {hidden}] and initial states that spread over [N, {hidden}]"
            raise SizeError(f"{self.name} needs {text}", sizes)
        if mask is not None and mask.shape != (*x.shape[:2], 1):
            raise GraphError(f"{self.name} needs mask[N, T, 1], found {mask}")
        dtype = sum_dtype(*types)
        return TensorType((*x.shape[:2], hidden), dtype), *(TensorType(state, dtype) for _ in range(self.STATES))

    def mask(self, operands: Sequence[_Operand]) -> _Operand | None:
        """The mask among a node's operands (or their types), where there is one."""
        return operands[-1] if len(operands) == len(self.operands) else None

    def elements(self, x: np.ndarray, reverse: bool) -> Iterator[tuple[int, np.ndarray]]:
        """Index and slice of each sequence element, in the order of processing."""
        order = range(x.shape[1])
        for k in reversed(order) if reverse else order:
            yield k, x[:, k]


def _apply(name: str, x: np.ndarray, clip: float) -> np.ndarray:
    return activation(name).evaluate(np.clip(x, -clip, clip) if math.isfinite(clip) else x)[0]


def _exists(mask: Sequence[np.ndarray], k: int) -> np.ndarray | bool:
    """Which samples [N, 1] have an element k."""
    return mask[0][:, k] > 0 if mask else True


def _arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


_MASK = np.array([[1, 1, 1, 0], [1, 0, 0, 0]], np.float32)[:, :, np.newaxis]


@register
@dataclass(frozen=True)
class Rnn(Recurrent):
    """`h_k = f(W x_k + R h_{k-1} + b)`, ONNX `RNN` with Wb and Rb added up: y and the last h."""

    name = "rnn"
    traits = frozenset({Trait.FINITE})
    operands = ("x", "weight", "recurrent", "bias", "initial", "mask?")

    activation: str = "tanh"
    reverse: bool = False
    clip: float = math.inf

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, weight, recurrent, bias, initial, *mask = types
        self.check_activations((self.activation,), 1)
        results = self.check(x, weight, recurrent, initial, mask=next(iter(mask), None))
        if bias.shape != weight.shape[:1]:
            raise GraphError(f"rnn needs bias[{weight.shape[0]}]")
        return results

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, weight, recurrent, bias, initial, *mask = arrays
        h = np.broadcast_to(initial, (x.shape[0], recurrent.shape[1]))
        y = np.empty((*x.shape[:2], recurrent.shape[1]), x.dtype)
        for k, element in self.elements(x, self.reverse):
            new, exists = _apply(self.activation, element @ weight.T + h @ recurrent.T + bias, self.clip), _exists(mask, k)
            h, y[:, k] = np.where(exists, new, h), np.where(exists, new, 0)
        return y, np.ascontiguousarray(h)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        arrays = _arrays((2, 4, 3), (5, 3), (5, 5), (5,), (1, 5))
        yield example(cls("relu"), *arrays)
        yield example(cls("tanh"), *arrays)
        yield example(cls("tanh", True), *arrays)
        yield example(cls("elu:0.5", clip=0.7), *arrays, _MASK)


@register
@dataclass(frozen=True)
class Gru(Recurrent):
    """ONNX `GRU`, gates in the order z, r, h; results y and the last h.

    `z = f(W_z x + R_z s + b_z)`, `r = f(W_r x + R_r s + b_r)`, `c = g(W_h x + R_h (r * s) + b_h)`, or with `reset_after`
    (ONNX: linear_before_reset, what PyTorch computes) `c = g(W_h x + r * (R_h s + d_h) + b_h)`, and `h = (1 - z) c + z s`.
    bias[4 H] holds b_z, b_r, b_h and d_h; without `reset_after`, d_h is part of b_h and must be 0.
    """

    name = "gru"
    traits = frozenset({Trait.FINITE})
    operands = ("x", "weight", "recurrent", "bias", "initial", "mask?")

    activations: tuple[str, ...] = ("sigmoid", "tanh")
    reset_after: bool = False
    reverse: bool = False
    clip: float = math.inf

    GATES: ClassVar[int] = 3

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, weight, recurrent, bias, initial, *mask = types
        self.check_activations(self.activations, 2)
        results = self.check(x, weight, recurrent, initial, mask=next(iter(mask), None))
        if bias.shape != (4 * concrete(recurrent.shape[1]),):
            raise GraphError(f"gru needs bias[{4 * concrete(recurrent.shape[1])}]")
        return results

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, weight, recurrent, bias, initial, *mask = arrays
        hidden, clip = recurrent.shape[1], self.clip
        f, g = self.activations
        h = np.broadcast_to(initial, (x.shape[0], hidden))
        y = np.empty((*x.shape[:2], hidden), x.dtype)
        for k, element in self.elements(x, self.reverse):
            z, r, c = np.split(element @ weight.T + bias[: 3 * hidden], 3, axis=1)
            back = h @ recurrent[: 2 * hidden].T
            z, r = _apply(f, z + back[:, :hidden], clip), _apply(f, r + back[:, hidden:], clip)
            if self.reset_after:
                c = _apply(g, c + r * (h @ recurrent[2 * hidden :].T + bias[3 * hidden :]), clip)
            else:
                c = _apply(g, c + (r * h) @ recurrent[2 * hidden :].T, clip)
            new, exists = (1 - z) * c + z * h, _exists(mask, k)
            h, y[:, k] = np.where(exists, new, h), np.where(exists, new, 0)
        return y, np.ascontiguousarray(h)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        arrays = _arrays((2, 4, 3), (15, 3), (15, 5), (20,), (1, 5))
        yield example(cls(reset_after=True), *arrays)
        arrays[3][15:] = 0
        yield example(cls(reverse=True), *arrays)
        yield example(cls(("hard_sigmoid:0.3:0.4", "softsign"), reverse=True), *arrays, _MASK)


@register
@dataclass(frozen=True)
class Lstm(Recurrent):
    """ONNX `LSTM`, gates in the order i, o, f, c; results y, the last h and the last cell state.

    `i = f(W_i x + R_i s + P_i * C + b_i)`, `f` alike (with `input_forget`, `f = 1 - i`), `c = g(W_c x + R_c s + b_c)`,
    `C' = f * C + i * c`, `o = f(W_o x + R_o s + P_o * C' + b_o)`, `h = o * h(C')`. peephole[3 H] holds P_i, P_o, P_f.
    `clip` is for the gates and c; h(C') takes C' as it is, as in ONNX Runtime.
    """

    name = "lstm"
    traits = frozenset({Trait.FINITE})
    operands = ("x", "weight", "recurrent", "bias", "initial", "initial_cell", "peephole?", "mask?")

    activations: tuple[str, ...] = ("sigmoid", "tanh", "tanh")
    input_forget: bool = False
    reverse: bool = False
    clip: float = math.inf

    GATES: ClassVar[int] = 4
    STATES: ClassVar[int] = 2

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, weight, recurrent, bias, initial, cell, *peephole = types
        self.check_activations(self.activations, 3)
        results = self.check(x, weight, recurrent, initial, cell, mask=next(iter(peephole[1:]), None))
        if bias.shape != weight.shape[:1] or (peephole and peephole[0].shape != (3 * concrete(recurrent.shape[1]),)):
            raise GraphError(f"lstm needs bias[{weight.shape[0]}] and peephole[{3 * concrete(recurrent.shape[1])}]")
        return results

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, weight, recurrent, bias, initial, initial_cell, *rest = arrays
        hidden, clip = recurrent.shape[1], self.clip
        f, g, out = self.activations
        peek_i, peek_o, peek_f = np.split(rest[0] if rest else np.zeros(3 * hidden, x.dtype), 3)
        h, cell = (np.broadcast_to(state, (x.shape[0], hidden)) for state in (initial, initial_cell))
        y = np.empty((*x.shape[:2], hidden), x.dtype)
        for k, element in self.elements(x, self.reverse):
            i, o, forget, c = np.split(element @ weight.T + h @ recurrent.T + bias, 4, axis=1)
            i = _apply(f, i + peek_i * cell, clip)
            forget = 1 - i if self.input_forget else _apply(f, forget + peek_f * cell, clip)
            new = forget * cell + i * _apply(g, c, clip)
            given, exists = _apply(f, o + peek_o * new, clip) * _apply(out, new, math.inf), _exists(rest[1:], k)
            h, cell, y[:, k] = np.where(exists, given, h), np.where(exists, new, cell), np.where(exists, given, 0)
        return y, np.ascontiguousarray(h), np.ascontiguousarray(cell)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        arrays = _arrays((2, 4, 3), (20, 3), (20, 5), (20,), (1, 5), (1, 5), (15,))
        yield example(cls(), *arrays[:6])
        yield example(cls(), *arrays)
        yield example(cls(input_forget=True, reverse=True), *arrays[:6])
        yield example(cls(clip=0.5), *arrays, _MASK)
