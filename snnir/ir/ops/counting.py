"""Numbers that are counted out, as many as the data says: only the host computes them, and no neurons stand for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from snnir.errors import GraphError, InputError
from snnir.ir.dims import Dimension, dim
from snnir.ir.op import FLOAT, QUANTIZED, SPIKING, Example, Op, register
from snnir.ir.ops.rules import example
from snnir.ir.types import TensorType

__all__ = ["Range"]


@register
@dataclass(frozen=True)
class Range(Op):
    """`start + k delta` for k from 0 on, as long as it has not come to `limit`: ceil((limit - start) / delta) numbers.

    All three are single numbers of one type. `length` names how many there will be.
    """

    name = "range"
    operands = ("start", "limit", "delta")
    levels = (FLOAT, QUANTIZED, SPIKING)
    host = True

    length: Dimension = dim("range")

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        kinds = {type_.dtype for type_ in types}
        if len(kinds) != 1 or not (types[0].is_real or types[0].is_weight) or any(type_.rank for type_ in types):
            raise GraphError(f"range takes three single numbers of one type, found {', '.join(map(str, types))}")
        return (TensorType((self.length,), types[0].dtype),)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        start, limit, delta = (array.item() for array in arrays)
        if delta == 0:
            raise InputError("range: its delta is 0; give the model data for which it is not")
        if arrays[0].dtype.kind == "f":
            count = max(int(np.ceil((limit - start) / delta)), 0)
        else:
            count = max(-((start - limit) // delta), 0)
        with np.errstate(all="ignore"):
            steps = np.arange(count).astype(arrays[0].dtype)
            return ((arrays[0] + steps * arrays[2]).astype(arrays[0].dtype, copy=False),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield example(cls(), *(np.array(number, np.float32) for number in (1, 5, 1.5)))
        yield example(cls(), *(np.array(number, np.int32) for number in (10, 6, -3)))
