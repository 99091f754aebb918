"""Factors of values: what it takes that a value is divided by constants, so that nothing the network computes changes.

If v becomes v / F, an op that weighs it absorbs F in its weights, and data movement hands it on. A sum whose result is to be
divided divides the weights of all its terms. F has the concrete shape of the value for two samples, so that any data movement
can be applied to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snnir.ir import Dim, Node, TensorType, Value, dims
from snnir.ir.op import Trait
from snnir.ir.ops import Add, Clip, Conv, LeakyRelu, Linear, Observe, PRelu, Relu, Scan, SparseLinear
from snnir.passes.sums import WEIGHTED

__all__ = ["Factors", "NotCarriedError", "Reader", "compressed", "concrete", "divisible", "reader_of", "spread_axis"]


class NotCarriedError(Exception):
    """A factor cannot be carried on; for control flow within the pass only."""


Factors = dict[Value, np.ndarray]


def concrete(type_: TensorType, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape for two samples. Raises `NotCarriedError` where a size is not known."""
    shape = type_.substitute(dict(sizes)).shape
    if any(isinstance(size, Dim) for size in shape):
        raise NotCarriedError(f"{type_} has an open size")
    return tuple(dims.concrete(size) for size in shape)


def spread_axis(value: Value, axis: int, numbers: np.ndarray, sizes: Mapping[str, int]) -> np.ndarray:
    """`numbers` along one axis of a value, or one number for all, as a factor."""
    shape = concrete(value.type, sizes)
    own = [1] * len(shape)
    if numbers.size > 1:
        own[axis] = numbers.size
    return np.broadcast_to(numbers.reshape(own), shape)


def compressed(factor: np.ndarray, free: tuple[int, ...] = ()) -> np.ndarray:
    """The factor with a size of 1 along every axis along which it is constant; `free` are the axes along which it may vary.

    Raises `NotCarriedError` where it varies along another axis; along axis 0, that of the samples, it never may.
    """
    for axis in range(factor.ndim):
        first = factor[(*(slice(None),) * axis, slice(1))]
        if (factor == first).all():
            factor = first
        elif axis not in free:
            raise NotCarriedError(f"a factor varies along axis {axis}")
    return factor


def open_axes(type_: TensorType) -> set[int]:
    """Axes of no fixed size."""
    return {axis for axis, size in enumerate(type_.shape) if not isinstance(size, int)}


def channel_axis(node: Node) -> int:
    """The axis of its operand that a weighted op sums over."""
    return 1 if isinstance(node.op, Conv) else node.operands[0].type.rank - 1


