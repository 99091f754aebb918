"""Sums as lists of terms: what flows into one population or readout."""

from __future__ import annotations

from dataclasses import dataclass

from snnir.errors import UnsupportedError
from snnir.ir import Node, Value
from snnir.ir.ops import Add, Conv, Elementwise, Linear, Mul, SparseLinear

__all__ = ["WEIGHTED", "Term", "activation_chain", "terms_of"]

WEIGHTED = (Linear, Conv, SparseLinear, Mul)
"""Ops that weigh their first operand by constants."""


@dataclass(frozen=True)
class Term:
    """One summand: a weighted op (`node`), levels taken as they are (`value` of levels), or a constant (`value`)."""

    value: Value
    node: Node | None = None

    @property
    def source(self) -> Value:
        """The levels that the term weighs."""
        return self.value if self.node is None else self.node.operands[0]


def terms_of(value: Value) -> list[Term]:
    """The summands of `value`, left to right. Raises `UnsupportedError` where it is not a sum of weighted levels."""
    if value.is_constant or value.type.is_levels:
        return [Term(value)]
    node = value.producer
    if node is not None and isinstance(node.op, Add):
        return [term for operand in node.operands for term in terms_of(operand)]
    weighted = node is not None and isinstance(node.op, WEIGHTED) and node.operands[0].type.is_levels
    if node is not None and weighted and all(operand.is_constant for operand in node.operands[1:]):
        return [Term(value, node)]
    where = node.describe() if node is not None else f"input {value.name}"
    raise UnsupportedError(f"{where} is not a sum of levels weighted by constants, so no synapse can compute it")


def activation_chain(value: Value) -> tuple[Value, list[Node]]:
    """What a chain of element-wise activations starts from, and the chain, first applied first."""
    chain: list[Node] = []
    while value.producer is not None and isinstance(value.producer.op, Elementwise):
        chain.insert(0, value.producer)
        value = value.producer.operands[0]
    return value, chain
