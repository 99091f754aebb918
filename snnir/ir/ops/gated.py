"""Activations of one value that are its product with an increasing function of it: SiLU, hard swish, GELU, mish."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import numpy as np

from snnir.errors import GraphError
from snnir.ir.op import OPS, Example, register
from snnir.ir.ops.activation import Elementwise
from snnir.ir.ops.host import ElementFunction
from snnir.ir.ops.rules import example

__all__ = ["Gated"]


@register
@dataclass(frozen=True)
class Gated(ElementFunction):
    """`x gate(scale x + shift)`: it falls before it rises.

    `gate` is the name of an increasing function (`sigmoid`, `hard_sigmoid`, `gelu_gate`, `clip` ...; `mish` is
    `tanh(softplus(x))`), and `arguments` are its attributes.
    """

    name = "gated"

    gate: str = "sigmoid"
    arguments: tuple[float, ...] = ()
    scale: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        self.gates()

    def gates(self) -> tuple[Elementwise, ...]:
        """The increasing functions, one after another, that the gate is made of."""
        kinds = [OPS.get(name) for name in (("softplus", "tanh") if self.gate == "mish" else (self.gate,))]
        found = []
        for kind in kinds:
            if kind is None or not issubclass(kind, Elementwise) or len(self.arguments) > len(fields(kind)):
                raise GraphError(f"gated knows no gate {self.gate!r} with {len(self.arguments)} attributes")
            made = kind()
            values = {
                item.name: type(getattr(made, item.name))(number)
                for item, number in zip(fields(kind), self.arguments, strict=False)
            }
            found.append(replace(made, **values))
        return tuple(found)

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        inner = (self.scale * x + self.shift).astype(x.dtype, copy=False)
        for gate in self.gates():
            (inner,) = gate.evaluate(inner)
        return ((x * inner).astype(x.dtype, copy=False),)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        x = np.linspace(-4, 4, 10, dtype=np.float32).reshape(2, 5)
        yield example(cls(), x)
        yield example(cls("hard_sigmoid", (1 / 6, 0.5)), x)
        yield example(cls("clip", (0.0, 6.0), 1.0, 3.0), x)
        yield example(cls("gelu_gate", (1.0,)), x)
        yield example(cls("mish"), x)
