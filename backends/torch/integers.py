"""Meanings in NumPy, as the reference executor has them: of integer ops, casts and questions. No gradient passes through them."""

from __future__ import annotations

import torch

from snnir.backends.torch.registry import MEANINGS, tensor_of
from snnir.ir import OPS, Op
from snnir.ir.ops import BitCast, Cast, DynamicStore, Narrow, Question, Range, Remainder, ReverseParts, Store
from snnir.ir.ops.integers import Integer

__all__: list[str] = []

_HERE = (Integer, Cast, BitCast, DynamicStore, Narrow, Question, Range, Remainder, ReverseParts, Store)


def _in_numpy(op: Op, *operands: torch.Tensor) -> tuple[torch.Tensor, ...]:
    results = op.evaluate(*(x.detach().cpu().numpy() for x in operands))
    return tuple(tensor_of(array).to(operands[0].device) for array in results)


for _op in OPS.values():
    if issubclass(_op, _HERE):
        MEANINGS[_op] = _in_numpy