def weighed(node: Node, weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The weights of a weighted op that takes its operand divided by `factor`, float64. Raises `NotCarriedError`."""
    weight = weight.astype(np.float64)
    if isinstance(node.op, Linear | Conv):
        axis = channel_axis(node)
        vector = compressed(factor, (axis,)).reshape(-1)
        if vector.size == 1:
            return np.asarray(weight * vector)
        if isinstance(node.op, Linear):
            return np.asarray(weight * vector)
        groups, inner = node.op.groups, weight.shape[1]
        own = np.repeat(vector.reshape(groups, inner), len(weight) // groups, axis=0)
        return np.asarray(weight * own.reshape(*own.shape, *(1,) * (weight.ndim - 2)))
    if isinstance(node.op, SparseLinear):
        sample = compressed(factor, tuple(range(1, factor.ndim)))
        return np.asarray(weight * np.broadcast_to(sample[0], factor.shape[1:]).reshape(-1)[node.operands[3].array])
    return _times(node, weight, factor)


@dataclass(frozen=True, eq=False)
class Reader:
    """What an op that weighs a value adds up: term k adds `squares[k]` times the square of a number to output `outputs[k]`, and
    takes it where the factor of the value is `factors[k]`; `peaks[k]` is the largest of its `counts[k]` weights."""

    factors: np.ndarray
    outputs: np.ndarray
    squares: np.ndarray
    peaks: np.ndarray
    counts: np.ndarray


def reader_of(node: Node, weight: np.ndarray, factor: np.ndarray) -> Reader | None:
    """The squared weights of a linear, conv or sparse op; None of an op that weighs numbers one by one."""
    squares = weight.astype(np.float64) ** 2
    if isinstance(node.op, SparseLinear):
        found = np.broadcast_to(factor[0], factor.shape[1:]).reshape(-1)[node.operands[3].array]
        return Reader(found, node.operands[2].array, squares, np.sqrt(squares), np.ones_like(squares))
    if not isinstance(node.op, Linear | Conv):
        return None
    axis = channel_axis(node)
    found = np.broadcast_to(compressed(factor, (axis,)).reshape(-1), factor.shape[axis])
    maps, inner = weight.shape[:2]
    groups = node.op.groups if isinstance(node.op, Conv) else 1
    channels = np.arange(groups * inner).reshape(groups, 1, inner).repeat(maps // groups, axis=1).reshape(maps, inner)
    outputs = np.arange(maps)[:, None].repeat(inner, axis=1)
    terms = squares.reshape(maps * inner, -1)
    counts = np.full(len(terms), float(terms.shape[1]))
    return Reader(found[channels.reshape(-1)], outputs.reshape(-1), terms.sum(axis=1), np.sqrt(terms.max(axis=1)), counts)


def divided(node: Node, weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The weights (float64) of a weighted op whose result is to be divided by `factor`. Raises `NotCarriedError`."""
    weight = weight.astype(np.float64)
    if isinstance(node.op, Linear | Conv):
        vector = _rows(node, factor)
        return np.asarray(weight / vector.reshape(-1, *(1,) * (weight.ndim - 1)))
    if isinstance(node.op, SparseLinear):
        sample = compressed(factor, tuple(range(1, factor.ndim)))
        return np.asarray(weight / np.broadcast_to(sample[0], factor.shape[1:]).reshape(-1)[node.operands[2].array])
    return _times(node, weight, 1 / factor)


def _rows(node: Node, factor: np.ndarray) -> np.ndarray:
    """A factor of the result of a linear or conv as one number, or one for each output channel."""
    axis = 1 if isinstance(node.op, Conv) else factor.ndim - 1
    return compressed(factor, (axis,)).reshape(-1)


def divided_bias(node: Node, bias: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The bias operand of a linear or conv whose result is to be divided by `factor`."""
    return np.asarray(bias.astype(np.float64) / _rows(node, factor))


def _times(node: Node, weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    fixed = tuple(axis for axis in range(1, factor.ndim) if axis not in open_axes(node.output.type))
    return np.asarray(weight * _lowered(compressed(factor, fixed), weight.ndim))


def _lowered(factor: np.ndarray, rank: int) -> np.ndarray:
    """Without leading axes of 1 that a constant of `rank` axes does not need."""
    while factor.ndim > max(rank, 0) and factor.shape[:1] == (1,):
        factor = factor.reshape(factor.shape[1:])
    return factor


def constant_of(value: Value, factor: np.ndarray) -> np.ndarray:
    """A factor as a constant that spreads over `value`. Raises `NotCarriedError`."""
    fixed = tuple(axis for axis in range(1, factor.ndim) if axis not in open_axes(value.type))
    return _lowered(compressed(factor, fixed), 0)


def divisible(value: Value, factor: np.ndarray, used: int = 1) -> list[Node]:
    """The nodes, last first, that have to change so that `value` comes out divided by `factor`. Raises `NotCarriedError`.

    Positively homogeneous activations (ReLU, leaky ReLU, PReLU) hand a positive factor on, f(x / F) = f(x) / F; sums divide
    their terms.
    """
    node = value.producer
    if node is None or len(value.uses) != used:
        raise NotCarriedError(f"{value.name} is taken elsewhere, too")
    op = node.op
    if isinstance(op, Relu | LeakyRelu | PRelu) or (isinstance(op, Clip) and op.low == 0 and np.isinf(op.high)):
        return [node, *divisible(node.operands[0], factor)]
    if isinstance(op, Add):
        found = [node]
        for operand in node.operands:
            if operand.is_constant:
                constant_of(value, factor)
            elif not (operand.producer is not None and isinstance(operand.producer.op, Observe)) and not _is_levels(operand):
                found += divisible(operand, factor)
        return found
    if isinstance(op, WEIGHTED) and all(operand.is_constant for operand in node.operands[1:]):
        divided(node, node.operands[1].array, factor)
        return [node]
    raise NotCarriedError(f"{node.describe()} does not hand a factor on")


def _is_levels(value: Value) -> bool:
    """Whether the value is one that data movement, pools or scans give: levels, which a sum takes as they are."""
    return value.producer is None or value.producer.op.has(Trait.SELECTS) or isinstance(value.producer.op, Scan)
