"""The accumulator grid of a population whose quantizer, and mostly whose weights, the model brought with it.

Weights that a file stores as integers times a scale are integers on the grid `s_in s_w`, so that the grid follows from
the weights themselves: the largest unit of which all weights of a channel are whole multiples (their greatest common
divisor, exact in float64, where the product of an integer of 16 bits and a float32 is exact). The threshold of a level is
then `s_out / (s_in s_w)`, a real number. Rounded up to whole sums it is an integer table, and the staircase with that table
is exact: `acc s_acc >= c` iff `acc >= ceil(c / s_acc)`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from snnir.ir import Node, Quantization
from snnir.ir.ops import Conv, Linear, Mul, SparseLinear
from snnir.ir.rounding_modes import reached_from
from snnir.passes.grid import Grid
from snnir.passes.round_terms import sample_shaped
from snnir.passes.sums import Term

__all__ = ["GivenGrid", "given_readout", "given_table", "model_grid", "steady"]

LARGEST = (1 << 15) - 1
"""The largest integer weight."""
_ALIKE = 1e-9
"""How far, relative to the unit, a weight may be from a whole multiple: folding costs a few units of 2^-53."""
_MULTIPLES = 1 << 15
_MOST_LEVELS = 1 << 17
"""Twice the levels of 16 bits."""
_FARTHEST = 1 << 62
_LARGEST_SUM = 1 << 29
"""How far multiples may make a sum reach that would not fit into 16 bits without a gain."""


@dataclass(frozen=True)
class GivenGrid:
    """The grid, and by how much of a level the sum may be off (0: exact)."""

    grid: Grid
    error: float
    bits: int
    """The bits that the integer weights need."""


def model_grid(terms: Sequence[Term], rank: int, quantization: Quantization) -> GivenGrid | None:
    """The coarsest grid that holds all weights; the best one where scales have no common grid.

    Where synapses differ so much that integers of 16 bits do not hold all multiples, those of the coarser one get a gain.
    None where weights are no multiples of anything: the file left them as real numbers.
    """
    synapses = [term for term in terms if not term.value.is_constant]
    parts = [_unit(term, rank) for term in synapses]
    found = [part for part in parts if part is not None]
    if len(found) < len(parts) or not found:
        return None
    if len(found) == 1:
        unit, most, _ = found[0]
        return GivenGrid(Grid(unit, (np.zeros(unit.shape, np.int64),)), 0.0, _bits(most))
    try:
        units = np.broadcast_arrays(*(unit for unit, _, _ in found))
    except ValueError:
        return None
    if any(_varies_where_shared(unit, units[0].shape) for unit, _, _ in found if unit.size > 1):
        return None
    mosts, reaches = (np.array([part[index] for part in found], np.float64) for index in (1, 2))
    cells = np.stack([unit.reshape(-1) for unit in units], axis=1)
    commons: dict[bytes, _Common] = {}
    for cell in cells:
        if cell.tobytes() not in commons:
            commons[cell.tobytes()] = _common(cell, mosts, reaches, quantization.scale)
    held = [commons[cell.tobytes()] for cell in cells]
    multiples = np.array([common.multiples for common in held])
    gains = _gains(multiples, mosts, any(_is_sparse(term) for term in synapses))
    largest = int(((multiples >> gains) * mosts).max())
    if largest > LARGEST:
        return None
    shape = units[0].shape
    unit = np.array([common.unit for common in held]).reshape(shape)
    grid = Grid(unit, tuple(gains[:, index].reshape(shape) for index in range(len(found))))
    return GivenGrid(grid, max(common.error for common in held), _bits(largest))


def given_readout(terms: Sequence[Term], rank: int) -> GivenGrid | None:
    """The grid of a sum that leaves the network: as `model_grid`, and as much finer as 16 bits allow, for biases that the
    file left as real numbers. None where weights are no multiples of anything.
    """
    found = model_grid(terms, rank, Quantization(1.0, 0, 0))
    if found is None:
        return None
    finer = max(0, 16 - found.bits)
    grid = Grid(found.grid.unit / (1 << finer), tuple(gain + finer for gain in found.grid.gains))
    return GivenGrid(grid, found.error, found.bits)


def _is_sparse(term: Term) -> bool:
    return term.node is not None and isinstance(term.node.op, SparseLinear)


def _gains(multiples: np.ndarray, mosts: np.ndarray, joint: bool) -> np.ndarray:
    """By how many bits the weights of each channel and synapse [channels, synapses] can be shorter than their multiples
    make them: the zeros at the end of a multiple, where weights would need more than 8 bits. `together`: alike in all channels.
    """
    zeros = np.log2(multiples & -multiples).astype(np.int64)
    gains = np.where((multiples * mosts > 127).any(axis=0), zeros, 0)
    return np.broadcast_to(gains.min(axis=0), gains.shape) if joint else gains


def _varies_where_shared(unit: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether the common grid is finer than what a term that shares its weights there can follow."""
    return any(mine == 1 and size > 1 for mine, size in zip(unit.shape, shape, strict=True)) and unit.size > 1


