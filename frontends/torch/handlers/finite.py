"""Questions for infinities and NaN: the host's, or answered wherever nothing on the way can give one."""

from __future__ import annotations

from snnir.frontends.torch.call import Call
from snnir.frontends.torch.handlers.shapes import filled
from snnir.frontends.torch.registry import Entry, handler
from snnir.ir import Op
from snnir.ir.lowering.finite import is_open
from snnir.ir.ops import IntNot, IntOr, IsInf, IsNan

__all__: list[str] = []

_TOLD = (
    "On the host, of what it computes from inputs that reach nothing else. Elsewhere answered where nothing on the way from "
    "the inputs, which are finite, can give such a number, and refused where something can."
)


def _question(operator: str, op: Op) -> None:
    def answered(call: Call) -> Entry:
        x = call.value("self")
        if is_open(call.scope.questions, x, call.scope.inner):
            return call.emit(op, x)
        return filled(call, x.type.shape, False)

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
        return filled(call, x.type.shape, True)
    either = call.emit(IntOr(), call.emit(IsNan(), x, label="nan"), call.emit(IsInf(), x, label="infinite"), label="either")
    return call.emit(IntNot(), either)


is_finite.__doc__ = _TOLD
