"""Which values get a scale for each channel, and which: decided by the errors and spikes that calibration data show.

With factors F, channel c has the scale s F[c]. Finer levels for channels of small range make smaller errors, more spikes,
and weights W F whose rows differ more in magnitude, so that rounding them to few bits costs more. All three are measured, for
factors that are ranges to several powers: the squared error that the rounding of levels and of weights leaves in the sums
of what takes the value, relative to the square of each sum; and the sum of the magnitudes of all levels.

One more bit for all channels would lessen the error of levels to a quarter, for twice the spikes. `THRIFTY` factors must give
more than that: `error * spikes^2` must fall to half of what it is with one scale for all. `ACCURATE` ones may cost as many times
the spikes as they lessen the squared error: `error * spikes` must fall to 0.9. They are for 4 bits and fewer: with a scale for
each channel the levels of all end where the data seen did, and at 8 bits what is clipped of others costs more than it gains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snnir.ir import Graph, Node
from snnir.ir.ops import FakeQuantize, Observe
from snnir.passes.channel_scales import ENOUGH, Candidate
from snnir.passes.scale_groups import scale_groups

__all__ = ["ACCURATE", "THRIFTY", "Precision", "choose_factors"]

THRIFTY, ACCURATE = "thrifty", "accurate"
_RULES = {THRIFTY: (2, 0.5), ACCURATE: (1, 0.9)}
"""The power of spikes, and the share to which the product must fall, for factors to be used."""
_PAYS_INPUT = 0.5
"""The same of the error alone where the host divides: the charges of inputs are no spikes."""
_POWERS = (0.3, 0.5, 0.8, 1.0)
"""Factors of an activation's channels are ranges to one of these powers: small ranges, known from few numbers, keep room."""
_FEW = 0.5
"""The least factor of an activation's channel, times the square root of the numbers that it is known from."""
_SMALL = 0.1
"""How small the squared error that a channel causes may at least be, as a share of that of the average one."""
_MEETING = 1.25
"""How many times the range of another part one part must have that it meets, to be divided at all."""
_SHARES = tuple(np.geomspace(1.0, 0.15, 14).tolist())
"""Shares of the largest magnitude that levels may hold, tried for the scale."""
_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Precision:
    """Bits of levels and of weights for which factors are chosen, and by which rule."""

    bits: int = 4
    weight_bits: int = 8
    rule: str = THRIFTY


def choose_factors(graph: Graph, found: Sequence[Candidate], precision: Precision) -> dict[Node, np.ndarray]:
    """Factors [C] or [1] of the candidates that need any, once they have seen the data."""
    known = {candidate.node: candidate for candidate in found}
    chosen: dict[Node, np.ndarray] = {}
    for nodes in scale_groups(graph, (Observe, FakeQuantize)):
        members = [known[node] for node in nodes if node in known]
        fixed = [float(member.ranges.max()) for member in members if not member.free]
        reference = max(fixed, default=0.0) or max((float(member.ranges.max()) for member in members), default=0.0)
        for member in members:
            factors = _factors(member, reference, precision) if member.free else None
            if factors is not None:
                chosen[member.node] = factors
    return chosen


def _factors(member: Candidate, reference: float, precision: Precision) -> np.ndarray | None:
    ranges = member.ranges[member.ranges > 0]
    if not len(ranges):
        return None
    top = float(ranges.max())
    if member.axis is not None and (member.count >= ENOUGH or not member.raw):
        relative = np.where(member.ranges > 0, member.ranges / top, 1.0)
        best = _of_input(member, relative) if member.raw else _of_activation(member, relative, precision)
        if best is not None:
            return best * top / reference
    return np.array([top / reference]) if not 1 / _MEETING < reference / top < _MEETING else None


def _of_input(member: Candidate, relative: np.ndarray) -> np.ndarray | None:
    weights = _weights(member, relative)
    noise = float(np.mean(relative**2 * weights))
    if noise > _PAYS_INPUT * float(np.mean(weights)) and not member.middles.any():
        return None
    return _floored(relative, weights, noise)