def _bits(most: int) -> int:
    return max(2, int(most).bit_length() + 1)


@dataclass(frozen=True)
class _Common:
    """A grid of one channel: the weight 1 of synapse i is `multiples[i]` units; `error` in levels."""

    unit: float
    multiples: np.ndarray
    error: float


def _common(cell: np.ndarray, mosts: np.ndarray, reaches: np.ndarray, out: float) -> _Common:
    """For weights of 1 that stand for `cell`: the s_acc of which all are nearly whole multiples, whose weights fit into 16 bits
    times a gain.
    """
    first = int(np.argmin(cell / mosts))
    ratios = cell / cell[first]
    counts = np.arange(1, min(max(1, int(LARGEST / mosts[first])), _MULTIPLES) + 1)[:, None]
    wanted = counts * ratios
    powers = np.exp2(np.maximum(np.ceil(np.log2(wanted * mosts / LARGEST)), 0))
    multiples = np.maximum(np.rint(wanted / powers), 1) * powers
    possible = ((multiples / powers * mosts <= LARGEST) & ((multiples * reaches <= _LARGEST_SUM) | (powers == 1))).all(axis=1)
    possible[0] |= not possible.any()
    off = np.abs(wanted - multiples)
    error = (off * reaches).sum(axis=1) * (cell[first] / counts[:, 0]) / out
    exact = np.flatnonzero((off <= _ALIKE * counts * np.maximum(ratios, 1)).all(axis=1) & possible)
    best = int(exact[0]) if len(exact) else int(np.where(possible, error, np.inf).argmin())
    return _Common(
        float(cell[first] / counts[best, 0]), multiples[best].astype(np.int64), 0.0 if len(exact) else float(error[best])
    )


def _unit(term: Term, rank: int) -> tuple[np.ndarray, int, float] | None:
    """Of one term: the real number of its weight 1, the largest multiple of it, and the reach of |sum of multiples x levels|."""
    quantization = term.source.type.levels
    reach = max(quantization.hi, -quantization.lo)
    if term.node is None:
        return np.full((1,) * rank, quantization.scale), 1, float(reach)
    weight = np.abs(term.node.operands[1].array.astype(np.float64))
    rows, shape = _rows(term, weight, rank)
    whole = _divisor(np.unique(weight))
    if whole is not None and weight.max(initial=0.0) / whole <= LARGEST:
        units = np.full((1,) * rank, whole)
    else:
        found = [_divisor(np.unique(row)) for row in rows]
        if any(unit is None for unit in found):
            return None
        units = np.array([0.0 if unit is None else unit for unit in found]).reshape(shape)
    per_row = units.reshape(-1) if units.size > 1 else np.full(len(rows), units.reshape(-1)[0])
    most = max((float(row.max(initial=0.0)) / unit for row, unit in zip(rows, per_row, strict=True)), default=1.0)
    sums = max((float(row.sum()) / unit for row, unit in zip(rows, per_row, strict=True)), default=1.0)
    return units * quantization.scale, max(1, round(most)), sums * reach


