"""Products of two values that both change with the input: the gates of LSTM and GRU."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from snnir.errors import GraphError
from snnir.ir.op import FLOAT, QUANTIZED, SPIKING, Example, Op, Trait, register
from snnir.ir.ops.rules import broadcast, example
from snnir.ir.types import Quantization, TensorType

__all__ = ["Product"]


@register
@dataclass(frozen=True)
class Product(Op):
    """`a * b` of levels, exactly: the levels multiply, and so do their scales. Broadcasts.

    On spikes it gives out the change of the product of two tracers, `d(ab) = da S_b(t) + S_a(t-1) db`, which may be more
    than one level a step.
    """

    name = "product"
    traits = frozenset({Trait.OF_LEVELS, Trait.EMITS})
    operands = ("a", "b")
    levels = (FLOAT, QUANTIZED, SPIKING)

    def stored(self, types: Sequence[TensorType]) -> bool:
        return True

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        a, b = (type_.quantization for type_ in types)
        if a is None or b is None or types[0].dtype != types[1].dtype:
            raise GraphError("product needs levels, or spikes, on both sides")
        corners = [left * right for left in (a.lo, a.hi) for right in (b.lo, b.hi)]
        quantization = Quantization(a.scale * b.scale, min(corners), max(corners))
        return (TensorType(broadcast(types[0].shape, types[1].shape), types[0].dtype, quantization),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return (arrays[0] * arrays[1],)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        a, b = np.arange(6).reshape(2, 3) - 3, np.arange(3).reshape(1, 3)
        for dtype in ("int", "spike"):
            yield example(cls(), (a, Quantization(0.5, -4, 3), dtype), (b, Quantization(0.25, 0, 15), dtype))
