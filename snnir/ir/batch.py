"""Where the batch is in every value of a graph, and which nodes mix its samples.

A value holds the batch in one axis: alone (`N`), or folded with others into one (`T*N`, `N*H`), as reshapes write it. The
axis follows from the types. What stands outside and inside of the batch in a folded axis follows from the way there: a
reshape keeps the row-major order of elements, so as many of them stand before one step of the batch as before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from snnir.errors import GraphError
from snnir.ir.dims import BATCH, Dimension, Shape, dim, product, substitute
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.op import Trait
from snnir.ir.ops import (
    Concat,
    Conv,
    Extend,
    Gather,
    Linear,
    NonMaxSuppression,
    Pad,
    Pool,
    Recurrent,
    Reshape,
    ReverseParts,
    Scan,
    Slice,
    TakeAlong,
)

__all__ = ["Mixing", "Place", "Places", "batch_places", "holds_batch", "per_sample"]


@dataclass(frozen=True)
class Place:
    """The batch in `axis`, whose size is `before * N * after`."""

    axis: int
    before: Dimension = 1
    after: Dimension = 1

    @property
    def alone(self) -> bool:
        """Whether the axis is the batch and nothing else."""
        return self.before == 1 and self.after == 1


@dataclass(frozen=True)
class Mixing:
    """A node whose results for one sample would depend on the others, and how."""

    node: Node
    reason: str


Places = Mapping[Value, Place]


def holds_batch(size: Dimension) -> bool:
    """Whether the size depends on the batch."""
    return not isinstance(size, int) and substitute(size, {BATCH: 1}) != size


def per_sample(shape: Shape) -> Shape:
    """The shape for a batch of one sample."""
    return tuple(substitute(size, {BATCH: 1}) for size in shape)


def batch_places(graph: Graph, given: Places | None = None) -> tuple[dict[Value, Place], list[Mixing]]:
    """The place of the batch in every value that has one, bodies included, and all nodes that mix samples.

    `given` are places of the graph's inputs that the types do not tell. What comes behind a node that mixes samples has
    no place, and is not looked at further.
    """
    found: dict[Value, Place] = dict(given or {})
    mixing: list[Mixing] = []
    lost: set[Value] = set()
    for value in graph.inputs:
        if value not in found:
            place = _by_type(value.type.shape)
            if isinstance(place, Place):
                found[value] = place
    for node in graph.nodes:
        if any(value in lost for value in node.operands):
            lost.update(node.outputs)
            continue
        if isinstance(node.op, NonMaxSuppression):  # a list over all samples, which says whose each entry is
            lost.update(node.outputs)
            continue
        reason = _visit(node, found, mixing)
        if reason:
            mixing.append(Mixing(node, reason))
            lost.update(node.outputs)
    return found, mixing


def _visit(node: Node, found: dict[Value, Place], mixing: list[Mixing]) -> str:
    """Enter the places of the node's results; how it mixes samples, or nothing."""
    holding = [value for value in node.operands if value in found]
    for value in holding:
        place = found[value]
        if place.axis in _along(node, value):
            return f"it computes along the batch (axis {place.axis} of {value.type})"
    if isinstance(node.op, Scan) and node.body is not None:
        inner = dict(_body_places(node, node.op, found))
        places, inside = batch_places(node.body, inner)
        found.update(places)
        mixing += inside
        if inside:
            return ""
    for value in node.outputs:
        result = _result(node, value, holding, found)
        if isinstance(result, str):
            return result
        if result is not None:
            found[value] = result
    return ""


def _result(node: Node, value: Value, holding: Sequence[Value], found: Places) -> Place | str | None:
    """The place of a result: its axis by its type, what is folded into that by the operands."""
    place = _by_type(value.type.shape)
    if isinstance(place, str):
        return place
    if place is None:
        return f"what it gives ({value.type}) has no batch: it puts samples together" if holding else None
    if isinstance(node.op, Reshape) and holding:
        return _reshaped(holding[0], value, found[holding[0]], place)
    if isinstance(node.op, Concat) and any(found[operand].axis == node.op.axis for operand in holding):
        return _joined(node, value, place, holding, found)
    factors = {(found[operand].before, found[operand].after) for operand in holding}
    if isinstance(node.op, Scan) and node.body is not None:
        inner = list(node.body.outputs.values())[list(node.outputs).index(value)]
        factors = {(found[inner].before, found[inner].after)} if inner in found else factors
    if len(factors) > 1:
        return f"the batch stands at different places in its operands ({', '.join(str(item.type) for item in holding)})"
    size = substitute(value.type.shape[place.axis], {BATCH: 1})
    before, after = next(iter(factors), (1, size))
    if before * after != size:
        return f"it changes the batch, of {', '.join(str(item.type) for item in holding)} into {value.type}"
    return Place(place.axis, before, after)


