"""Recurrence: `scan` with a body graph, and the named layers that are lowered to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from snnir.errors import GraphError
from snnir.ir.op import FLOAT, QUANTIZED, SPIKING, Example, Op, register
from snnir.ir.ops.rules import broadcast, example, sum_dtype
from snnir.ir.types import TensorType

if TYPE_CHECKING:
    from snnir.ir.graph import Graph

__all__ = ["Rnn", "Scan"]


@register
@dataclass(frozen=True)
class Scan(Op):
    """Apply a body graph to one sequence element after another.

    Operands: `states` initial states, `elements` sequences (cut along `axis`), then values shared by all elements.
    The body's inputs stand in the same order; its outputs are the next states, then values per element. Results: the
    final states, then the values per element stacked along `axis`. `reverse` starts with the last element.
    """

    name = "scan"
    operands = ("values*",)
    levels = (FLOAT, QUANTIZED, SPIKING)

    states: int = 0
    elements: int = 1
    axis: int = 1
    reverse: bool = False

    def stored(self, types: Sequence[TensorType]) -> bool:
        return True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        raise GraphError("scan needs a body graph")

    def body_types(self, types: Sequence[TensorType], body: Graph | None) -> tuple[TensorType, ...]:
        if body is None:
            raise GraphError("scan needs a body graph")
        if self.elements < 1 or len(types) < self.states + self.elements or len(body.inputs) != len(types):
            raise GraphError(f"scan has {len(types)} operands for {self.states} states and {self.elements} sequences")
        outputs = list(body.outputs.values())
        if len(outputs) < self.states:
            raise GraphError(f"the body of scan gives {len(outputs)} values for {self.states} states")
        sequences = types[self.states : self.states + self.elements]
        if any(not 0 <= self.axis < type_.rank for type_ in sequences):
            raise GraphError(f"scan cuts along axis {self.axis}, which a sequence lacks")
        lengths = {type_.shape[self.axis] for type_ in sequences}
        if len(lengths) != 1:
            raise GraphError(f"scan needs sequences of one length along axis {self.axis}")
        (length,) = lengths
        results = []
        for index, (initial, value) in enumerate(zip(types, outputs[: self.states], strict=False)):
            state = body.inputs[index].type
            if broadcast(initial.shape, state.shape) != state.shape or value.type.shape != state.shape:
                raise GraphError(f"state {body.inputs[index].name}: {state}, starts as {initial}, continues as {value.type}")
            for given in (initial, value.type):
                if given.quantization is not None and state.quantization is not None:
                    if state.quantization.join(given.quantization) != state.quantization:
                        raise GraphError(f"state {body.inputs[index].name} of {state} cannot hold {given}")
                elif given.is_levels != state.is_levels:
                    raise GraphError(f"state {body.inputs[index].name}: {state} meets {given}")
            results.append(state)
        for index, type_ in enumerate(types[self.states :], self.states):
            inner = body.inputs[index].type
            outer = type_
            if index < self.states + self.elements:
                outer = type_.with_shape((*type_.shape[: self.axis], *type_.shape[self.axis + 1 :]))
            if outer != inner:
                raise GraphError(f"the body takes {inner} as {body.inputs[index].name}, but is given {outer}")
        for value in outputs[self.states :]:
            shape = value.type.shape
            results.append(value.type.with_shape((*shape[: self.axis], length, *shape[self.axis :])))
        return tuple(results)


@register
@dataclass(frozen=True)
class Rnn(Op):
    """`h_k = f(W x_k + R h_{k-1} + b)`, ONNX `RNN` with Wb and Rb added up, batch first.

    x[N, T, I], weight[H, I], recurrent[H, H], bias[H], initial (spreads over [N, H]); results y[N, T, H] and the last
    h[N, H] in the order of processing. Lowered to `scan` by `lower-recurrent`.
    """

    name = "rnn"
    operands = ("x", "weight", "recurrent", "bias", "initial")

    activation: str = "tanh"
    reverse: bool = False

    ACTIVATIONS: ClassVar[tuple[str, ...]] = ("relu", "tanh")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, weight, recurrent, bias, initial = types
        if self.activation not in self.ACTIVATIONS:
            raise GraphError(f"rnn with activation {self.activation!r}; supported: {', '.join(self.ACTIVATIONS)}")
        if x.rank != 3 or weight.rank != 2 or weight.shape[1] != x.shape[2]:
            raise GraphError("rnn needs x[N, T, I] and weight[H, I]")
        hidden = weight.shape[0]
        state = (x.shape[0], hidden)
        if recurrent.shape != (hidden, hidden) or bias.shape != (hidden,) or broadcast(initial.shape, state) != state:
            raise GraphError(f"rnn needs recurrent[{hidden}, {hidden}], bias[{hidden}] and initial[N, {hidden}]")
        dtype = sum_dtype(*types)
        return TensorType((*x.shape[:2], hidden), dtype), TensorType(state, dtype)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, weight, recurrent, bias, initial = arrays
        state = np.broadcast_to(initial, (x.shape[0], weight.shape[0]))
        y = np.empty((*x.shape[:2], weight.shape[0]), x.dtype)
        order = range(x.shape[1])
        for k in reversed(order) if self.reverse else order:
            total = x[:, k] @ weight.T + state @ recurrent.T + bias
            state = np.maximum(total, 0) if self.activation == "relu" else np.tanh(total)
            y[:, k] = state
        return y, np.ascontiguousarray(state)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        rng = np.random.default_rng(0)
        arrays = [rng.normal(size=size).astype(np.float32) for size in ((2, 4, 3), (5, 3), (5, 5), (5,), (1, 5))]
        for activation in cls.ACTIVATIONS:
            yield example(cls(activation), *arrays)
        yield example(cls("tanh", True), *arrays)
