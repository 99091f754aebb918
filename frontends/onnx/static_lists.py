"""Lists of tensors whose places are known while importing: what is read from them is data movement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.registry import Known, Marker, RefusalError, Result
from snnir.ir import Value
from snnir.ir.ops import Concat, Reshape, Slice

__all__ = ["Listed", "list_node", "parts"]


@dataclass(frozen=True)
class Listed(Marker):
    """A list of tensors."""

    items: tuple[Value | Known, ...]

    def misuse(self) -> str:
        """Why a node cannot take it."""
        return (
            "it takes a list of tensors; supported are reading, adding and taking away at known places, its length, and "
            "joining all of it"
        )


def parts(call: Call, x: Value) -> Listed:
    """`SplitToSequence`: parts of one size or of sizes that are known; without keepdims, parts of size 1 lose the axis."""
    axis = call.axis(call.integer("axis", 0), x.type.rank)
    (total,) = call.static((x.type.shape[axis],), "the axis that is split")
    if call.has(1) and call.known(1, "the sizes").ndim:
        sizes = list(call.known_integers(1, "the sizes"))
    else:
        (each,) = call.known_integers(1, "the size") if call.has(1) else (1,)
        if each < 1:
            raise RefusalError(f"it splits into parts of size {each}; sizes are 1 or more")
        sizes = [min(each, total - start) for start in range(0, total, each)]
    if sum(sizes) != total:
        raise RefusalError(f"it splits {total} elements into parts of {sizes}")
    items: list[Value | Known] = []
    for index, (start, size) in enumerate(zip(np.cumsum([0, *sizes[:-1]]).tolist(), sizes, strict=True)):
        item = call.emit(Slice(axis, start, start + size), x, label=f"part{index}")
        if not call.has(1) and not call.integer("keepdims", 1):
            shape = (*item.type.shape[:axis], *item.type.shape[axis + 1 :])
            item = call.emit(Reshape(shape), item, label=f"part{index}.flat")
        items.append(item)
    return Listed(tuple(items))


def list_node(call: Call, given: Listed) -> list[Result]:
    """What a node makes of a list. Raises `RefusalError`."""
    operator, items = call.node.op_type, given.items
    if operator == "Identity":
        return [given]
    if operator == "SequenceLength":
        return [np.array(len(items), np.int64)]
    if operator == "SequenceAt":
        return [_own(call, items[_place(call, 1, len(items))])]
    if operator == "SequenceErase":
        place = _place(call, 1, len(items)) if call.has(1) else len(items) - 1
        return [Listed((*items[:place], *items[place + 1 :]))]
    if operator == "SequenceInsert":
        added = call.operands[1]
        place = _place(call, 2, len(items) + 1) if call.has(2) else len(items)
        tensor = added if isinstance(added, np.ndarray) else call.value(1)
        return [Listed((*items[:place], tensor, *items[place:]))]
    if operator == "ConcatFromSequence":
        return [_joined(call, [_value(call, item, index) for index, item in enumerate(items)])]
    raise RefusalError(given.misuse())


def _place(call: Call, operand: int, count: int) -> int:
    (place,) = call.known_integers(operand, "the position in a list")
    if not -count <= place < count:
        raise RefusalError(f"position {place} in a list of {count}")
    return place % count


def _own(call: Call, item: Value | Known) -> Value | Known:
    return call.scope.capture(item) if isinstance(item, Value) else item


def _value(call: Call, item: Value | Known, index: int) -> Value:
    return call.scope.capture(item) if isinstance(item, Value) else call.constant(f"{call.name()}.item{index}", item)


def _joined(call: Call, values: Sequence[Value]) -> Value:
    """All tensors of a list along one of their axes, or stacked along a new one."""
    if not values:
        raise RefusalError("it joins an empty list")
    stack = bool(call.integer("new_axis", 0))
    axis = call.axis(call.integer("axis", 0), values[0].type.rank + stack)
    if stack:
        rows = []
        for index, value in enumerate(values):
            shape = (*value.type.shape[:axis], 1, *value.type.shape[axis:])
            rows.append(call.emit(Reshape(shape), value, label=f"row{index}"))
        values = rows
    return call.emit(Concat(axis), *values)
