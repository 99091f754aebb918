"""Whether the windows of convolutions and pools fit into data of given sizes; what is too small is refused by name."""

from __future__ import annotations

from collections.abc import Mapping

from snnir.errors import InputError
from snnir.ir.dims import Dimension, names_of, substitute
from snnir.ir.graph import Graph, Node
from snnir.ir.ops import AveragePool, Conv, MaxPool, MaxPoolPlaces
from snnir.ir.ops.rules import pad_amounts

__all__ = ["check_windows"]

_LARGEST = 1 << 20
"""Up to here the least size that fits is looked for."""


def check_windows(graph: Graph, sizes: Mapping[str, int]) -> None:
    """Make sure that every window fits into what there is, where the open sizes measure `sizes`.

    Raises `InputError` naming the node, its window, what it finds, and the least open size that would do.
    """
    for where, node in graph.walk():
        if not isinstance(node.op, Conv | AveragePool | MaxPool | MaxPoolPlaces):
            continue
        for axis, size in enumerate(node.output.type.shape[2:]):
            if not _fits(size, sizes):
                raise InputError(_message(where, node, axis, sizes))


def _fits(positions: Dimension, sizes: Mapping[str, int]) -> bool:
    measured = substitute(positions, sizes)
    return not isinstance(measured, int) or measured > 0


def _message(graph: Graph, node: Node, axis: int, sizes: Mapping[str, int]) -> str:
    op, taken = node.op, node.operands[0].type.shape[2 + axis]
    found = substitute(taken, sizes)
    assert isinstance(op, Conv | AveragePool | MaxPool | MaxPoolPlaces)
    kernel = node.operands[1].type.shape[2 + axis] if isinstance(op, Conv) else op.kernel[axis]
    assert isinstance(kernel, int)
    begin, end = pad_amounts(op.padding, node.operands[0].type.rank - 2)[axis]
    padded = f" and a padding of {begin + end}" if begin + end else ""
    window = op.dilation[axis] * (kernel - 1) + 1
    said = f"the data are too small: {node.describe()} has a window of {window} and finds {found}{padded}"
    least = _least(graph, node, axis, sizes)
    return said + (f"; {least}" if least else f" along its axis {2 + axis}; give larger data")


def _least(graph: Graph, node: Node, axis: int, sizes: Mapping[str, int]) -> str:
    """The least size that the only open size of an axis may have, for all nodes."""
    names = names_of(node.output.type.shape[2 + axis]) & set(sizes)
    if len(names) != 1:
        return ""
    (name,) = names
    windows = [
        size
        for _, each in graph.walk()
        if isinstance(each.op, Conv | AveragePool | MaxPool | MaxPoolPlaces)
        for size in each.output.type.shape[2:]
        if name in names_of(size)
    ]
    low, high = sizes[name], sizes[name] + 1
    while high <= _LARGEST and not all(_fits(size, {**sizes, name: high}) for size in windows):
        low, high = high, 2 * high
    if high > _LARGEST:
        return ""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if all(_fits(size, {**sizes, name: middle}) for size in windows) else (middle, high)
    return f"{name} is {sizes[name]} and must be {high} or more"
