"""Equalize channels: scale every channel so that all of them need levels of the same worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snnir.errors import UsageError
from snnir.ir import FLOAT, Graph, Value
from snnir.ir.execute import execute
from snnir.ir.ops import Add, Conv, Elementwise, Linear, MaxPool, Mul, Scan
from snnir.ir.rewrite import copy_constants, like
from snnir.passes.calibrate import chunks
from snnir.passes.channel_scales import ChannelScales, homogeneous
from snnir.passes.infra import Context, Pass, Result, register
from snnir.passes.place_observers import try_observers

__all__ = ["EqualizeChannels"]

_KEPT = 2048
"""Elements of each channel that are looked at."""
_CLIPS = np.geomspace(1.0, 0.1, 12)
_SHARE = 0.5
"""The exponent of a channel's range in its factor, with 4 bits or fewer; 1 would give all channels one range."""
_FEW_BITS, _ENOUGH_BITS = 4, 8
"""From the first to the second number of bits the exponent goes down to 0: what few levels gain is then less than what is
lost where other data go beyond the range of a channel on calibration data."""
_WIDEST = 4.0
"""No channel is scaled by more than this against the typical one: one that calibration data hardly move says little."""


@register
@dataclass(frozen=True)
class EqualizeChannels(Pass):
    """Scale channels so that levels of one worth suit all of them (Nagel et al., arXiv:1906.04721).

    1. A factor per channel passes through ReLU and other positively homogeneous ops, max pooling, data movement and sums whose
       parts share it (`channel_scales.py`); `linear` and `conv` take it up in their weights, before and after.
    2. The factor of a channel is the range that suits levels of `bits` bits best on calibration data (least squared error of
       rounding and clipping); where several values share it, the geometric mean of theirs.
    3. Only a share of that is done, the square root with 4 bits and nothing from 8 bits on: channels of little range have readers
       with large weights as a rule, and calibration data do not show all of a range.
    4. Outputs do not change, and nothing is done without calibration data.

    The paper equalizes ranges of weights; here weights have a grid per channel of their own, and what a layer shares is the
    scale of its activations.
    """

    name = "equalize-channels"
    takes = gives = FLOAT

    bits: int = 4

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 16:
            raise UsageError(f"bits={self.bits} is out of range: equalize-channels takes 2 to 16 bits")

    @property
    def share(self) -> float:
        """The exponent of a channel's range in its factor."""
        return _SHARE * min(max((_ENOUGH_BITS - self.bits) / (_ENOUGH_BITS - _FEW_BITS), 0.0), 1.0)

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass."""
        if not context.calibration or not self.share or try_observers(graph, True).refused:
            return Result(graph, False)
        analyses = {id(body): ChannelScales(body) for body in _bodies(graph)}
        ranges = self._ranges(graph, analyses, context.calibration)
        if not ranges:
            return Result(graph, False)
        factors = {body: _factors(analysis, ranges, self.share) for body, analysis in analyses.items()}
        return Result(_scaled(graph, analyses, factors), True, (f"{len(ranges)} values got a scale for each channel",))

    def _ranges(
        self, graph: Graph, analyses: Mapping[int, ChannelScales], data: Mapping[str, np.ndarray]
    ) -> dict[Value, np.ndarray]:
        """The range of each channel of every value that becomes levels and may be scaled."""
        axes = {
            value: analysis.places[value][0]
            for body in _bodies(graph)
            for analysis in [analyses[id(body)]]
            for value in body.values.values()
            if analysis.free(value) and _becomes_levels(value)
        }
        if not axes:
            return {}
        kept: dict[Value, list[np.ndarray]] = {value: [] for value in axes}
        parts = list(chunks(graph, data))

        def observe(value: Value, array: np.ndarray) -> None:
            if value in kept:
                rows = np.moveaxis(array, axes[value], 0).reshape(array.shape[axes[value]], -1)
                most = max(_KEPT // len(parts), 16)
                kept[value].append(rows[:, :: -(-rows.shape[1] // most)] if rows.shape[1] > most else rows.copy())

        for part in parts:
            execute(graph, part, observe)
        return {value: self._range(np.concatenate(rows, axis=1)) for value, rows in kept.items() if rows}

    def _range(self, rows: np.ndarray) -> np.ndarray:
        """The range of levels that suits each row best, 0 for rows of zeros."""
        high, low = rows.max(axis=1).clip(min=0), rows.min(axis=1).clip(max=0)
        count = (1 << self.bits) - 1
        best, least = high - low, np.full(len(rows), np.inf)
        for clip in _CLIPS:
            scale = np.maximum((high - low) * clip / count, 1e-30)
            lowest = np.floor(low * clip / scale + 0.5)
            levels = np.clip(np.floor(rows / scale[:, None] + 0.5), lowest[:, None], lowest[:, None] + count)
            error = ((levels * scale[:, None] - rows) ** 2).sum(axis=1)
            better = error < least
            best, least = np.where(better, (high - low) * clip, best), np.where(better, error, least)
        return np.asarray(best)


def _bodies(graph: Graph) -> list[Graph]:
    return [graph, *(body for node in graph.nodes if node.body is not None for body in _bodies(node.body))]


def _becomes_levels(value: Value) -> bool:
    node = value.producer
    if node is None or all(operand.is_constant for operand in node.operands):
        return False
    weighed = any(isinstance(user.op, Linear | Conv | MaxPool | Mul) for user in value.users)
    return (isinstance(node.op, Elementwise) and homogeneous(node)) or (isinstance(node.op, Add | Linear | Conv) and weighed)


def _factors(analysis: ChannelScales, ranges: Mapping[Value, np.ndarray], exponent: float) -> np.ndarray:
    """The factor of every id: the geometric mean over its values of range by typical range; 1 where nothing is known."""
    logs, counts = np.zeros(len(analysis.parents)), np.zeros(len(analysis.parents))
    for value, found in ranges.items():
        if value not in analysis.places:
            continue
        alive = found > 0
        if not alive.any():
            continue
        typical = float(np.median(found[alive]))
        share = np.clip(np.where(alive, found, typical / _WIDEST) / typical, 1 / _WIDEST, _WIDEST)
        ids = analysis.find(analysis.places[value][1])
        np.add.at(logs, ids, exponent * np.log(share))
        np.add.at(counts, ids, 1.0)
    factors = np.exp(logs / np.maximum(counts, 1))
    factors[0] = 1.0
    return np.asarray(factors[analysis.find(np.arange(len(factors)))])


def _scaled(old: Graph, analyses: Mapping[int, ChannelScales], factors: Mapping[int, np.ndarray]) -> Graph:
    """The graph with each channel divided by its factor."""
    analysis, known = analyses[id(old)], factors[id(old)]
    new = like(old)
    values = {value: new.input(value.name, value.type) for value in old.inputs}
    copy_constants(old, new, values)

    def factor(value: Value) -> np.ndarray | None:
        if value not in analysis.places:
            return None
        found = known[analysis.find(analysis.places[value][1])]
        return found if (found != 1).any() else None

    def spread(value: Value) -> np.ndarray | None:
        """The factors of a value, in a shape that spreads over it."""
        found = factor(value)
        return None if found is None else found.reshape(-1, *[1] * (value.type.rank - 1 - analysis.places[value][0]))

    def changed(constant: Value, array: np.ndarray) -> Value:
        return new.constant(f"{constant.name}.equal", array.astype(constant.array.dtype))

    for node in old.nodes:
        operands = [values[value] for value in node.operands]
        body = None if node.body is None else _scaled(node.body, analyses, factors)
        constant = [value.is_constant for value in node.operands]
        if isinstance(node.op, Linear | Conv) and all(constant[1:]) and not constant[0]:
            before, after = factor(node.operands[0]), factor(node.output)
            if before is not None or after is not None:
                weight = node.operands[1].array.astype(np.float64)
                ones = [1] * (weight.ndim - 2)
                if before is not None:
                    groups = node.op.groups if isinstance(node.op, Conv) else 1
                    columns = np.repeat(before.reshape(groups, -1), len(weight) // groups, axis=0)
                    weight = weight * columns.reshape(*columns.shape, *ones)
                if after is not None:
                    weight = weight / after.reshape(-1, 1, *ones)
                operands[1] = changed(node.operands[1], weight)
                if len(operands) == 3 and after is not None:
                    operands[2] = changed(node.operands[2], node.operands[2].array / after)
        elif isinstance(node.op, Add) and any(constant) and not all(constant):
            found = spread(node.output)
            if found is not None:
                for index, flag in enumerate(constant):
                    if flag:
                        operands[index] = changed(node.operands[index], node.operands[index].array / found)
        if isinstance(node.op, Scan) or body is not None:
            names = [value.name for value in node.outputs]
            results = new.add(node.op, *operands, names=names, origin=node.origin, body=body)
        else:
            results = new.copy(node, operands)
        values.update(zip(node.outputs, results, strict=True))
    for name, value in old.outputs.items():
        new.output(name, values[value])
    return new
