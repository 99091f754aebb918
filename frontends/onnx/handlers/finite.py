"""Questions for infinities and NaN: the host's, or no wherever nothing on the way can give one."""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import real
from snnir.frontends.onnx.registry import Result, handler
from snnir.ir import Dim, Op
from snnir.ir.lowering.finite import hidden, is_open
from snnir.ir.ops import Expand, IsInf, IsNan
from snnir.ir.types import DTYPES

__all__ = ["answered"]


@handler("IsNaN", "is_nan", "expand")
def is_nan(call: Call) -> list[Result]:
    """On the host, of what it computes from inputs that reach nothing else. Elsewhere false where nothing on the way from
    the inputs, which are finite, can give NaN, and refused where something can. What a mask hides is minus infinity.
    """
    return answered(call, 0, IsNan())


@handler("IsInf", "is_inf", "expand")
def is_inf(call: Call) -> list[Result]:
    """As IsNaN; of either sign, or of one."""
    return answered(call, 0, IsInf(bool(call.integer("detect_positive", 1)), bool(call.integer("detect_negative", 1))))


def answered(call: Call, index: int, question: Op) -> list[Result]:
    """Whether the elements of an operand are what `question` asks for."""
    x = real(call, index)
    if is_open(call.scope.questions, x, call.scope.parent is not None):
        return [call.emit(question, x)]
    found = hidden(call, x, question)
    if isinstance(found, np.ndarray):
        return [found != 0]
    if found is not None:
        call.scope.flags.add(found)
        return [found]
    if not any(isinstance(size, Dim) for size in x.type.shape):
        return [np.zeros(call.static(x.type.shape, "truth"), np.bool_)]
    result = call.emit(Expand(x.type.shape), call.array("never", np.zeros((1,) * x.type.rank, DTYPES[x.type.dtype])))
    call.scope.flags.add(result)
    return [result]