def _rows(term: Term, weight: np.ndarray, rank: int) -> tuple[list[np.ndarray], tuple[int, ...]]:
    """The weights that flow into each neuron, or into each set of neurons that share them, and those sets' shape."""
    node = term.value.node
    op = node.expect(SparseLinear, Mul, Linear, Conv)
    if isinstance(op, SparseLinear):
        rows = node.operands[2].array
        ends = np.searchsorted(rows, np.arange(int(np.prod(op.shape)) + 1))
        return [weight[start:end] for start, end in itertools.pairwise(ends)], op.shape
    if isinstance(op, Mul):
        spread = sample_shaped(weight, rank)
        return [np.array([value]) for value in spread.reshape(-1)], spread.shape
    channels = (1,) * (rank - 1) + (-1,) if isinstance(op, Linear) else (-1,) + (1,) * (rank - 1)
    return list(weight.reshape(len(weight), -1)), channels


def _divisor(values: np.ndarray) -> float | None:
    """The largest number of which all `values` (0 or more, sorted) are whole multiples; None where there is none."""
    values = values[values > 0]
    if not len(values):
        return 1.0
    if len(values) > 2 * LARGEST:
        return None
    smallest, largest = float(values[0]), float(values[-1])
    exact = _exact_divisor(values)
    if largest / exact <= LARGEST:
        return exact
    # not exact any more where a factor was folded in: the largest unit that all are close to multiples of
    for count in range(1, int(LARGEST * smallest / largest) + 1):
        multiples = values * (count / smallest)
        if (np.abs(multiples - np.rint(multiples)) <= _ALIKE * np.maximum(multiples, 1)).all():
            return largest / float(np.rint(multiples[-1]))
    return None


