"""Complex numbers while importing: the IR knows real ones only, so a complex value is two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snnir.frontends.torch.registry import RefusalError
from snnir.ir import Shape, Value
from snnir.ir.ops import Concat, Gather, Reshape

if TYPE_CHECKING:
    from snnir.frontends.torch.call import Call
    from snnir.frontends.torch.registry import Entry

__all__ = ["Complex", "is_complex"]


class Complex:
    """Real and imaginary parts, as one value with both along a last axis, or as two values; each is made when asked for."""

    def __init__(self, name: str, given: Value | tuple[Value, Value]) -> None:
        self.name, self._given = name, given
        self._made: dict[str, Value] = {}

    @property
    def shape(self) -> Shape:
        """The shape as PyTorch sees it."""
        return self._given.type.shape[:-1] if isinstance(self._given, Value) else self._given[0].type.shape

    def pairs(self, call: Call) -> Value:
        """[..., 2]."""
        if isinstance(self._given, Value):
            return self._given
        if "pairs" not in self._made:
            shape = (*self.shape, 1)
            rows = [
                call.graph.add1(Reshape(shape), part, name=f"{self.name}.{label}.row", origin=call.origin)
                for part, label in zip(self._given, ("real", "imag"), strict=True)
            ]
            whole = call.graph.add1(Concat(len(shape) - 1), *rows, name=f"{self.name}.pairs", origin=call.origin)
            self._made["pairs"] = whole
        return self._made["pairs"]

    def parts(self, call: Call) -> tuple[Value, Value]:
        """Real and imaginary parts."""
        if not isinstance(self._given, Value):
            return self._given
        if not self._made:
            axis = self._given.type.rank - 1
            for place, label in enumerate(("real", "imag")):
                op = Gather(axis, (place,), ())
                self._made[label] = call.graph.add1(op, self._given, name=f"{self.name}.{label}", origin=call.origin)
        return self._made["real"], self._made["imag"]

    @classmethod
    def of(cls, call: Call, entry: Entry, name: str) -> Complex:
        """A complex argument, known or not. Raises `RefusalError` for others."""
        if isinstance(entry, Complex):
            return entry
        if isinstance(entry, complex):
            entry = torch.tensor(entry)
        if not isinstance(entry, torch.Tensor) or not entry.is_complex():
            raise RefusalError(f"its {name} holds no complex numbers")
        known = torch.view_as_real(entry.detach().resolve_conj())
        real, imag = (call.constant(f"{name}.{label}", known[..., place]) for place, label in enumerate(("real", "imag")))
        return cls(call.name(name), (real, imag))


def is_complex(entry: Entry) -> bool:
    """Whether an entry holds complex numbers."""
    return isinstance(entry, Complex | complex) or (isinstance(entry, torch.Tensor) and entry.is_complex())
