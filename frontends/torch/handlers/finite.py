"""Questions for infinities and NaN: the host's, or answered wherever nothing on the way can give one."""

from __future__ import annotations

import numpy as np
import torch

from snnir.frontends.torch.call import Call
from snnir.frontends.torch.handlers.shapes import filled
from snnir.frontends.torch.registry import Entry, handler
from snnir.ir import Op, Value
from snnir.ir.lowering.choose import opposite
from snnir.ir.lowering.finite import hidden, is_open
from snnir.ir.ops import IntNot, IntOr, IsInf, IsNan

__all__: list[str] = []

_TOLD = (
    "On the host, of what it computes from inputs that reach nothing else. Elsewhere answered where nothing on the way from "
    "the inputs, which are finite, can give such a number, and refused where something can. What a mask hides is minus infinity."
)


def _truth(found: Value | np.ndarray) -> Entry:
    return torch.from_numpy(found != 0) if isinstance(found, np.ndarray) else found


def _question(operator: str, op: Op) -> None:
    def answered(call: Call) -> Entry:
        x = call.value("self")
        if is_open(call.scope.questions, x, call.scope.inner):
            return call.emit(op, x)
        found = hidden(call, x, op)
        return filled(call, x.type.shape, False) if found is None else _truth(found)

    answered.__doc__ = _TOLD
    handler(f"aten.{operator}", op.name, "expand")(answered)


_question("isnan", IsNan())
_question("isinf", IsInf())
_question("isneginf", IsInf(positive=False))
_question("isposinf", IsInf(negative=False))


@handler("aten.isfinite", "is_nan", "is_inf", "int_or", "int_not", "expand")
def is_finite(call: Call) -> Entry:
    """Neither NaN nor an infinity; true where nothing can give them."""
    x = call.value("self")
    if not is_open(call.scope.questions, x, call.scope.inner):
        found = hidden(call, x, IsInf())
        if found is None:
            return filled(call, x.type.shape, True)
        return _truth(1 - found) if isinstance(found, np.ndarray) else opposite(call, found)
    either = call.emit(IntOr(), call.emit(IsNan(), x, label="nan"), call.emit(IsInf(), x, label="infinite"), label="either")
    return call.emit(IntNot(), either)


is_finite.__doc__ = _TOLD
