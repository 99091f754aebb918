"""Operands as handlers take them, and the compositions of ops that all frontends share (`snnir.ir.lowering`)."""

from __future__ import annotations

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.registry import Known, Marker, RefusalError
from snnir.ir import Value
from snnir.ir.lowering.compose import (
    along_axis,
    constant,
    largest,
    largest_over,
    minus,
    plus,
    reshaped,
    sum_over,
    times,
    transposed,
)
from snnir.ir.ops import Expand

__all__ = [
    "along_axis",
    "constant",
    "largest",
    "largest_over",
    "minus",
    "plus",
    "real",
    "reduced",
    "reshaped",
    "spread_from",
    "sum_over",
    "times",
    "transposed",
]


def real(call: Call, index: int) -> Value:
    """An operand that must hold real numbers. Raises `RefusalError`."""
    value = call.value(index)
    if not value.type.is_real:
        raise RefusalError(f"it computes with {value.type.dtype}; only real numbers are imported")
    return value


def reduced(call: Call, operand: int = 1) -> tuple[int, ...] | None:
    """Axes that a reduction takes away, from an attribute or operand; None where it takes none."""
    rank = call.type(0).rank
    axes = call.known_integers(operand, "the axes") if call.has(operand) else call.integers("axes", ())
    if not axes and call.integer("noop_with_empty_axes", 0):
        return None
    return tuple(sorted({call.axis(axis, rank) for axis in axes or range(rank)}))


def spread_from(operand: Value | Known | Marker | None) -> Value | Known | Marker | None:
    """The known tensor that was spread to an operand, or the operand itself where nothing was."""
    node = operand.producer if isinstance(operand, Value) else None
    spread = node is not None and isinstance(node.op, Expand) and node.operands[0].is_constant
    return node.operands[0].array if node is not None and spread else operand
