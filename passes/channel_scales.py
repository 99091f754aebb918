"""A scale for each channel: values are divided by constant factors, so that one scale for all suits every channel.

A level of channel c of v / F is worth F[c] times as much as one of v, so that dividing by factors is the same as a scale for each
channel; what takes the value carries the factors in its weights, what gives it divides its own (cross-layer equalisation: Nagel
et al., arXiv:1906.04721). The graph computes what it computed, in other units in between.

1. An input (and what the host computes from one) is divided by the host, in real numbers, before it is encoded: one factor for
   each channel or feature. Where data are far from 0 and all that takes the input is linear, the middle of each channel's range
   is taken off first.
2. An activation behind a ReLU or a leaky ReLU gets one factor for each channel; the weights before it are divided.
3. Parts of a concatenation, and whatever else only meets in data movement, keep ranges of their own: a factor for each part.
4. What compares or multiplies levels keeps one scale: states of scans, products, quantizers of the model itself, outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snnir.ir import BATCH, Graph, Node, Value
from snnir.ir.dims import concrete
from snnir.ir.execute import bind_sizes
from snnir.ir.ops import FakeQuantize, Observe
from snnir.ir.rewrite import like
from snnir.passes.divide_values import Division
from snnir.passes.factors import NotCarriedError, Reader, divisible, spread_axis
from snnir.passes.scale_groups import scale_groups

__all__ = ["Candidate", "apply_factors", "candidates", "choose_factors"]

_ENOUGH = 32
"""How many numbers an input must show in each channel, so that ranges of its own are known for it."""
_PAYS = 0.5
"""By how much factors must lessen the squared error that the rounding of a value causes in what takes it: by half a bit."""
_FAR = 0.25
"""The share of its levels that the data of an input far from 0 must use, or the middle of their range is taken off."""
_WIDER = 1.5
"""How much wider than seen the ranges are taken from which the middle is taken off."""
_HEADROOM = 0.8
"""Factors of an activation's channels are ranges to this power: small ranges, known from few numbers, keep room above them."""
_FEW = 2.0
"""The least factor of an activation's channel, times the square root of the numbers that it is known from."""
_SMALL = 0.1
"""How small the squared error that a channel causes may at least be, as a share of that of the average one."""
_MEETING = 1.25
"""How many times the range of another part one part must have that it meets, to be divided at all."""


@dataclass
class Candidate:
    """An observed value that may be divided by factors along `axis` (None: by one number), and what was seen of it."""

    node: Node
    raw: bool
    """Whether the host divides it."""
    free: bool
    """Whether it may be divided at all; what it meets then takes its range."""
    axis: int | None
    largest: np.ndarray
    """The largest magnitude in each channel [C] ([1]: of all)."""
    powers: np.ndarray
    """The sum of magnitudes to the power of 8 in each channel."""
    ends: np.ndarray
    """The least and the greatest number in each channel [2, C]."""
    readers: Sequence[Reader]
    """What takes it, where factors of 2, 3 ... stand for its channels."""
    movable: bool = False
    """Whether constants can be taken off as well."""
    count: int = 0
    """How many numbers each channel has shown."""

    def see(self, array: np.ndarray) -> None:
        """Take an array of calibration data into account."""
        if array.size:
            rows = np.abs(array).reshape(-1) if self.axis is None else np.moveaxis(np.abs(array), self.axis, 0)
            rows = rows.reshape(len(self.largest), -1).astype(np.float64)
            np.maximum(self.largest, rows.max(axis=1), out=self.largest)
            if self.movable:
                whole = (array.reshape(-1) if self.axis is None else np.moveaxis(array, self.axis, 0)).reshape(rows.shape)
                np.minimum(self.ends[0], whole.min(axis=1), out=self.ends[0])
                np.maximum(self.ends[1], whole.max(axis=1), out=self.ends[1])
            self.powers += (rows**8).sum(axis=1)
            self.count += rows.shape[1]

    @property
    def middles(self) -> np.ndarray:
        """What is taken off each channel [C]: the middle of its range where that saves a bit in one of them, else 0."""
        nothing = np.zeros(len(self.largest))
        if not self.movable or self.count < _ENOUGH:
            return nothing
        low, high = self.ends
        span = self.largest * (2 if low.min() < 0 else 1)
        worthwhile = bool(((high - low <= _FAR * span) & (high > low)).any())
        return np.where(high > low, (low + high) / 2, 0.0) if worthwhile else nothing

    @property
    def ranges(self) -> np.ndarray:
        """What a scale of few bits should span in each channel.

        Of inputs all that was seen. Of activations the 8th power mean: of uniform, half normal and exponential numbers it is 0.7
        to 0.76 of the interval with the least squared error at 4 bits, and a few outliers do not change it.
        """
        if self.middles.any():
            return np.where(self.ends[1] > self.ends[0], (self.ends[1] - self.ends[0]) * (_WIDER / 2), self.largest)
        return self.largest if self.raw or not self.count else (self.powers / self.count) ** 0.125


