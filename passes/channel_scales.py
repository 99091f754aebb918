"""A scale for each channel: values are divided by constant factors, so that one scale for all suits every channel.

A level of channel c of v / F stands for F[c] times one of v, so that dividing by factors is the same as a scale for each
channel; what takes the value carries the factors in its weights, what gives it divides its own (cross-layer equalisation: Nagel
et al., arXiv:1906.04721). The graph computes what it computed, in other units in between.

1. An input (and what the host computes from one) is divided by the host, in real numbers, before it is encoded: one factor for
   each channel or feature. Where data are far from 0 and all that takes the input is linear, the middle of each channel's range
   is taken off first.
2. An activation behind a ReLU, leaky ReLU or PReLU gets one factor for each channel where that pays (`choose_factors.py`); the
   weights before it are divided.
3. Parts of a concatenation, and whatever else only meets in data movement, keep ranges of their own: a factor for each part.
4. What compares or multiplies levels keeps one scale: states of scans, products, quantizers of the model itself, outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from snnir.errors import CalibrationError
from snnir.ir import BATCH, Graph, Node, Value
from snnir.ir.dims import concrete
from snnir.ir.execute import bind_sizes
from snnir.ir.ops import FakeQuantize, Masked, Observe
from snnir.ir.rewrite import like
from snnir.passes.divide_values import Division
from snnir.passes.factors import NotCarriedError, Reader, divisible, spread_axis
from snnir.passes.falling_slopes import LargerOfTwo, observed_pairs
from snnir.passes.scale_groups import scale_groups

__all__ = ["ENOUGH", "Candidate", "apply_factors", "candidates", "not_finite"]

ENOUGH = 32
"""How many numbers an input must show in each channel, so that ranges of its own are known for it."""
_SHOWN = 1 << 16
"""How many numbers of an array are looked at, at most, where scales for channels are chosen."""
_FAR = 0.25
"""The share of its levels that the data of an input far from 0 must use, or the middle of their range is taken off."""
_WIDER = 1.5
"""How much wider than seen the ranges are taken from which the middle is taken off."""


def not_finite(value: Value) -> str:
    """What is said where a value leaves the range of its type: by an infinity of the model, or by the calibration data."""
    said = f"calibration data make {value.name} NaN, infinite or far too large"
    node = _with_infinity(value)
    if node is not None:
        return (
            f"{said}; it is computed from {node.describe()}, where the model writes an infinity, for which no level stands and "
            "which only a softmax takes: write a finite number there (such as -1e4 for minus infinity)"
        )
    return f"{said}; look at the data: are they scaled as the model expects?"


def _with_infinity(value: Value) -> Node | None:
    """The nearest node before a value that writes an infinity, by a mask or a constant; None where there is none."""
    rest, seen = [value], {value}
    for found in rest:
        node = found.producer
        if node is None:
            continue
        if isinstance(node.op, Masked):
            return node
        for operand in node.operands:
            if operand.is_constant and operand.array.dtype.kind == "f" and bool(np.isinf(operand.array).any()):
                return node
            if operand not in seen:
                seen.add(operand)
                rest.append(operand)
    return None


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
    shown: list[np.ndarray] = field(default_factory=list)
    """Some of them [C, n], evenly spaced."""
    pair: LargerOfTwo | None = None
    """The maximum with another function that takes the same factors, where the value is part of one."""

    @property
    def watched(self) -> Value:
        """The value whose numbers say which factors suit."""
        return self.node.operands[0] if self.pair is None else self.pair.result

    def factors(self, numbers: np.ndarray) -> dict[Node, np.ndarray]:
        """`numbers` [C] for its channels, by each `observe` node that they concern."""
        mates = {} if self.pair is None else {self.pair.falling: numbers[self.pair.places]}
        return {self.node: numbers, **mates}

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
            with np.errstate(over="ignore", invalid="ignore"):
                self.powers += (rows**8).sum(axis=1)
            if not np.isfinite(self.powers).all():
                raise CalibrationError(not_finite(self.node.operands[0]))
            self.count += rows.shape[1]
            if self.axis is not None and self.free:
                signed = np.moveaxis(array, self.axis, 0).reshape(rows.shape)
                self.shown.append(signed[:, :: max(rows.shape[1] * len(rows) // _SHOWN, 1)].astype(np.float32))

    @property
    def middles(self) -> np.ndarray:
        """What is taken off each channel [C]: the middle of its range where that saves a bit in one of them, else 0."""
        nothing = np.zeros(len(self.largest))
        if not self.movable or self.count < ENOUGH:
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
    pairs, found = observed_pairs(graph), []
    mates = {pair.falling for pair in pairs.values()}
    for nodes in scale_groups(graph, (Observe, FakeQuantize)):
        if any(isinstance(node.op, FakeQuantize) for node in nodes):
            continue
        found += [_best(graph, node, node.operands[0] in raw, pairs.get(node), sizes) for node in nodes if node not in mates]
    return found


def _best(graph: Graph, node: Node, raw: bool, pair: LargerOfTwo | None, sizes: Mapping[str, int]) -> Candidate:
    """The candidate with factors along the first axis that is possible."""
    value = node.operands[0]
    fixed = value.is_constant or value.type.rank < 1 or 0 in value.type.shape
    axes: list[int | None] = [*dict.fromkeys((1, value.type.rank - 1))] if value.type.rank > 1 else []
    if pair is not None:
        axes = [pair.axis]
    for axis in [] if fixed else [*axes, None]:
        if axis is not None and not isinstance(value.type.shape[axis], int):
            continue
        count = 1 if axis is None else concrete(value.type.shape[axis])
        numbers = np.array([2.0]) if axis is None or count == 1 else np.arange(2.0, count + 2)
        candidate = _candidate(node, raw, True, axis, count, pair if axis is not None else None)
        readers = _possible(graph, candidate, numbers, sizes)
        if readers is not None:
            candidate.readers = readers
            candidate.movable = raw and _possible(graph, candidate, numbers, sizes, moved=True) is not None
            return candidate
    return _candidate(node, raw, False, None, 1, None)


def _candidate(node: Node, raw: bool, free: bool, axis: int | None, count: int, pair: LargerOfTwo | None) -> Candidate:
    ends = np.array([[np.inf], [-np.inf]]).repeat(count, axis=1)
    return Candidate(node, raw, free, axis, np.zeros(count), np.zeros(count), ends, (), pair=pair)


def _possible(
    graph: Graph, candidate: Candidate, numbers: np.ndarray, sizes: Mapping[str, int], moved: bool = False
) -> list[Reader] | None:
    """What takes the value where factors can be carried to it, else None."""
    node, axis = candidate.node, candidate.axis or 0
    try:
        plan = {member: spread_axis(member.operands[0], axis, own, sizes) for member, own in candidate.factors(numbers).items()}
        if not candidate.raw:
            for member, factor in plan.items():
                divisible(member.operands[0], factor)
        offsets = {node: plan[node]} if moved else {}
        division = Division(plan, offsets, sizes, {node} if candidate.raw else set())
        division.rewrite(graph, like(graph), {})
    except NotCarriedError:
        return None
    return division.readers


def apply_factors(
    graph: Graph, found: Sequence[Candidate], chosen: Mapping[Node, np.ndarray], inputs: Mapping[str, np.ndarray]
) -> Graph:
    """The graph with the values of `chosen` divided, and everything else changed so that it computes the same."""
    sizes = {**bind_sizes(graph, inputs), BATCH: 2}
    axes = {candidate.node: candidate.axis for candidate in found}
    raw = {candidate.node for candidate in found if candidate.raw}
    plan = {}
    for candidate in found:
        if candidate.node in chosen:
            for node, numbers in candidate.factors(chosen[candidate.node]).items():
                plan[node] = spread_axis(node.operands[0], candidate.axis or 0, numbers, sizes)
    middles = {candidate.node: candidate.middles for candidate in found if candidate.node in chosen}
    offsets = {
        node: spread_axis(node.operands[0], axes[node] or 0, numbers, sizes) for node, numbers in middles.items() if numbers.any()
    }
    return Division(plan, offsets, sizes, raw).rewrite(graph, like(graph), {})
