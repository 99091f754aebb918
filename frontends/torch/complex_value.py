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

    def __init__(self, name: str, pairs: Value | None = None, parts: tuple[Value, Value] | None = None) -> None:
        assert pairs is not None or parts is not None
        self.name, self._pairs, self._parts = name, pairs, parts

    @property
    def shape(self) -> Shape:
        """The shape as PyTorch sees it."""
        if self._parts is not None:
            return self._parts[0].type.shape
        assert self._pairs is not None
        return self._pairs.type.shape[:-1]

    def pairs(self, call: Call) -> Value:
        """[..., 2]."""
        if self._pairs is None:
            assert self._parts is not None
            shape = (*self.shape, 1)
            rows = [
                call.graph.add1(Reshape(shape), part, name=f"{self.name}.{label}.row", origin=call.origin)
                for part, label in zip(self._parts, ("real", "imag"), strict=True)
            ]
            self._pairs = call.graph.add1(Concat(len(shape) - 1), *rows, name=f"{self.name}.pairs", origin=call.origin)
        return self._pairs

    def parts(self, call: Call) -> tuple[Value, Value]:
        """Real and imaginary parts."""
        if self._parts is None:
            assert self._pairs is not None
            axis = self._pairs.type.rank - 1
            real, imag = (
                call.graph.add1(Gather(axis, (place,), ()), self._pairs, name=f"{self.name}.{label}", origin=call.origin)
                for place, label in enumerate(("real", "imag"))
            )
            self._parts = real, imag
        return self._parts

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
        return cls(call.name(name), parts=(real, imag))


def is_complex(entry: Entry) -> bool:
    """Whether an entry holds complex numbers."""
    return isinstance(entry, Complex | complex) or (isinstance(entry, torch.Tensor) and entry.is_complex())
