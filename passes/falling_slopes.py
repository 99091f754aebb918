"""PReLU with slopes below 0: the larger of two increasing functions, for the channels that need it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from snnir.ir import Graph, Node, Value
from snnir.ir.ops import Add, Concat, Conv, Gather, Linear, MaxPool, Movement, Observe, PRelu, Relu, Reshape, Transpose
from snnir.ir.rewrite import Rewriter

__all__ = ["LargerOfTwo", "larger_of_two", "observed_pairs"]


@dataclass(frozen=True)
class LargerOfTwo:
    """What `larger_of_two` wrote, with observers on both functions."""

    rising: Node
    falling: Node
    axis: int
    places: np.ndarray
    """The channels of `rising` that those of `falling` meet, in their order."""
    result: Value


def larger_of_two(rewriter: Rewriter, x: Value, slopes: np.ndarray, name: str) -> Value | None:
    """`max(x, slope x)` where slopes are negative, a PReLU of x elsewhere; None where x is no sum that can be weighed in parts.

    With a slope a < 0, `max(x, 0) + a min(x, 0) = max(relu(x), relu(a x))`: two populations that never fire together, with one
    scale, and a maximum, which rounds nothing. `slopes` spread over the last axes of a sample, and differ along one axis.
    """
    shape, rank = slopes.shape, x.type.rank
    axes = [axis for axis, size in enumerate(shape) if size > 1]
    if len(axes) != 1:
        return None
    axis, numbers = rank - len(shape) + axes[0], slopes.reshape(-1)
    falling = np.flatnonzero(numbers < 0)
    side = _part(rewriter, x, axis, falling, numbers[falling])
    if side is None:
        return None
    op = PRelu(tuple(float(number) for number in np.maximum(numbers, 0)), tuple(shape))
    whole = rewriter.emit(op, x, name=f"{name}.rising")
    other = rewriter.emit(Relu(), side, name=f"{name}.falling")
    count = len(numbers)
    own = whole if len(falling) == count else rewriter.emit(_gather(axis, falling), whole, name=f"{name}.own")
    most = _maximum(rewriter, own, other, axis, len(falling), name)
    if len(falling) == count:
        return most
    places = np.arange(count)
    places[falling] = count + np.arange(len(falling))
    both = rewriter.emit(Concat(axis), whole, most, name=f"{name}.parts")
    return rewriter.emit(_gather(axis, places), both, name=name)


def _gather(axis: int, places: np.ndarray) -> Gather:
    return Gather(axis, tuple(int(place) for place in places), (len(places),))


def _maximum(rewriter: Rewriter, first: Value, second: Value, axis: int, count: int, name: str) -> Value:
    """The larger of two values: a max pool over their `count` channels, one behind the other, with one of each in a window."""
    rank, shape = first.type.rank, first.type.shape
    both = rewriter.emit(Concat(axis), first, second, name=f"{name}.both")
    order = list(range(rank))
    if rank == 2:
        both = rewriter.emit(Reshape((shape[0], 1, 2 * count)), both, name=f"{name}.row")
        place = 2
    elif axis == 1:  # a pool leaves axes 0 and 1 alone
        order[1], order[2] = 2, 1
        both = rewriter.emit(Transpose(tuple(order)), both, name=f"{name}.turned")
        place = 2
    else:
        place = axis
    spatial = both.type.rank - 2
    kernel, dilation = [1] * spatial, [1] * spatial
    kernel[place - 2], dilation[place - 2] = 2, count
    most = rewriter.emit(
        MaxPool(tuple(kernel), (1,) * spatial, (0,) * (2 * spatial), tuple(dilation)), both, name=f"{name}.larger"
    )
    if rank == 2:
        return rewriter.emit(Reshape(shape), most, name=f"{name}.flat")
    return rewriter.emit(Transpose(tuple(order)), most, name=f"{name}.back") if axis == 1 else most


def _part(rewriter: Rewriter, x: Value, axis: int, places: np.ndarray, factors: np.ndarray) -> Value | None:
    """Some channels of a sum, each times a factor; None where x is no sum of weighted values and constants."""
    node = x.producer
    if node is None:
        return None
    rank = x.type.rank
    if isinstance(node.op, Add) and node.operands[1].is_constant:
        inner, constant = _part(rewriter, node.operands[0], axis, places, factors), node.operands[1]
        if inner is None:
            return None
        array, own = constant.array, axis - rank + constant.array.ndim
        if own >= 0 and array.shape[own] > 1:
            array = array.take(places, axis=own)
        spread = [1] * array.ndim if own >= 0 else [1] * (rank - axis)
        spread[max(own, 0)] = len(places)
        return rewriter.emit(Add(), inner, _constant(rewriter, constant, array * factors.reshape(spread)), name=f"{x.name}.part")
    known = all(value.is_constant for value in node.operands[1:])
    ordinary = (isinstance(node.op, Conv) and node.op.groups == 1 and axis == 1) or (
        isinstance(node.op, Linear) and axis == rank - 1
    )
    if not known or not ordinary:
        return None
    weight, *bias = node.operands[1:]
    factor = factors.reshape(-1, *(1,) * (weight.array.ndim - 1))
    constants = [_constant(rewriter, weight, weight.array[places] * factor)]
    constants += [_constant(rewriter, value, value.array[places] * factors) for value in bias]
    return rewriter.emit(replace(node.op), node.operands[0], *constants, name=f"{x.name}.part", origin=node.origin)


def _constant(rewriter: Rewriter, old: Value, array: np.ndarray) -> Value:
    return rewriter.constant(f"{old.name}.part", array.astype(old.array.dtype))


def observed_pairs(graph: Graph) -> dict[Node, LargerOfTwo]:
    """The `observe` nodes of increasing functions whose maximum with another one `larger_of_two` wrote, by the first of both."""
    found = {}
    for _, node in graph.walk():
        if not isinstance(node.op, Concat) or len(node.operands) != 2:
            continue
        own, other = (value.producer for value in node.operands)
        source = own.operands[0].producer if own is not None and isinstance(own.op, Gather) else own
        if (
            own is None
            or source is None
            or other is None
            or not (isinstance(source.op, Observe) and isinstance(other.op, Observe))
        ):
            continue
        width = node.operands[1].type.shape[node.op.axis]
        places = np.array(own.op.indices) if isinstance(own.op, Gather) else np.arange(int(str(width)))
        result = _result(node, source, len(places) < int(str(source.output.type.shape[node.op.axis])))
        if result is not None:
            found[source] = LargerOfTwo(source, other, node.op.axis, places, result)
    return found


def _result(both: Node, rising: Node, in_parts: bool) -> Value | None:
    """What follows the maximum of two joined parts, in the shape of the first; None where no maximum of the two follows."""
    value, pooled, joined = both.output, False, not in_parts
    while len(value.users) == 1 and (node := value.users[0]) is not None and isinstance(node.op, Movement | MaxPool):
        pooled |= isinstance(node.op, MaxPool)
        joined |= pooled and isinstance(node.op, Concat) and node.operands[0] is rising.output
        value = node.output
        if pooled and joined and value.type.shape == rising.output.type.shape:
            return value
    return None