def _of_activation(member: Candidate, relative: np.ndarray, precision: Precision) -> np.ndarray | None:
    shown = np.concatenate(member.shown, axis=1).astype(np.float64)
    choices = [np.ones_like(relative)]
    for power in _POWERS:
        factors = np.maximum(relative**power, min(_FEW / np.sqrt(member.count), 1.0))
        weights = _weights(member, factors)
        choices.append(_floored(factors, weights, float(np.mean(factors**2 * weights))))
    power, pays = _RULES[precision.rule]
    costs = []
    for factors in choices:
        error, spikes = _measured(member, shown, factors, precision)
        costs.append(error * spikes**power)
    best = int(np.argmin(costs))
    return choices[best] if costs[best] <= pays * costs[0] else None


def _floored(factors: np.ndarray, weights: np.ndarray, noise: float) -> np.ndarray:
    """A channel that weighs little needs no finer levels than the others make worthwhile."""
    least = np.sqrt(_SMALL * noise / np.maximum(weights, _TINY))
    return np.asarray(np.maximum(factors, np.minimum(least, 1.0)))


def _measured(member: Candidate, shown: np.ndarray, factors: np.ndarray, precision: Precision) -> tuple[float, float]:
    """The squared error in the sums of what takes the value, relative to their squares; and the mean magnitude of a level."""
    units, best = shown / factors[:, np.newaxis], (np.inf, 0.0)
    count, low, high = (1 << precision.bits) - 1, float(units.min(initial=0)), float(units.max(initial=0))
    importance = _weights(member, np.sqrt((shown**2).mean(axis=1)))
    for share in _SHARES:
        scale = share * (high - low) / count
        if scale <= 0:
            continue
        lo = max(int(np.floor(share * low / scale + 0.5)), -count)
        levels = np.clip(np.floor(units / scale + 0.5), lo, lo + count)
        errors = ((levels * scale - units) ** 2).mean(axis=1) * factors**2
        error = float(np.mean(errors * importance))
        if error < best[0]:
            best = error, float(np.abs(levels).mean())
    return best[0] + _weight_error(member, shown, factors, precision.weight_bits), best[1]


def _weight_error(member: Candidate, shown: np.ndarray, factors: np.ndarray, bits: int) -> float:
    """What the rounding of weights leaves, in the same units as `_measured`."""
    powers, total, outputs = (shown**2).mean(axis=1), 0.0, 0
    for reader in member.readers:
        mine = (reader.factors >= 2) & (reader.squares > 0)
        channel = reader.factors[mine].astype(np.int64) - 2
        output, squares = reader.outputs[mine], reader.squares[mine]
        size = int(output.max(initial=-1)) + 1
        peaks = np.zeros(size)
        np.maximum.at(peaks, output, reader.peaks[mine] * factors[channel])
        taken = np.bincount(output, reader.counts[mine] * powers[channel] / factors[channel] ** 2, size)
        sums = np.bincount(output, squares * powers[channel], size)
        steps = peaks / ((1 << (bits - 1)) - 1)
        total += float((steps**2 / 12 * taken / np.maximum(sums, _TINY))[sums > 0].sum())
        outputs += int(np.count_nonzero(sums))
    return total / outputs / len(factors) if outputs else 0.0


def _weights(member: Candidate, ranges: np.ndarray) -> np.ndarray:
    """What an error in each channel counts [C]: its square in each output of what takes it, relative to the square of what that
    output adds up, on average over all outputs."""
    total, outputs = np.zeros(len(ranges)), 0
    for reader in member.readers:
        mine = (reader.factors >= 2) & (reader.squares > 0)
        channel = reader.factors[mine].astype(np.int64) - 2
        squares, output = reader.squares[mine], reader.outputs[mine]
        sums = np.bincount(output, squares * ranges[channel] ** 2)
        total += np.bincount(channel, squares / np.maximum(sums[output], _TINY), len(ranges))
        outputs += int(np.count_nonzero(sums))
    return total / outputs if outputs else np.ones(len(ranges))
