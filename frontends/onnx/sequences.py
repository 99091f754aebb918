"""ONNX's sequences of tensors, as loops use them: a list that grows by one tensor in each iteration, and a tensor in parts.

PyTorch's scripted loops append to a Python list and stack it behind the loop; `unbind` makes a list that they read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.fold import shape_array
from snnir.frontends.onnx.registry import Marker, RefusalError, Result
from snnir.frontends.onnx.static_lists import Listed, list_node, parts
from snnir.ir import Value
from snnir.ir.dims import product
from snnir.ir.ops import Gather, Reshape, Transpose

__all__ = ["LISTS", "Cut", "Grown", "Nothing", "listed", "sequence_node"]

LISTS = ("SequenceConstruct", "SequenceEmpty", "SplitToSequence", "Optional", "OptionalGetElement", "OptionalHasElement")
"""Operators that make a list of tensors, or make or take an optional value."""
_STATIC = ("SequenceAt", "SequenceErase", "SequenceLength", "ConcatFromSequence")


@dataclass(frozen=True)
class Grown(Marker):
    """A list: what the loop's state `state` holds before an element (empty at the start), then `items`."""

    state: str = ""
    items: tuple[Value, ...] = ()

    def misuse(self) -> str:
        """Why a node cannot take it."""
        return "it takes a list that a loop builds; only appending one tensor in each iteration and stacking is supported"


@dataclass(frozen=True)
class Cut(Marker):
    """The list of the parts of a tensor along `axis`, which the parts lack."""

    value: Value
    axis: int

    def misuse(self) -> str:
        """Why a node cannot take it."""
        return "it takes a list of tensors; only reading one of them and stacking all of them is supported"


@dataclass(frozen=True)
class Nothing(Marker):
    """An optional value that is not there. One that is there is what it holds."""

    def misuse(self) -> str:
        """Why a node cannot take it."""
        return "it takes an optional value that is not there"


def listed(entry: object) -> Listed | None:
    """The list that a name stands for, where all its tensors are known to be these."""
    if isinstance(entry, Grown) and not entry.state:
        return Listed(entry.items)
    return entry if isinstance(entry, Listed) else None


def _optional(operator: str, first: object) -> list[Result]:
    there = first is not None and not isinstance(first, Nothing)
    if operator == "OptionalHasElement":
        return [np.array(there)]
    if isinstance(first, Value | np.ndarray | Marker) and (there or operator == "Optional"):
        return [first]
    if operator == "Optional":
        return [Nothing()]
    raise RefusalError(Nothing().misuse())


def sequence_node(call: Call, operands: Sequence[object]) -> list[Result] | None:
    """Results of a node that makes or takes a list; None for all others. Raises `RefusalError`.

    `call` has the node's tensors as operands; `operands` holds its lists too.
    """
    operator, first = call.node.op_type, operands[0] if operands else None
    if operator.startswith("Optional"):
        return _optional(operator, first)
    if operator == "SequenceEmpty":
        return [Grown()]
    if operator == "SplitToSequence":
        x = call.value(0)
        # PyTorch writes the size 1 and no keepdims, and ONNX Runtime takes that for parts without the axis
        ones = not call.has(1) or (call.known(1, "the size").ndim == 0 and call.known_integers(1, "the size") == (1,))
        if not ones or call.integer("keepdims", 1):
            return [parts(call, x)]
        return [Cut(x, call.axis(call.integer("axis", 0), x.type.rank))]
    if operator == "SequenceConstruct":
        items = (known if isinstance(known, np.ndarray) else call.value(index) for index, known in enumerate(call.operands))
        return [Listed(tuple(items))]
    whole = listed(first)
    if whole is not None and (isinstance(first, Listed) or operator in _STATIC or len(call.operands) == 3):
        return list_node(call, whole)
    if not isinstance(first, Grown | Cut | Nothing):
        return None
    if operator == "Identity":
        return [first]
    if operator == "SequenceInsert" and isinstance(first, Grown) and len(call.operands) == 2:
        return [Grown(first.state, (*first.items, call.value(1)))]
    if isinstance(first, Cut):
        value = call.scope.capture(first.value)
        if operator == "SequenceLength":
            return [shape_array((value.type.shape[first.axis],)).reshape(())]
        if operator == "SequenceAt":
            (index,) = call.known_integers(1, "the position in a list")
            return [call.emit(Gather(first.axis, (index,), ()), value)]
        if operator == "ConcatFromSequence":
            return [_joined(call, value, first.axis)]
    raise RefusalError(first.misuse())


def _joined(call: Call, value: Value, cut: int) -> Value:
    """The parts of `value` along `cut` stacked along a new axis, or side by side along one of theirs."""
    stack = bool(call.integer("new_axis", 0))
    rank = value.type.rank
    axis = call.axis(call.integer("axis", 0), rank if stack else rank - 1)
    rest = [place for place in range(rank) if place != cut]
    perm = (*rest[:axis], cut, *rest[axis:])
    if perm != tuple(range(rank)):
        value = call.emit(Transpose(perm), value, label="" if stack else "parts")
    if stack:
        return value
    shape = value.type.shape
    return call.emit(Reshape((*shape[:axis], product(shape[axis : axis + 2]), *shape[axis + 2 :])), value)
