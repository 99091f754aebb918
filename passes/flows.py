"""What flows through each synapse into the neurons of one population, as far as its accumulator grid depends on it.

Arrays here spread over one sample of the population (its shape without the batch axis), with an axis of 1 where a synapse
shares its weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from snnir.ir.ops import Conv, Linear, Mul, SparseLinear
from snnir.passes.round_terms import bias_parts, sample_shaped
from snnir.passes.sums import Term

__all__ = ["Flow", "Flows", "flows_of"]


@dataclass(frozen=True)
class Flow:
    """What flows through one synapse into each of its own channels: float64, with an axis of 1 where weights are shared."""

    peak: np.ndarray
    """The largest `|w s_in|`."""
    power: np.ndarray
    """Squared levels: the number of weights that are not 0, times the square of the largest level."""
    reach: np.ndarray
    """A bound on the magnitude of the sum, in real units."""
    single: bool
    """Whether one weight stands for all that share a grid, so that how it rounds is known."""


@dataclass(frozen=True)
class Flows:
    """Everything that flows into one population."""

    synapses: tuple[Flow, ...]
    shared: tuple[int, ...]
    """Axes along which some synapse shares weights, so that all neurons share a grid: size 1 in the shape of a grid."""
    reach: np.ndarray
    """A bound on the magnitude of the sum, over one sample or less."""
    levels: int
    """The largest magnitude of a level of any source: of products, that of both factors together."""
    per_channel: bool
    """Whether all synapses can have one gain for each channel of theirs."""

    def widest(self, array: np.ndarray) -> np.ndarray:
        """The largest over all neurons that share a grid."""
        return array.max(axis=self.shared, keepdims=True) if self.shared else array

    @property
    def peaks(self) -> np.ndarray:
        """The largest `|w s_in|` [synapses, *grid]."""
        return np.stack(np.broadcast_arrays(*(self.widest(flow.peak) for flow in self.synapses)))


def flows_of(terms: Sequence[Term], rank: int) -> Flows:
    """Everything that the terms of a sum bring to neurons whose samples have `rank` axes. Raises `UnsupportedError`."""
    synapses = [term for term in terms if not term.value.is_constant]
    shared = [any(flags) for flags in zip(*(_shared_axes(term, rank) for term in synapses), strict=True)]
    axes = tuple(axis for axis, flag in enumerate(shared) if flag)
    found = []
    for term in synapses:
        (peak, count, total), levels = _measures(term, rank), _most_level(term)
        alike = not axes or bool((peak == peak.max(axis=axes, keepdims=True)).all())
        single = alike and (term.node is None or isinstance(term.node.op, Mul))
        found.append(Flow(peak, np.maximum(count, 1) * float(levels) ** 2, total * levels, single))
    bias = np.zeros((1,) * rank)
    for value, shape in bias_parts(terms, rank):
        bias = bias + value.array.astype(np.float64).reshape(shape)
    sparse = any(term.node is not None and isinstance(term.node.op, SparseLinear) for term in synapses)
    most = max(_most_level(term) for term in synapses)
    flows = Flows(tuple(found), axes, np.zeros(()), most, not sparse)
    reach = sum(flows.widest(flow.reach) for flow in found) + float(np.abs(bias).max(initial=0))
    return replace(flows, reach=np.asarray(reach))


def _most_level(term: Term) -> int:
    quantization = term.source.type.levels
    return max(quantization.hi, -quantization.lo)


def _shared_axes(term: Term, rank: int) -> list[bool]:
    """Along which axes of a sample the neurons must share the weights of a term; one-to-one weights can always spread."""
    if term.node is not None and isinstance(term.node.op, Linear):
        return [True] * (rank - 1) + [False]
    if term.node is not None and isinstance(term.node.op, Conv):
        return [False] + [True] * (rank - 1)
    return [False] * rank


def _measures(term: Term, rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of `|w s_in|` into each neuron: the largest, how many are not 0, and the sum; float64 of `rank` axes."""
    quantization = term.source.type.levels
    if term.node is None:
        one = np.full((1,) * rank, quantization.scale)
        return one, np.ones_like(one), one
    weight = np.abs(term.node.operands[1].array.astype(np.float64)) * quantization.scale
    op = term.node.op
    if isinstance(op, Linear | Conv):
        rows = weight.reshape(len(weight), -1)
        shape = (1,) * (rank - 1) + (-1,) if isinstance(op, Linear) else (-1,) + (1,) * (rank - 1)
        found = rows.max(axis=1, initial=0), (rows > 0).sum(axis=1).astype(np.float64), rows.sum(axis=1)
        return found[0].reshape(shape), found[1].reshape(shape), found[2].reshape(shape)
    if isinstance(op, SparseLinear):
        targets, size = term.node.operands[2].array, int(np.prod(op.shape))
        peak = np.zeros(size)
        np.maximum.at(peak, targets, weight)
        count, total = np.bincount(targets, weight > 0, size), np.bincount(targets, weight, size)
        return peak.reshape(op.shape), count.reshape(op.shape), total.reshape(op.shape)
    spread = sample_shaped(weight, rank)
    return spread, (spread > 0).astype(np.float64), spread
