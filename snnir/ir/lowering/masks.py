"""Masks of attention: minus infinity is added to what a softmax must not see.

A graph holds finite constants only. A sum with a constant that holds minus infinity becomes a sum with the finite part of
it, and `masked`, which the host computes: a softmax turns minus infinity into 0. Anything else that takes infinities is
refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from snnir.ir.dims import Shape, concrete
from snnir.ir.graph import Node, Value
from snnir.ir.lowering.builder import Builder
from snnir.ir.lowering.choose import opposite
from snnir.ir.lowering.compose import constant, times
from snnir.ir.op import Op, Trait
from snnir.ir.ops import Add, Cast, Expand, Masked, Movement, Mul, Pad
from snnir.ir.ops.rules import broadcast

__all__ = ["hides", "masked", "masked_sum", "masks_behind", "shown"]


def hides(array: object) -> bool:
    """Whether a known tensor holds minus infinity, and else finite numbers."""
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        return False
    hidden = array == -np.inf
    return bool(hidden.any() and np.isfinite(array[~hidden]).all())


def masked_sum(call: Builder, operands: Sequence[object], value: Callable[[int], Value], label: str = "") -> Value | None:
    """`x + mask` where one of two operands is a known mask, or the result of another; None for any other sum.

    `operands` hold arrays where they are known, and `value` gives one of them as a value.
    """
    for known, other in ((0, 1), (1, 0)):
        mask = operands[known]
        if isinstance(mask, np.ndarray) and hides(mask):
            x = value(other)
            finite = np.where(mask == -np.inf, mask.dtype.type(0), mask)
            if finite.any() or broadcast(x.type.shape, mask.shape) != x.type.shape:
                x = call.emit(Add(), x, constant(call, x, "bias", finite), label="biased")
            return masked(call, x, mask != -np.inf, label)
    for place, other in ((0, 1), (1, 0)):
        operand = operands[place]
        parts = _parts(call, operand) if isinstance(operand, Value) else None
        if parts is not None:
            x, keep = parts
            scores = value(other)
            nothing = _is_zero(x) and broadcast(scores.type.shape, keep.type.shape) == scores.type.shape
            return masked(call, scores if nothing else call.emit(Add(), scores, x, label="biased"), keep, label)
    return None


def masks_behind(x: Value) -> set[Node]:
    """The `masked` nodes whose minus infinity reaches `x`: moved, as the largest of lines, in sums, or under a further mask."""
    found, seen, rest = set[Node](), {x}, [x]
    while rest:
        node = rest.pop().producer
        if node is None:
            continue
        if isinstance(node.op, Masked):
            found.add(node)
        further = set(_carriers(node)) - seen
        seen |= further
        rest += further
    return found


def _carriers(node: Node) -> tuple[Value, ...]:
    """Operands whose minus infinity a node gives on, as minus infinity, and whose finite numbers stay finite."""
    if isinstance(node.op, Masked):
        return node.operands[:1]
    alone = node.op.has(Trait.SELECTS) and len(node.operands) == 1
    return node.operands if alone or isinstance(node.op, Add) else ()


def shown(call: Builder, x: Value, label: str = "shown") -> Value | np.ndarray | None:
    """Where a value behind masks (`masks_behind`) is finite: 1, and 0 where it is minus infinity.

    An array, which broadcasts to the value, where the masks are known; None where `x` comes from no mask. The largest of a
    line is finite where one of its elements is.
    """
    if not masks_behind(x):
        return None
    node = x.node
    found = [shown(call, operand, f"{label}.{place}") for place, operand in enumerate(_carriers(node))]
    if isinstance(node.op, Masked):
        keep = node.operands[1]
        found.append((keep.array != 0).astype(np.float32) if keep.is_constant else keep)
    shapes = [operand.type.shape for operand in node.operands]
    parts = [(part, shape) for part, shape in zip(found, shapes, strict=True) if part is not None]
    if not node.op.has(Trait.SELECTS):
        return _all(call, [part for part, _ in parts], x.type.shape, label)
    ((part, shape),) = parts
    if isinstance(part, np.ndarray) and all(isinstance(size, int) for size in (*shape, *x.type.shape)):
        part = np.broadcast_to(part, [concrete(size) for size in shape])
        return node.op.fill(part, 1) if isinstance(node.op, Pad) else node.op.evaluate(part)[0]
    value = call.array(f"{label}.known", part) if isinstance(part, np.ndarray) else part
    return _moved(call, node.op, _spread(call, value, shape, f"{label}.spread"), label)


def _all(call: Builder, parts: list[Value | np.ndarray], shape: Shape, label: str) -> Value | np.ndarray:
    """1 where all parts are: their product."""
    known = [part for part in parts if isinstance(part, np.ndarray)]
    changing = [part for part in parts if isinstance(part, Value)]
    array = math.prod(known[1:], start=known[0]) if known else None
    if not changing:
        assert array is not None
        return array
    result = changing[0]
    for place, part in enumerate(changing[1:]):
        result = call.emit(Mul(), result, part, label=f"{label}.both{place}")
    if array is not None:
        result = times(call, _spread(call, result, broadcast(result.type.shape, array.shape), f"{label}.wide"), array, label)
    return _spread(call, result, shape, f"{label}.all")


def _parts(call: Builder, mask: Value) -> tuple[Value, Value] | None:
    """What a masked value masks, and where it is kept, both moved as the masked value was; None for any other value."""
    ops: list[Op] = []
    node = mask.producer
    while node is not None and isinstance(node.op, Movement) and len(node.operands) == 1:
        ops.append(node.op)
        node = node.operands[0].producer
    if node is None or not isinstance(node.op, Masked):
        return None
    x, keep = node.operands
    for number, op in enumerate(reversed(ops)):
        shape = node.output.type.shape if not number else x.type.shape
        x = call.emit(op, _spread(call, x, shape, f"moved{number}.spread"), label=f"moved{number}")
        keep = _moved(call, op, _spread(call, keep, shape, f"kept{number}.spread"), f"kept{number}")
    return x, keep


def _spread(call: Builder, x: Value, shape: Shape, label: str) -> Value:
    return x if x.type.shape == shape else call.emit(Expand(shape), x, label=label)


def _moved(call: Builder, op: Op, keep: Value, label: str) -> Value:
    """What is kept of a masked value behind `op`: of the zeros that `pad` adds, all."""
    if not isinstance(op, Pad):
        return call.emit(op, keep, label=label)
    hidden = call.emit(op, opposite(call, keep, f"{label}.hidden"), label=f"{label}.padded")
    return opposite(call, hidden, label)


def _is_zero(x: Value) -> bool:
    """Whether a value is a constant 0, moved or spread or not."""
    while x.producer is not None and isinstance(x.producer.op, Movement) and len(x.producer.operands) == 1:
        if isinstance(x.producer.op, Pad):
            return False
        x = x.producer.operands[0]
    return x.is_constant and not x.array.any()


def masked(call: Builder, x: Value, keep: np.ndarray | Value, label: str = "") -> Value:
    """`x` where `keep` holds, else minus infinity."""
    kept = constant(call, x, "kept", keep.astype(np.float32)) if isinstance(keep, np.ndarray) else keep
    if kept.type.is_exact:  # truth that comes with the data: neurons stand for the real numbers 0 and 1
        kept = call.emit(Cast(x.type.dtype), kept, label="kept")
    shape = broadcast(x.type.shape, kept.type.shape)
    if x.is_constant and not kept.is_constant and x.type.shape != shape:
        x = call.emit(Expand(shape), x, label="spread")
    return call.emit(Masked(), x, kept, label=label)
