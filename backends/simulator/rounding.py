"""What the kernel rounds itself: reals of float32, where the host's last step is at most a factor for each of their elements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from snnir.ir.graph import Graph, Node, Value
from snnir.ir.ops import Encode, Mul
from snnir.machine.host import fixed_values

__all__ = ["Rounded", "rounded", "unmultiplied", "unseen_inputs"]


@dataclass(frozen=True, eq=False)
class Rounded:
    """The reals f32[N, ...] of `value`, times `factors` float32[...] where there are any, are rounded half up to levels."""

    value: Value
    factors: np.ndarray | None = None


def rounded(node: Node) -> Rounded | None:
    """What the kernel rounds of an encoder, sample by sample; None where the host finds the levels."""
    op = node.op
    if not isinstance(op, Encode) or op.rounding != "half-up" or op.single or not _is_real(node.operands[0]):
        return None
    value = node.operands[0]
    product = value.producer
    if product is None or not isinstance(product.op, Mul) or any(user is None or not _rounds(user) for user, _ in value.uses):
        return Rounded(value)
    for given, factor in (product.operands, product.operands[::-1]):
        if factor.is_constant and given.type == value.type and (factors := _factors(factor.array, value.type.rank)) is not None:
            return Rounded(given, factors)
    return Rounded(value)


def _factors(array: np.ndarray, rank: int) -> np.ndarray | None:
    """Factors for each sample of a value of so many axes; None where they are not the same for all, or not finite, or 0: 0 times
    infinity is no number, which the kernel does not look for."""
    if array.ndim == rank:
        if len(array) != 1:
            return None
        array = array[0]
    return array if array.dtype == np.float32 and np.isfinite(array).all() and array.all() else None


def _rounds(node: Node) -> bool:
    op = node.op
    return isinstance(op, Encode) and op.rounding == "half-up" and not op.single


def _is_real(value: Value) -> bool:
    return value.type.dtype == "f32" and value.type.batch_axis == 0


def _encoders(graph: Graph) -> Iterable[tuple[Node, Rounded]]:
    for _, node in graph.walk():
        found = rounded(node)
        if found is not None:
            yield node, found


def unmultiplied(graph: Graph) -> set[Value]:
    """The products, in bodies too, that the kernel computes while it rounds them, so that the host need not."""
    fixed = fixed_values(graph, {})  # these are rounded by the host, once
    encoders = [node for node, found in _encoders(graph) if found.factors is not None and node.output not in fixed]
    return {node.operands[0] for node in encoders}


def unseen_inputs(graph: Graph) -> set[str]:
    """Inputs that meet nothing but what the kernel rounds, and looks for NaN and infinities in."""
    products = unmultiplied(graph)

    def alone(value: Value) -> bool:
        return all(node is not None and (rounded(node) is not None or node.outputs[0] in products) for node, _ in value.uses)

    return {value.name for value in graph.inputs if value.uses and alone(value)}
