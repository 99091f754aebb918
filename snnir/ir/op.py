"""The declaration of an op: one frozen dataclass whose fields are the op's attributes.

A declaration holds everything the rest of snnir derives: the printer and reader use the fields, the verifier and the
builder use `infer`, the reference executors use `evaluate`, the support table and the property tests use `levels`,
`docs` and `examples`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np

from snnir.errors import GraphError
from snnir.ir.types import TensorType

if TYPE_CHECKING:
    from snnir.ir.graph import Graph

__all__ = ["FLOAT", "LEVELS", "OPS", "QUANTIZED", "SPIKING", "Example", "Op", "Trait", "register"]

FLOAT, QUANTIZED, SPIKING = "float", "quantized", "spiking"
LEVELS = (FLOAT, QUANTIZED, SPIKING)
"""The three levels of a graph, in the order a model goes through them."""


class Trait(Enum):
    """What passes and backends may take for granted of an op, so that none of them keeps a list of ops."""

    ELEMENTWISE = "each element of the result is a function of the same element of the only operand, perhaps by channel"
    MONOTONE = "that function does not decrease"
    BROADCASTING = "each element of the result is a function of the same element of every operand, spread to one shape"
    ALONG_AXIS = "it computes along the axis `axis`, and every line along it by itself"
    CHANNELS = "axis 0 holds samples, axis 1 channels, the others positions; operands behind the first are parameters"
    AFFINE = "it is affine in one operand where the others are constants"
    PER_SAMPLE = "it computes every sample of its first operand by itself; the others are parameters"
    SELECTS = "every element of the result is an element of an operand, or 0; positive factors commute with it"
    OF_LEVELS = "levels give levels, without an accumulator or neurons in between"
    EMITS = "in a spiking graph it sends spikes of its own, which stand for levels"
    FINITE = "finite operands give finite results, as long as those stay within the element type"
    ROUNDS = "its operand becomes levels, which are finite"


@dataclass(frozen=True)
class Example:
    """A small legal use of an op: the op and its operand arrays with their types."""

    op: Op
    types: tuple[TensorType, ...]
    arrays: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Op:
    """Base of all ops. Subclasses are frozen dataclasses registered with `@register`."""

    name: ClassVar[str]
    """The word that stands for the op in the text form."""
    operands: ClassVar[tuple[str, ...]]
    """Names of the operands; `name?` may be left out, `name*` takes any number (last only)."""
    levels: ClassVar[tuple[str, ...]] = (FLOAT,)
    """Levels at which a graph may hold the op."""
    traits: ClassVar[frozenset[Trait]] = frozenset()
    dropped: ClassVar[tuple[str, ...]] = ()
    """Attributes that files of earlier versions give the op, and that are no longer kept."""
    host: ClassVar[bool] = False
    """Whether a spiking program leaves the op to the host, after the readouts."""

    def has(self, trait: Trait) -> bool:
        """Whether the op has a trait."""
        return trait in self.traits

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        """Types of the results for operand types `types`. Raises `GraphError` where they do not fit."""
        raise GraphError(f"op {self.name} declares no type rule")

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """The op's meaning in NumPy: results for operand arrays, in the same dtypes that `infer` promises."""
        raise GraphError(f"op {self.name} declares no meaning")

    def bind(self, sizes: Mapping[str, int]) -> Op:
        """This op with named dimensions in its attributes replaced by `sizes`."""
        return self

    def takes_any(self) -> bool:
        """Whether the meaning covers NaN and infinities (IEEE 754); only what the host computes, or moves, can say so."""
        return False

    def stored(self, types: Sequence[TensorType]) -> bool:
        """Whether `evaluate` takes levels as stored integers (True) or as the real numbers they stand for (False)."""
        return any(type_.is_sum for type_ in types)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        """Small legal uses, for the property tests."""
        return ()

    @classmethod
    def arity(cls) -> tuple[int, int | None]:
        """The least and the greatest number of operands (None: no limit)."""
        required = sum(1 for operand in cls.operands if operand[-1] not in "?*")
        return required, None if cls.operands and cls.operands[-1].endswith("*") else len(cls.operands)

    @classmethod
    def attributes(cls) -> tuple[dataclasses.Field[object], ...]:
        """The attribute fields, in order."""
        return dataclasses.fields(cls)

    def body_types(self, types: Sequence[TensorType], body: Graph | None) -> tuple[TensorType, ...]:
        """Types of the results where the node holds a body graph; ops without one refuse it."""
        if body is not None:
            raise GraphError(f"op {self.name} takes no body graph")
        return self.infer(*types)


OPS: dict[str, type[Op]] = {}
"""Every op by its name, filled by `register`."""

_OpClass = TypeVar("_OpClass", bound=type[Op])


def register(op: _OpClass) -> _OpClass:
    """Class decorator: enter an op in `OPS`."""
    if op.name in OPS:
        raise GraphError(f"op {op.name} is declared twice")
    OPS[op.name] = op
    return op