def _by_type(shape: Shape) -> Place | str | None:
    """The place that follows from the type alone; a sentence where none can be."""
    axes = [axis for axis, size in enumerate(shape) if holds_batch(size)]
    if not axes:
        return None
    if len(axes) > 1:
        return "its result has an element for every pair of samples"
    size = shape[axes[0]]
    once = substitute(size, {BATCH: 1})
    if once * dim(BATCH) != size:
        return f"its result has {size} elements along the batch"
    return Place(axes[0], 1, once)


def _reshaped(x: Value, result: Value, old: Place, new: Place) -> Place | str:
    """Row-major order is kept: as many elements stand before a step of the batch as before."""
    ahead = product(x.type.shape[: old.axis]) * old.before
    size = substitute(result.type.shape[new.axis], {BATCH: 1})
    outside = product(result.type.shape[: new.axis])
    before = _divided(ahead, outside)
    after = None if before is None else _divided(size, before)
    if before is None or after is None:
        return f"it reshapes {x.type} to {result.type}, in which samples are no longer apart"
    return Place(new.axis, before, after)


def _divided(a: Dimension, b: Dimension) -> Dimension | None:
    """`a / b` where it has no remainder."""
    if a == b:
        return 1
    if b == 1:
        return a
    try:
        quotient = a // b
    except (GraphError, ZeroDivisionError):
        return None
    return quotient if quotient * b == a else None


def _joined(node: Node, value: Value, place: Place, holding: Sequence[Value], found: Places) -> Place | str:
    """Parts joined along the batch stand outside of it: [N] and [N] make [2 N]."""
    parts = [found[operand] for operand in holding]
    if len(holding) < len(node.operands) or any(part.after != parts[0].after for part in parts):
        return "it joins samples with what is no sample"
    if any(part.axis != place.axis for part in parts):
        return "it joins samples along another axis than theirs"
    before: Dimension = 0
    for part in parts:
        before = before + part.before
    return Place(place.axis, before, parts[0].after)


def _body_places(node: Node, op: Scan, found: Places) -> Iterator[tuple[Value, Place]]:
    folded: dict[Dimension, Place] = {}
    for outer, inner in zip(node.operands, node.inner.inputs, strict=True):
        by_type = _by_type(inner.type.shape)
        if not isinstance(by_type, Place):
            continue
        place = by_type
        if outer in found:
            place = Place(by_type.axis, found[outer].before, found[outer].after)
            folded.setdefault(inner.type.shape[by_type.axis], place)
        yield inner, place
    for inner in node.inner.inputs[: op.states]:  # an initial state that is the same for all samples says nothing of them
        by_type = _by_type(inner.type.shape)
        if isinstance(by_type, Place) and node.operands[list(node.inner.inputs).index(inner)] not in found:
            like = folded.get(inner.type.shape[by_type.axis], by_type)
            yield inner, Place(by_type.axis, like.before, like.after)


def _along(node: Node, value: Value) -> set[int]:
    """Axes of an operand that the node computes along, where its result need not show it."""
    op, rank = node.op, value.type.rank
    if value is not node.operands[0] and not isinstance(op, Scan):
        return set()
    if op.has(Trait.ALONG_AXIS) or isinstance(op, Gather | ReverseParts | TakeAlong):
        return {int(vars(op)["axis"]) % rank}
    if isinstance(op, Slice):
        return set() if (op.start, op.stop, op.step) == (None, None, 1) else {op.axis % rank}
    if isinstance(op, Linear):
        return {rank - 1}
    if isinstance(op, Pad | Extend):
        half = len(op.padding) // 2
        return {axis for axis in range(half) if op.padding[axis] or op.padding[half + axis]}
    if isinstance(op, Conv):
        return {1, *_moving(node.operands[1].type.shape[2:], op.stride, op.padding)}
    if isinstance(op, Pool):
        return _moving(op.kernel, op.stride, op.padding)
    if isinstance(op, Recurrent):
        return {1, 2}
    if isinstance(op, Scan) and any(value is operand for operand in node.operands[op.states : op.states + op.elements]):
        return {op.axis}
    return set()


def _moving(kernel: Sequence[Dimension], stride: Sequence[int], padding: Sequence[int]) -> set[int]:
    """Axes along which a window is more than one element, or leaves some out."""
    count = len(kernel)
    ends = [padding[axis] or padding[axis + count] for axis in range(count)] if padding else [0] * count
    return {axis + 2 for axis in range(count) if kernel[axis] != 1 or stride[axis] != 1 or ends[axis]}
