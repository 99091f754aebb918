"""Questions for infinities and NaN: the answer is no wherever nothing on the way can give one."""

from __future__ import annotations

from snnir.frontends.torch.call import Call
from snnir.frontends.torch.handlers.shapes import filled
from snnir.frontends.torch.registry import Entry, RefusalError, handler
from snnir.ir.lowering.finite import source_of_infinity

__all__: list[str] = []


def _always(operator: str, answer: bool) -> None:
    @handler(f"aten.{operator}", "expand")
    def always(call: Call) -> Entry:
        """Answered where nothing on the way from the inputs, which are finite, can give such a number; refused elsewhere."""
        x = call.value("self")
        source = "a value from around a loop's body" if call.scope.inner else source_of_infinity(x)
        if source:
            raise RefusalError(f"{source} may give infinities or NaN, and values of a network are finite: guard it instead")
        return filled(call, x.type.shape, answer)


for _name in ("isnan", "isinf", "isneginf", "isposinf"):
    _always(_name, False)
_always("isfinite", True)
