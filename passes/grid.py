"""The integer accumulator grid of one population: how coarse, and what weights become on it.

Arrays here spread over one sample of the population (its shape without the batch axis), so "per channel" is nothing
special: an axis has size 1 where weights are shared along it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from snnir.errors import UnsupportedError
from snnir.ir import Node, Quantization, Value
from snnir.ir.ops import Conv, Linear, Mul, SparseLinear
from snnir.passes.sums import Term

__all__ = [
    "bias_parts",
    "integer_bias",
    "integer_weight",
    "largest_weights",
    "needed_bits",
    "readout_grid",
    "staircase_table",
    "threshold_grid",
    "weight_divisor",
    "weight_shape",
]

FINEST = 1 << 16
"""No threshold is larger: channels without weights would otherwise have no limit."""


def largest_weights(terms: Sequence[Term], rank: int) -> np.ndarray:
    """`max |w s_in|` over all that flows into each neuron, float64 of `rank` axes.

    Where any term shares weights along an axis, all neurons along it must share a grid, so the maximum is taken there.
    """
    parts, shared = [], [False] * rank
    for term in terms:
        if term.value.is_constant:
            continue
        part, along = _magnitude(term, rank)
        parts.append(part)
        shared = [a or b for a, b in zip(shared, along, strict=True)]
    total = np.maximum.reduce(np.broadcast_arrays(*parts)) if len(parts) > 1 else parts[0]
    axes = tuple(axis for axis, flag in enumerate(shared) if flag)
    return total.max(axis=axes, keepdims=True) if axes else total


def _magnitude(term: Term, rank: int) -> tuple[np.ndarray, list[bool]]:
    quantization = term.source.type.quantization
    assert quantization is not None
    scale = quantization.scale
    if term.node is None:
        return np.full((1,) * rank, scale), [True] * rank
    weight = np.abs(term.node.operands[1].array.astype(np.float64)) * scale
    if isinstance(term.node.op, Linear):
        return weight.max(axis=1).reshape((1,) * (rank - 1) + (-1,)), [True] * (rank - 1) + [False]
    if isinstance(term.node.op, Conv):
        peak = weight.reshape(len(weight), -1).max(axis=1)
        return peak.reshape((-1,) + (1,) * (rank - 1)), [False] + [True] * (rank - 1)
    if isinstance(term.node.op, SparseLinear):
        peak = np.zeros(int(np.prod(term.node.op.shape)))
        np.maximum.at(peak, term.node.operands[2].array, weight)
        return peak.reshape(term.node.op.shape), [False] * rank
    spread = sample_shaped(weight, rank)
    return spread, [size == 1 for size in spread.shape]


def sample_shaped(array: np.ndarray, rank: int) -> np.ndarray:
    """A constant that spreads over a batch as an array of exactly `rank` axes, without the batch axis."""
    if array.ndim > rank:
        if array.shape[0] != 1:
            raise UnsupportedError(
                f"a constant of shape {list(array.shape)} differs from sample to sample; it must be the same for all of them"
            )
        return array.reshape(array.shape[1:])
    return array.reshape((1,) * (rank - array.ndim) + array.shape)


def threshold_grid(largest: np.ndarray, quantization: Quantization, bits: int) -> tuple[np.ndarray, np.ndarray] | None:
    """`(theta, s_acc)`: integer thresholds as large as `bits` allows, and the grid `s_out / theta`.

    None where a single spike outweighs what one level can be divided into, so that no threshold of 1 or more exists.
    """
    most = (1 << (bits - 1)) - 1
    with np.errstate(divide="ignore"):
        theta = np.minimum(np.floor(quantization.scale * most / largest), FINEST)
    if (theta < 1).any():
        return None
    return theta.astype(np.int64), quantization.scale / theta


def needed_bits(largest: np.ndarray, quantization: Quantization) -> int:
    """The least weight bits for which `threshold_grid` finds thresholds."""
    return math.ceil(math.log2(float(largest.max()) / quantization.scale + 1)) + 1


def readout_grid(largest: np.ndarray, bits: int, fallback: float) -> np.ndarray:
    """`s_acc` with which the largest weight becomes `2^(bits-1) - 1`; `fallback` where there is no weight."""
    return np.where(largest > 0, largest / ((1 << (bits - 1)) - 1), fallback)


def integer_weight(term: Term, grid: np.ndarray, bits: int) -> np.ndarray:
    """`round(w s_in / s_acc)`, rounded half up, int8 where `bits` allow it, else int16."""
    quantization = term.source.type.quantization
    assert quantization is not None
    divisor = weight_divisor(term, grid)
    if term.node is None:
        real: np.ndarray = quantization.scale / divisor
    else:
        weight = term.node.operands[1].array.astype(np.float64) * quantization.scale
        real = weight.reshape(weight_shape(term, grid.ndim)) / divisor
    return np.floor(real + 0.5).astype(np.int8 if bits <= 8 else np.int16)


def weight_shape(term: Term, rank: int) -> tuple[int, ...]:
    """The shape that the weights of a term take before they are divided by `weight_divisor`."""
    if term.node is None:
        return (1,) * rank
    weight = term.node.operands[1].array
    return sample_shaped(weight, rank).shape if isinstance(term.node.op, Mul) else weight.shape


def weight_divisor(term: Term, grid: np.ndarray) -> np.ndarray:
    """`s_acc` for each weight of a term, to be broadcast over `weight_shape`."""
    if term.node is None or isinstance(term.node.op, Mul):
        return grid
    if isinstance(term.node.op, SparseLinear):
        spread: np.ndarray = np.broadcast_to(grid, term.node.op.shape).reshape(-1)[term.node.operands[2].array]
        return spread
    assert isinstance(term.node.op, Linear | Conv)
    return grid.reshape((-1,) + (1,) * (term.node.operands[1].array.ndim - 1))


def integer_bias(terms: Sequence[Term], grid: np.ndarray) -> np.ndarray | None:
    """`round(b / s_acc)` of all constants together, int32 (int64 where it needs to be), or None where all are 0."""
    total = np.zeros((1,) * grid.ndim)
    for value, shape in bias_parts(terms, grid.ndim):
        total = total + value.array.astype(np.float64).reshape(shape)
    bias = np.floor(total / grid + 0.5)
    if not bias.any():
        return None
    integers: np.ndarray = bias.astype(np.int32 if np.abs(bias).max() < 1 << 31 else np.int64)
    return integers


def bias_parts(terms: Sequence[Term], rank: int) -> list[tuple[Value, tuple[int, ...]]]:
    """The constants that are added, each with its shape over one sample of the population."""
    parts: list[tuple[Value, tuple[int, ...]]] = []
    for term in terms:
        if term.value.is_constant:
            parts.append((term.value, sample_shaped(term.value.array, rank).shape))
        elif term.node is not None and isinstance(term.node.op, Linear | Conv) and len(term.node.operands) == 3:
            channels = (-1,) if isinstance(term.node.op, Linear) else (-1,) + (1,) * (rank - 1)
            parts.append((term.node.operands[2], (1,) * (rank - len(channels)) + channels))
    return parts


def staircase_table(chain: Sequence[Node], grid: np.ndarray, quantization: Quantization, reach: int) -> np.ndarray:
    """The least sum A with `f(A s_acc) >= (j - 1/2) s_out`, for j in lo+1..hi: integers [hi - lo, *grid.shape].

    `f` is the chain of increasing activations. Found by bisection over the integers -reach..reach, which hold every sum
    that can occur; a level that is always reached gets -reach, one that never is gets reach + 1.
    """
    goal = (np.arange(quantization.lo + 1, quantization.hi + 1) - 0.5) * quantization.scale
    goal = goal.reshape((-1,) + (1,) * grid.ndim)
    shape = np.broadcast_shapes(goal.shape, grid.shape)
    low, high = np.full(shape, -reach, np.int64), np.full(shape, reach + 1, np.int64)
    while (low < high).any():
        middle = (low + high) // 2
        value = middle * grid
        for node in chain:
            value = node.op.evaluate(value)[0]
        reached = value >= goal
        high = np.where(reached & (low < high), middle, high)
        low = np.where(~reached & (low < high), middle + 1, low)
    return low.astype(np.int32 if reach < (1 << 31) - 1 else np.int64)
