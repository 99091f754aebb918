"""Functions of complete levels: what neurons cannot compute, in integers, between two spiking segments.

A function waits until its operands are complete (settled, or complete by schedule), computes its body once, and charges
the results as an encoder does. What a function of settled integers gives is an integer, so nothing is lost
(docs/exactness.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnir.errors import GraphError
from snnir.ir.op import FLOAT, QUANTIZED, SPIKING, Example, Op, Trait, register
from snnir.ir.ops.rules import example
from snnir.ir.ops.spiking import Summing
from snnir.ir.types import Quantization, TensorType

if TYPE_CHECKING:
    from snnir.ir.graph import Graph

__all__ = ["Accumulate", "Function", "Saturate"]


@register
@dataclass(frozen=True)
class Accumulate(Summing):
    """The sum of all that arrives in a window, without neurons, as plain integers: `sum of currents + bias`.

    Only a function takes it.
    """

    name = "accumulate"
    operands = ("bias", "currents*")
    bias_at = 0

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        bias, *currents = types
        return (TensorType(self.sum_shape(bias, currents), "i64"),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        bias, *currents = arrays
        return (np.asarray(sum(currents) + bias.astype(np.int64)),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        currents = np.arange(-20, 22).reshape(14, 3)
        yield example(cls(), np.array([0, -3, 2], np.int32), (currents, "current"), (currents[:1], "current"))


@register
@dataclass(frozen=True)
class Function(Op):
    """Levels `clip(body(operands), lo, hi)` that an integer body computes from complete levels and sums.

    Operands are levels or sums (spike trains and `accumulate` at the spiking level); the body takes each as i64 and holds
    integer ops and data movement only. Result i is worth `scales[i]` a level and lies in `lo[i]..hi[i]`. Among few-spike
    neurons `start` is the step at which it charges its levels; among others (-1) a new segment of the window begins with it,
    or, with `difference`, it tells the change of its levels whenever what it takes changes.
    """

    name = "function"
    traits = frozenset({Trait.EMITS})
    operands = ("values*",)
    levels = (QUANTIZED, SPIKING)

    scales: tuple[float, ...] = ()
    lo: tuple[int, ...] = ()
    hi: tuple[int, ...] = ()
    start: int = -1
    difference: bool = False

    def stored(self, types: Sequence[TensorType]) -> bool:
        return True

    def quantizations(self) -> tuple[Quantization, ...]:
        """The levels of each result."""
        return tuple(Quantization(*each) for each in zip(self.scales, self.lo, self.hi, strict=True))

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        raise GraphError("function needs a body graph")

    def body_types(self, types: Sequence[TensorType], body: Graph | None) -> tuple[TensorType, ...]:
        if body is None:
            raise GraphError("function needs a body graph")
        if len(body.inputs) != len(types):
            raise GraphError(f"function is given {len(types)} operands, and its body takes {len(body.inputs)}")
        for type_, inner in zip(types, body.inputs, strict=True):
            if not (type_.is_levels or type_.is_sum or type_.dtype == "i64"):
                raise GraphError(f"function takes levels and sums, found {type_} for {inner.name}")
            if inner.type != TensorType(type_.shape, "i64"):
                raise GraphError(f"the body of function takes {inner.type} as {inner.name}, but is given {type_}")
        results = list(body.outputs.values())
        if not len(results) == len(self.scales) == len(self.lo) == len(self.hi):
            raise GraphError(f"the body of function gives {len(results)} values for {len(self.scales)} scales")
        if any(value.type.dtype != "i64" for value in results):
            raise GraphError("the body of function gives i64")
        spiking = any(type_.dtype in ("spike", "i64") for type_ in types)
        kind = "spike" if spiking else "int"
        pairs = zip(results, self.quantizations(), strict=True)
        return tuple(TensorType(value.type.shape, kind, quantization) for value, quantization in pairs)


@register
@dataclass(frozen=True)
class Saturate(Op):
    """`x` held in `low..high`, the range that calibration found for a value inside a function, widened.

    It bounds the integers that the function is computed with; a value beyond it saturates.
    """

    name = "saturate"
    operands = ("x",)
    levels = (FLOAT,)

    low: float = -math.inf
    high: float = math.inf

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        if not types[0].is_real:
            raise GraphError(f"saturate is defined for real numbers, not for {types[0].dtype}")
        return types

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.clip(arrays[0], arrays[0].dtype.type(self.low), arrays[0].dtype.type(self.high)),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.linspace(-3, 3, 12, dtype=np.float32).reshape(2, 6)
        yield example(cls(), x)
        yield example(cls(-1.5, 2.0), x)
