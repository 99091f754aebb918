"""The integer accumulator grid of one population, and the gain of each synapse into it.

A synapse i whose largest `|w s_in|` into a channel is p_i needs steps of at least `p_i / (2^(bits-1) - 1)` for its weights to
be integers of `bits`. All sums of a population are on one grid s_acc; a synapse whose step must be coarser has a gain g_i, so
that an integer weight of 1 stands for `2^g_i s_acc`. The grid is as fine as the synapse with the finest step needs.

Steps that are no powers of two apart cannot all be met exactly: whichever synapse the grid is aligned to keeps its own step,
the others have one of less than twice theirs. The grid is aligned where the expected squared error of the sum, steps squared
times the levels that flow through them, is the least.

Arrays here spread over one sample of the population (its shape without the batch axis).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from snnir.ir import Quantization
from snnir.passes.flows import Flow, Flows, flows_of
from snnir.passes.sums import Term

__all__ = ["FINEST", "SUM_BITS", "Grid", "population_grid", "sum_grid"]

FINEST = 1 << 16
"""No threshold is larger, and no synapse has steps more than this many times those of another, where levels have up to 8 bits:
what is finer is lost in the rounding of the levels, or of the coarser synapse. Levels of more bits (products) need more."""
_MOST_THETA = 1 << 30
COARSEST = 16
"""No threshold is smaller: a bias is then off by 1/32 of a level at most."""
_COARSEST_OF_ONE = 1 << 10
"""The same where a synapse of one weight needs it, whose relative error is as large as that of the threshold."""
_SMALL = 2.0**-10
"""The relative error of a synapse of one weight that is small enough for thresholds of COARSEST."""
_TRIED = 24
"""How many steps are tried on which a synapse of one weight is an integer."""
SUM_BITS = 30
"""Sums and membranes are kept within this many bits, so that they, and twice as much, fit into 32 bits."""
_PAYS = 1.25
"""By how much finer gains must lessen the squared error of the sum, to be preferred to fewer of them."""


_COARSER = 4
"""How many times coarser than they need the steps of a synapse may be, even where the error of the sum hides it."""


@dataclass(frozen=True)
class Grid:
    """`unit` is s_acc; an integer weight of synapse i stands for `unit 2^gains[i]`. Both spread over one sample.

    `gains` has one entry for each term that is no constant, in their order: int64, as fine as the synapse's own channels.
    """

    unit: np.ndarray
    gains: tuple[np.ndarray, ...]

    def steps(self, index: int) -> np.ndarray:
        """The real number of an integer weight of 1 of synapse `index`."""
        return np.asarray(self.unit * np.exp2(self.gains[index]))


def population_grid(
    terms: Sequence[Term], rank: int, quantization: Quantization, bits: int, sum_bits: int = SUM_BITS
) -> tuple[np.ndarray, Grid]:
    """`(theta, grid)`: integer thresholds of one level, int64, and the grid `s_out / theta`.

    Sums and membranes are kept within `sum_bits`, where thresholds of 1 allow it.
    """
    flows, scale = flows_of(terms, rank), quantization.scale
    step, per_channel = _aligned(flows, bits, np.array(scale / FINEST))
    span = flows.reach + scale * max(quantization.hi, -quantization.lo)
    limit = np.minimum(np.maximum(np.floor((1 << (sum_bits - 1)) * scale / span), 1), min(_finest(flows), _MOST_THETA))
    coarser = np.maximum(np.ceil(np.log2(scale / step / limit) - 1e-9), 0)
    per_channel |= bool(coarser.any())

    def theta_of(step: np.ndarray) -> np.ndarray:
        return np.minimum(np.maximum(np.floor(scale / step * (1 + 1e-12)), 1), limit)

    for coarsest in (COARSEST, _COARSEST_OF_ONE):
        finer = np.maximum(np.ceil(np.log2(coarsest * step / scale)), 0)
        found = step * np.exp2(coarser - (finer if per_channel else finer.max()))
        found = _fitted(flows, found, bits, per_channel, lambda tried: scale / theta_of(tried))
        theta = theta_of(found)
        grid = _with_gains(flows, scale / theta, bits, per_channel)
        if all(_off(flow, grid.steps(index)) <= _SMALL for index, flow in enumerate(flows.synapses)):
            break
    return theta.astype(np.int64), grid


def sum_grid(terms: Sequence[Term], rank: int, bits: int, fallback: float, sum_bits: int = SUM_BITS) -> Grid:
    """A grid that no threshold asks anything of: as fine as the finest synapse needs, with sums within `sum_bits`.

    `fallback` is its unit where there is no weight.
    """
    flows = flows_of(terms, rank)
    step, per_channel = _aligned(flows, bits, np.array(fallback))
    coarser = np.maximum(np.ceil(np.log2(np.maximum(flows.reach / (1 << (sum_bits - 1)) / step, 1))), 0)
    per_channel |= bool(coarser.any())
    step = _fitted(flows, step * np.exp2(coarser), bits, per_channel, lambda found: found)
    return _with_gains(flows, step, bits, per_channel)


def _fitted(
    flows: Flows, step: np.ndarray, bits: int, per_channel: bool, possible: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """A step a little coarser than `step` on which synapses of one weight, whose error does not average out, round least.

    `possible` gives the step that comes of one when thresholds are integers.
    """
    if not any(flow.single for flow in flows.synapses):
        return step
    fixed = None if per_channel and flows.per_channel else _with_gains(flows, step, bits, False).gains
    steps = [step]
    for index, flow in enumerate(flows.synapses):
        if not flow.single:
            continue
        peak = flows.widest(flow.peak)
        own = _own_step(flow, step, bits) if fixed is None else step * np.exp2(fixed[index])
        count = np.floor(peak / flows.widest(own) + 1e-9)
        power = flows.widest(own) / step
        steps += [np.where(count - less >= 1, peak / (np.maximum(count - less, 1) * power), step) for less in range(_TRIED)]
    steps = [np.where((found >= step) & (found <= 1.5 * step), found, step) for found in np.broadcast_arrays(*steps)]
    errors = []
    for found in steps:
        unit = possible(found)
        error = np.zeros_like(unit)
        for index, flow in enumerate(flows.synapses):
            own = _own_step(flow, unit, bits) if fixed is None else unit * np.exp2(fixed[index])
            error = error + _error(flows, flow, own, known=True)
        errors.append(error)
    choice = np.argmin(np.stack(errors), axis=0)[np.newaxis]
    return np.asarray(np.take_along_axis(np.stack(steps), choice, axis=0)[0])


def _finest(flows: Flows) -> float:
    """How many times finer than a level, or than the steps of another synapse, steps are of use."""
    return FINEST * max(1.0, flows.levels / 255)


def _most(bits: int) -> int:
    return (1 << (bits - 1)) - 1


def _aligned(flows: Flows, bits: int, fallback: np.ndarray) -> tuple[np.ndarray, bool]:
    """The step of the finest weights on each grid, `fallback` where no weight flows; and whether gains differ by channel.

    Of no gains, one gain for each synapse, and one for each channel of each, the first is taken that is nearly as good as the
    best.
    """
    needs = flows.peaks / _most(bits)
    silent = needs <= 0
    highest = needs.max(axis=0)
    none = highest <= 0
    if none.all():
        return np.broadcast_to(fallback, highest.shape).copy(), False
    highest = np.where(none, fallback, highest)
    lowest = np.where(silent, highest, needs).min(axis=0)
    if flows.per_channel:
        lowest = np.minimum.reduce([lowest, *(_least(flows, flow.peak, lowest) / _most(bits) for flow in flows.synapses)])
    lowest = np.maximum(lowest, highest / _finest(flows))  # a finer step than this is of no use
    needs = np.where(silent, lowest, np.maximum(needs, lowest))

    common = []
    for gains in _common_gains(needs, ~silent):
        step = (needs / np.exp2(gains)).max(axis=0)
        steps = [step * np.exp2(gain) for gain in gains]
        errors = [_error(flows, flow, own) for flow, own in zip(flows.synapses, steps, strict=True)]
        coarser = max(_coarser(flow, own, bits) for flow, own in zip(flows.synapses, steps, strict=True))
        common.append((np.sum(errors, axis=0), step, coarser))
    if not flows.per_channel:
        least = np.minimum.reduce([error for error, *_ in common])
    else:
        finest = [need * np.exp2(-np.floor(np.log2(need / lowest) + 1e-9)) for need in needs]
        errors = [_sum_error(flows, step, bits) for step in finest]
        choice = np.argmin(np.stack(errors), axis=0)[np.newaxis]
        best = np.take_along_axis(np.stack(finest), choice, axis=0)[0]
        least = np.take_along_axis(np.stack(errors), choice, axis=0)[0]
    for error, step, coarser in common:
        if coarser <= _COARSER and float((error / np.maximum(least, np.finfo(np.float64).tiny))[~none].mean()) <= _PAYS:
            return np.where(none, fallback, step), False
    if flows.per_channel:
        return np.where(none, fallback, best), True
    return np.where(none, fallback, common[-1][1]), False


def _least(flows: Flows, peak: np.ndarray, fallback: np.ndarray) -> np.ndarray:
    """The least of the peaks that are not 0, over all neurons that share a grid; `fallback` where there is none."""
    filled = np.where(peak > 0, peak, np.inf)
    found = filled.min(axis=flows.shared, keepdims=True) if flows.shared else filled
    return np.where(np.isfinite(found), found, fallback * np.inf)


def _sum_error(flows: Flows, step: np.ndarray, bits: int) -> np.ndarray:
    """The error of the whole sum where each channel of each synapse has a gain of its own."""
    return np.asarray(np.sum([_error(flows, flow, _own_step(flow, step, bits)) for flow in flows.synapses], axis=0))


def _own_step(flow: Flow, step: np.ndarray, bits: int) -> np.ndarray:
    """The least of `step`, 2 step, 4 step ... with which the weights of each channel fit into `bits`."""
    return np.asarray(step * np.exp2(_least_gain(flow.peak / _most(bits), step)))


def _coarser(flow: Flow, step: np.ndarray, bits: int) -> float:
    """How many times coarser `step` is than the weights of a synapse need (root mean square over its channels)."""
    needed = float(np.mean((flow.peak / _most(bits)) ** 2))
    return float(np.sqrt(np.mean(step**2) / needed)) if needed > 0 else 0.0


def _off(flow: Flow, step: np.ndarray) -> float:
    """By how much, relative to it, the weight of a synapse of one weight is rounded; 0 for others."""
    if not flow.single or not flow.peak.any():
        return 0.0
    rounded = np.floor(flow.peak / step + 0.5) * step
    return float((np.abs(rounded - flow.peak) / flow.peak.max()).max())


def _error(flows: Flows, flow: Flow, step: np.ndarray, known: bool = False) -> np.ndarray:
    """12 times the expected squared error of the sum, on average over all neurons that share a grid.

    Rounding to a step leaves an error of variance step^2 / 12 in each weight; with `known`, that of a single weight is its own.
    """
    error: np.ndarray
    if flow.single and known:
        off = flow.peak / step
        error = 12 * flow.power * ((off - np.floor(off + 0.5)) * step) ** 2
    else:
        error = np.where(flow.peak > 0, flow.power, 0.0) * step**2
    return error.mean(axis=flows.shared, keepdims=True) if flows.shared else error


def _least_gain(needs: np.ndarray, step: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.asarray(np.maximum(np.ceil(np.log2(needs / step) - 1e-9), 0))


def _common_gains(needs: np.ndarray, flows: np.ndarray) -> list[np.ndarray]:
    """Gains that are the same in all channels [synapses, 1, ...]: none, and those that fit the median channel."""
    ones = (1,) * (needs.ndim - 1)
    logs = np.array([np.median(np.log2(need[flag])) if flag.any() else np.inf for need, flag in zip(needs, flows, strict=True)])
    logs = np.where(np.isinf(logs), logs[~np.isinf(logs)].min(), logs)
    typical = np.rint(logs - logs.min()).reshape(-1, *ones)
    return [np.zeros_like(typical), typical] if typical.any() else [typical]


def _with_gains(flows: Flows, unit: np.ndarray, bits: int, per_channel: bool) -> Grid:
    """The least gains with which all weights fit into `bits` on the grid `unit`."""
    gains = [_least_gain(flow.peak / _most(bits), unit) for flow in flows.synapses]
    if not (per_channel and flows.per_channel):
        gains = [np.full((1,) * unit.ndim, gain.max()) for gain in gains]
    return Grid(unit, tuple(gain.astype(np.int64) for gain in gains))