def candidates(graph: Graph, raw: frozenset[Value], inputs: Mapping[str, np.ndarray]) -> list[Candidate]:
    """The observed values (bodies included), and along which axis factors can be carried to all that takes them.

    `raw` are the values of the host.
    """
    sizes = {**bind_sizes(graph, inputs), BATCH: 2}
    found = []
    for nodes in scale_groups(graph, (Observe, FakeQuantize)):
        if any(isinstance(node.op, FakeQuantize) for node in nodes):
            continue
        for node in nodes:
            value = node.operands[0]
            fixed = value.is_constant or value.type.rank < 1 or 0 in value.type.shape
            axes: list[int | None] = [*dict.fromkeys((1, value.type.rank - 1))] if value.type.rank > 1 else []
            for axis in [] if fixed else [*axes, None]:
                if axis is not None and not isinstance(value.type.shape[axis], int):
                    continue
                count = 1 if axis is None else concrete(value.type.shape[axis])
                numbers = np.array([2.0]) if axis is None or count == 1 else np.arange(2.0, count + 2)
                readers = _possible(graph, node, value in raw, axis, numbers, sizes)
                if readers is not None:
                    movable = value in raw and _possible(graph, node, True, axis, numbers, sizes, moved=True) is not None
                    found.append(_candidate(node, value in raw, True, axis, count, readers, movable))
                    break
            else:
                found.append(_candidate(node, value in raw, False, None, 1, (), False))
    return found


def _candidate(
    node: Node, raw: bool, free: bool, axis: int | None, count: int, readers: Sequence[Reader], movable: bool
) -> Candidate:
    ends = np.array([[np.inf], [-np.inf]]).repeat(count, axis=1)
    return Candidate(node, raw, free, axis, np.zeros(count), np.zeros(count), ends, readers, movable)


def _possible(
    graph: Graph,
    node: Node,
    raw: bool,
    axis: int | None,
    numbers: np.ndarray,
    sizes: Mapping[str, int],
    moved: bool = False,
) -> list[Reader] | None:
    """What takes the value where factors can be carried to it, else None."""
    try:
        factor = spread_axis(node.operands[0], axis or 0, numbers, sizes)
        if not raw:
            divisible(node.operands[0], factor)
        offsets = {node: factor} if moved else {}
        division = Division({node: factor}, offsets, sizes, {node} if raw else set())
        division.rewrite(graph, like(graph), {})
    except NotCarriedError:
        return None
    return division.readers


def choose_factors(graph: Graph, found: Sequence[Candidate]) -> dict[Node, np.ndarray]:
    """Factors [C] or [1] of the candidates that need any, once they have seen the data."""
    known = {candidate.node: candidate for candidate in found}
    chosen: dict[Node, np.ndarray] = {}
    for nodes in scale_groups(graph, (Observe, FakeQuantize)):
        members = [known[node] for node in nodes if node in known]
        fixed = [float(member.ranges.max()) for member in members if not member.free]
        reference = max(fixed, default=0.0) or max((float(member.ranges.max()) for member in members), default=0.0)
        for member in members:
            factors = _factors(member, reference) if member.free else None
            if factors is not None:
                chosen[member.node] = factors
    return chosen


def _factors(member: Candidate, reference: float) -> np.ndarray | None:
    ranges = member.ranges[member.ranges > 0]
    if not len(ranges):
        return None
    top = float(ranges.max())
    if member.axis is not None and (member.count >= _ENOUGH or not member.raw):
        relative = np.where(member.ranges > 0, member.ranges / top, 1.0)
        if not member.raw:
            relative = np.maximum(relative**_HEADROOM, min(_FEW / np.sqrt(member.count), 1.0))
        weights = _weights(member, relative)
        noise = float(np.mean(relative**2 * weights))
        if noise <= _PAYS * float(np.mean(weights)) or member.middles.any():
            # a channel that weighs little needs no finer levels than the others make worthwhile
            least = np.sqrt(_SMALL * noise / np.maximum(weights, np.finfo(np.float64).tiny))
            return np.asarray(np.maximum(relative, np.minimum(least, 1.0)) * top / reference)
    return np.array([top / reference]) if not 1 / _MEETING < reference / top < _MEETING else None


def _weights(member: Candidate, ranges: np.ndarray) -> np.ndarray:
    """What an error in each channel counts [C]: its square in each output of what takes it, relative to the square of what that
    output adds up, on average over all outputs."""
    total, outputs = np.zeros(len(ranges)), 0
    for reader in member.readers:
        mine = (reader.factors >= 2) & (reader.squares > 0)
        channel = reader.factors[mine].astype(np.int64) - 2
        squares, output = reader.squares[mine], reader.outputs[mine]
        sums = np.bincount(output, squares * ranges[channel] ** 2)
        total += np.bincount(channel, squares / np.maximum(sums[output], np.finfo(np.float64).tiny), len(ranges))
        outputs += int(np.count_nonzero(sums))
    return total / outputs if outputs else np.ones(len(ranges))


def apply_factors(
    graph: Graph, found: Sequence[Candidate], chosen: Mapping[Node, np.ndarray], inputs: Mapping[str, np.ndarray]
) -> Graph:
    """The graph with the values of `chosen` divided, and everything else changed so that it computes the same."""
    sizes = {**bind_sizes(graph, inputs), BATCH: 2}
    axes = {candidate.node: candidate.axis for candidate in found}
    raw = {candidate.node for candidate in found if candidate.raw}
    plan = {node: spread_axis(node.operands[0], axes[node] or 0, numbers, sizes) for node, numbers in chosen.items()}
    middles = {candidate.node: candidate.middles for candidate in found if candidate.node in chosen}
    offsets = {
        node: spread_axis(node.operands[0], axes[node] or 0, numbers, sizes) for node, numbers in middles.items() if numbers.any()
    }
    return Division(plan, offsets, sizes, raw).rewrite(graph, like(graph), {})