def _exact_divisor(values: np.ndarray) -> float:
    numerators = [float(value).as_integer_ratio() for value in values]
    denominator = max(below for _, below in numerators)  # all are powers of two
    return math.gcd(*(above * (denominator // below) for above, below in numerators)) / denominator


def steady(table: np.ndarray, lo: int) -> tuple[np.ndarray, np.ndarray] | None:
    """`(theta, shift)` where `table[j - lo - 1] = j theta - theta//2 + shift` for all levels j: a uniform threshold, whose
    neuron starts at V(0) = theta//2 - shift. None where steps differ, or where there are too few to tell.
    """
    if len(table) < 2:
        return None
    steps = np.diff(table, axis=0)
    theta = steps[0]
    if (steps != theta).any() or (theta < 1).any() or (theta >= 1 << 31).any():
        return None
    return theta, table[0] - ((lo + 1) * theta - theta // 2)


def _thresholds_of(rounding: str, quantization: Quantization) -> list[tuple[int, bool]]:
    """For levels lo+1..hi: twice the number of levels that the sum must reach, or, where True, exceed."""
    return [reached_from(rounding, level) for level in range(quantization.lo + 1, quantization.hi + 1)]


def given_table(
    chain: Sequence[Node],
    grid: np.ndarray,
    bias: np.ndarray,
    quantization: Quantization,
    rounding: str,
    reach: int,
    single: bool = False,
) -> tuple[np.ndarray, bool]:
    """The least sum A with `round(f(A s_acc + bias) / s) >= j`, for j in lo+1..hi, and whether a sum in -reach..reach may
    be a tie that does not go to the larger level.

    Without activations f this is exact: rational arithmetic on the float64 numbers given. With f, it is found by bisection,
    f in float64; a level that is always reached then gets -reach, one that never is gets reach + 1. With `single` the value
    and its quotient by s are rounded to float32, as in the file, and the bisection looks at the level itself. int64.
    """
    goals = _thresholds_of(rounding, quantization)
    shape = np.broadcast_shapes(grid.shape, bias.shape)
    if single:
        table, up = (
            _bisected_single(chain, np.broadcast_to(grid, shape), bias, quantization, way, reach) for way in (rounding, "half-up")
        )
        return table, not chain and bool((table != up).any())
    if chain:
        return _bisected(chain, np.broadcast_to(grid, shape), bias, goals, quantization.scale, reach), False
    cells = zip(np.broadcast_to(grid, shape).reshape(-1), np.broadcast_to(bias, shape).reshape(-1), strict=True)
    seen: dict[tuple[float, float], tuple[list[int], bool]] = {}
    columns, ties = [], False
    for unit, offset in cells:
        key = float(unit), float(offset)
        if key not in seen:
            seen[key] = _column(*key, quantization.scale, goals, reach)
        columns.append(seen[key][0])
        ties |= seen[key][1]
    table = np.array(columns, np.int64).T.reshape(len(goals), *shape)
    return table, ties


def _column(unit: float, offset: float, scale: float, goals: Sequence[tuple[int, bool]], reach: int) -> tuple[list[int], bool]:
    """`(twice scale / 2 - offset) / unit` for each goal, as one quotient of integers, rounded up."""
    step, start = _simplest(Fraction(scale) / (2 * Fraction(unit))), Fraction(offset) / Fraction(unit)
    below = math.lcm(step.denominator, start.denominator)
    rise, base = int(step * below), int(start * below)
    column, ties = [], False
    for twice, beyond in goals:
        least, rest = divmod(twice * rise - base, below)
        if rest or beyond:
            ties |= not rest and -reach <= least <= reach
            least += 1
        column.append(min(max(least, -_FARTHEST), _FARTHEST))
    return column, ties


def _simplest(step: Fraction) -> Fraction:
    """The fraction that a quotient of float64 numbers stands for where a sum can meet ties: 1/9 is no float64, 9 steps are 1.

    A sum meets a tie only where the denominator is at most twice the number of levels.
    """
    near = step.limit_denominator(_MOST_LEVELS)
    return near if abs(near - step) <= step / (1 << 50) else step


def _bisected_single(
    chain: Sequence[Node], grid: np.ndarray, bias: np.ndarray, quantization: Quantization, rounding: str, reach: int
) -> np.ndarray:
    levels = np.arange(quantization.lo + 1, quantization.hi + 1).reshape(-1, *(1,) * grid.ndim)

    def reached(total: np.ndarray) -> np.ndarray:
        value = total * grid + bias
        for node in chain:
            value = node.op.evaluate(value)[0]
        return np.asarray(quantization.round(value, rounding, single=True) >= levels)

    return _least(reached, (len(levels), *np.broadcast_shapes(grid.shape, bias.shape)), reach)


def _bisected(
    chain: Sequence[Node], grid: np.ndarray, bias: np.ndarray, goals: Sequence[tuple[int, bool]], scale: float, reach: int
) -> np.ndarray:
    ones = (1,) * grid.ndim
    goal = np.array([twice / 2 * scale for twice, _ in goals]).reshape(-1, *ones)
    beyond = np.array([strict for _, strict in goals]).reshape(-1, *ones)

    def reached(total: np.ndarray) -> np.ndarray:
        value = total * grid + bias
        for node in chain:
            value = node.op.evaluate(value)[0]
        return np.asarray(np.where(beyond, value > goal, value >= goal))

    return _least(reached, np.broadcast_shapes(goal.shape, grid.shape), reach)


def _least(reached: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...], reach: int) -> np.ndarray:
    """The least sum in -reach..reach that reaches each level, by bisection; reach + 1 where none does."""
    low, high = np.full(shape, -reach, np.int64), np.full(shape, reach + 1, np.int64)
    while (low < high).any():
        middle = (low + high) // 2
        found = reached(middle)
        high = np.where(found & (low < high), middle, high)
        low = np.where(~found & (low < high), middle + 1, low)
    return low
