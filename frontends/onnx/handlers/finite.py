"""Questions for infinities and NaN: the answer is no wherever nothing on the way can give one."""

from __future__ import annotations

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.compose import real
from snnir.frontends.onnx.registry import RefusalError, Result, handler
from snnir.ir import Dim
from snnir.ir.lowering.finite import source_of_infinity
from snnir.ir.ops import Expand
from snnir.ir.types import DTYPES

__all__: list[str] = []


def _never(operator: str) -> None:
    @handler(operator, "expand")
    def never(call: Call) -> list[Result]:
        """False where nothing on the way from the inputs, which are finite, can give such a number; refused elsewhere."""
        x = real(call, 0)
        source = "a value from around a loop's body" if call.scope.parent is not None else source_of_infinity(x)
        if source:
            raise RefusalError(f"{source} may give infinities or NaN, and values of a network are finite: guard it instead")
        if not any(isinstance(size, Dim) for size in x.type.shape):
            return [np.zeros(call.static(x.type.shape, "truth"), np.bool_)]
        result = call.emit(Expand(x.type.shape), call.array("never", np.zeros((1,) * x.type.rank, DTYPES[x.type.dtype])))
        call.scope.flags.add(result)
        return [result]


_never("IsInf")
_never("IsNaN")
