"""What the terms of a sum become on its accumulator grid: integer weights, integer biases, integer thresholds.

Arrays here spread over one sample of the population (its shape without the batch axis), so "per channel" is nothing
special: an axis has size 1 where weights are shared along it.
"""

from __future__ import annotations

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
    "op_gain",
    "sample_shaped",
    "staircase_table",
    "weight_divisor",
    "weight_shape",
]


def sample_shaped(array: np.ndarray, rank: int) -> np.ndarray:
    """A constant that spreads over a batch as an array of exactly `rank` axes, without the batch axis."""
    if array.ndim > rank:
        if array.shape[0] != 1:
            raise UnsupportedError(
                f"a constant of shape {list(array.shape)} differs from sample to sample; it must be the same for all of them"
            )
        return array.reshape(array.shape[1:])
    return array.reshape((1,) * (rank - array.ndim) + array.shape)


def integer_weight(term: Term, step: np.ndarray, bits: int) -> np.ndarray:
    """`round(w s_in / step)`, rounded half up, int8 where `bits` allow it, else int16.

    `step` is the real number of an integer weight of 1: the grid times 2^gain. Weights of one element that meet a finer `step`
    spread over it.
    """
    quantization = term.source.type.levels
    divisor = weight_divisor(term, step)
    if term.node is None:
        real: np.ndarray = quantization.scale / divisor
    else:
        weight = term.node.operands[1].array.astype(np.float64) * quantization.scale
        real = weight.reshape(weight_shape(term, step.ndim)) / divisor
    return np.floor(real + 0.5).astype(np.int8 if bits <= 8 else np.int16)


def weight_shape(term: Term, rank: int) -> tuple[int, ...]:
    """The shape that the weights of a term take before they are divided by `weight_divisor`."""
    if term.node is None:
        return (1,) * rank
    weight = term.node.operands[1].array
    return sample_shaped(weight, rank).shape if isinstance(term.node.op, Mul) else weight.shape


def weight_divisor(term: Term, step: np.ndarray) -> np.ndarray:
    """`step` for each weight of a term, to be broadcast over `weight_shape`."""
    if term.node is None or isinstance(term.node.op, Mul):
        return step
    if isinstance(term.node.op, SparseLinear):
        spread: np.ndarray = np.broadcast_to(step, term.node.op.shape).reshape(-1)[term.node.operands[2].array]
        return spread
    return step.reshape((-1,) + (1,) * (term.node.operands[1].array.ndim - 1))


def op_gain(term: Term, gain: np.ndarray, weight: np.ndarray) -> tuple[int, ...]:
    """The `gain` attribute of the op that weighs a term by the integers `weight`, of gains that spread over a sample."""
    if (gain == gain.reshape(-1)[0]).all():
        return (int(gain.reshape(-1)[0]),) if gain.any() else ()
    if term.node is None or isinstance(term.node.op, Mul):
        gain = np.broadcast_to(gain, weight.shape)
    return tuple(int(value) for value in gain.reshape(-1))


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
