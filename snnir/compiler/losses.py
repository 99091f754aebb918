"""Where quantization loses accuracy: every value that becomes levels, and every weight, beside the float network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from snnir.ir import Graph, Node, Quantization, Value
from snnir.ir.execute import execute, real
from snnir.ir.ops import Conv, Elementwise, Linear, Mul, Observe, Scan, Sigmoid, SparseLinear, Tanh
from snnir.runtime.accuracy import decibels
from snnir.runtime.inputs import sample_count, samples

__all__ = ["ActivationLoss", "Losses", "WeightLoss", "graphs_by_prefix", "measure_losses"]

_CHUNK = 4
_BLOCK = 1 << 15
"""Elements that are compared at once: what is between stays in a near cache."""
_ASYMPTOTE = 0.01
"""How near an end of its range, in shares of that range, an activation counts as saturated."""


@dataclass(frozen=True)
class ActivationLoss:
    """A value that becomes levels, on calibration data."""

    name: str
    """`<first result of the scan>/<value>` inside a scan."""
    option: str
    """The name that `value_bits` takes."""
    observed: str
    """The name, with prefix, of its `observe` in the calibrated graph."""
    levels: Quantization
    low: float
    high: float
    """The range of the float value."""
    clipped: float
    """The share of elements other than 0 that lie beyond the levels."""
    used: int
    """How many of the levels occur."""
    sqnr: float
    """dB, where all that it is computed from is quantized as well."""
    alone: float
    """dB, where nothing else is quantized: its own rounding and clipping."""
    lost_channels: tuple[int, ...]
    """Channels that are always 0 and were not before."""
    silent_channels: tuple[int, ...]
    """Channels of an input that are 0 in all calibration data."""
    neurons: int
    """Elements of one sample; in the body of a scan those of one element of the sequence."""
    magnitude: float
    """The sum of magnitudes per sample, in real units, over all elements of a sequence."""

    @property
    def levels_available(self) -> int:
        """How many levels there are."""
        return self.levels.hi - self.levels.lo + 1


@dataclass(frozen=True)
class WeightLoss:
    """A constant weight and the integers that it became."""

    name: str
    layer: str
    zeros: float
    """The share of weights other than 0 that became 0."""
    outlier: float
    """The largest magnitude in medians of the magnitudes other than 0."""
    size: int


@dataclass(frozen=True)
class Losses:
    """All values that become levels and all weights, in the order of the graph."""

    activations: tuple[ActivationLoss, ...]
    weights: tuple[WeightLoss, ...]
    saturated: Mapping[str, float]
    """Bounded activations (sigmoid, tanh): the share of elements near an end of their range, by the node's description."""
    samples: int


def graphs_by_prefix(graph: Graph, prefix: str = "") -> Iterator[tuple[str, Graph]]:
    """The graph and all bodies of its scans, with the prefix of the names of their values."""
    yield prefix, graph
    for node in graph.nodes:
        if isinstance(node.op, Scan) and node.body is not None:
            yield from graphs_by_prefix(node.body, f"{prefix}{node.outputs[0].name}/")


@dataclass
class _Sums:
    value: Value
    twin: Value
    """The value of the quantized graph."""
    signal: float = 0.0
    noise: float = 0.0
    own: float = 0.0
    low: float = np.inf
    high: float = -np.inf
    clipped: int = 0
    nonzero: int = 0
    neurons: int = 0
    magnitude: float = 0.0
    seen: set[int] = field(default_factory=set)
    peaks: list[np.ndarray] = field(default_factory=list)

    @property
    def source(self) -> Value:
        """What is observed."""
        return self.value.node.operands[0]

    @property
    def levels(self) -> Quantization:
        quantization = self.twin.type.levels
        return quantization

    def add(self, x: np.ndarray, stored: np.ndarray) -> None:
        reals, levels = x.reshape(-1), stored.reshape(-1)
        for first in range(0, x.size, _BLOCK):
            self._add(reals[first : first + _BLOCK], levels[first : first + _BLOCK])
        self.neurons = x.size // max(x.shape[0], 1) if x.ndim else 1
        axis = _channel_axis(self.value, x.ndim)
        if axis is not None:
            others = tuple(other for other in range(x.ndim) if other != axis)
            peaks = np.stack([_largest(x, others), real(_largest(stored, others), self.twin.type)])
            self.peaks = [np.maximum(self.peaks[0], peaks)] if self.peaks else [peaks]

    def _add(self, x: np.ndarray, stored: np.ndarray) -> None:
        y, levels = real(stored, self.twin.type), self.levels
        alone = real(levels.round(x), self.twin.type)
        self.signal += float(np.square(x, dtype=np.float64).sum())
        self.noise += float(np.square(y - x, dtype=np.float64).sum())
        self.own += float(np.square(alone - x, dtype=np.float64).sum())
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
        scale = levels.scale
        self.clipped += int(((x > (levels.hi + 0.5) * scale) | (x < (levels.lo - 0.5) * scale)).sum())
        self.nonzero += int((x != 0).sum())
        self.magnitude += float(np.abs(x).sum(dtype=np.float64))
        if len(self.seen) <= levels.hi - levels.lo:
            self.seen.update(np.unique(stored).tolist())

    def loss(self, prefix: str, is_input: bool, samples: int) -> ActivationLoss:
        lost: tuple[int, ...] = ()
        silent: tuple[int, ...] = ()
        if self.peaks:
            before, after = self.peaks[0]
            lost = tuple(np.flatnonzero((before > 0) & (after == 0)).tolist())
            silent = tuple(np.flatnonzero(before == 0).tolist()) if is_input else ()
        return ActivationLoss(
            name=prefix + self.twin.name,
            option=prefix + self.source.name,
            observed=prefix + self.value.name,
            levels=self.levels,
            low=self.low,
            high=self.high,
            clipped=self.clipped / self.nonzero if self.nonzero else 0.0,
            used=len(self.seen),
            sqnr=decibels(self.signal, self.noise),
            alone=decibels(self.signal, self.own),
            lost_channels=lost,
            silent_channels=silent,
            neurons=self.neurons,
            magnitude=self.magnitude / max(samples, 1),
        )


def _largest(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The largest magnitudes over `axes`; those of integers are int64."""
    kind = array.dtype if array.dtype.kind == "f" else np.dtype(np.int64)
    return np.asarray(np.maximum(array.max(axis=axes).astype(kind), -array.min(axis=axes).astype(kind)))


def _channel_axis(value: Value, rank: int) -> int | None:
    """The last axis of what linear layers take or give, else axis 1; None for values without channels."""
    if rank < 2:
        return None
    source = value.producer.operands[0].producer if value.producer is not None else None
    near = [*value.users, *([source] if source is not None else [])]
    return rank - 1 if rank == 2 or (rank == 3 and any(isinstance(node.op, Linear) for node in near)) else 1


def measure_losses(calibrated: Graph, quantized: Graph, data: Mapping[str, np.ndarray], most: int) -> Losses:
    """Compare a calibrated graph (with `observe`) and the quantized one made of it, on the first `most` samples."""
    pairs, prefixes = _pairs(calibrated, quantized)
    twins = {item.twin: item for item in pairs.values()}
    saturating = {
        node.output: node for _, node in calibrated.walk() if isinstance(node.op, Sigmoid | Tanh) and _goes_on(node.output)
    }
    near: dict[Value, list[int]] = {value: [0, 0] for value in saturating}
    arrays: dict[Value, list[np.ndarray]] = {}

    def keep(value: Value, array: np.ndarray) -> None:
        if value in pairs:
            arrays.setdefault(value, []).append(array)
        elif value in near and array.size:
            ends = (0.0, 1.0) if isinstance(saturating[value].op, Sigmoid) else (-1.0, 1.0)
            margin = _ASYMPTOTE * (ends[1] - ends[0])
            near[value][0] += int(((array < ends[0] + margin) | (array > ends[1] - margin)).sum())
            near[value][1] += array.size

    def compare(value: Value, array: np.ndarray) -> None:
        item = twins.get(value)
        if item is None or not array.size:
            return
        queue = arrays.get(item.value)
        expected = queue.pop(0) if queue else None
        if expected is not None and expected.shape == array.shape:
            item.add(expected, array)

    total = min(sample_count(calibrated, data), most)
    for start in range(0, total, _CHUNK):
        part = samples(calibrated, data, start, min(start + _CHUNK, total))
        arrays.clear()
        execute(calibrated, part, keep)
        execute(quantized, part, compare)
    inputs = set(calibrated.inputs)
    activations = tuple(
        item.loss(prefixes[value], item.source in inputs, total)
        for value, item in pairs.items()
        if item.signal or item.noise or item.nonzero
    )
    shares = {saturating[value].describe(): count / size for value, (count, size) in near.items() if size}
    return Losses(activations, tuple(_weights(calibrated, quantized)), shares, total)


def _goes_on(value: Value) -> bool:
    """Whether the network computes with the levels of the value: an output may well be near 0 or 1."""
    return any(isinstance(node.op, Observe) and node.output.users for node in value.users)


def _pairs(calibrated: Graph, quantized: Graph) -> tuple[dict[Value, _Sums], dict[Value, str]]:
    """What each `observe` became, and the prefix of its name."""
    others = dict(graphs_by_prefix(quantized))
    pairs: dict[Value, _Sums] = {}
    prefixes: dict[Value, str] = {}
    for prefix, graph in graphs_by_prefix(calibrated):
        other = others.get(prefix)
        for node in graph.nodes:
            twin = None if other is None or not isinstance(node.op, Observe) else _twin(other, node)
            if twin is not None:
                pairs[node.output], prefixes[node.output] = _Sums(node.output, twin), prefix
    return pairs, prefixes


def _twin(graph: Graph, node: Node) -> Value | None:
    """The levels that an observed value became: called like it, or like a clip or activation before it."""
    names, value = [node.output.name], node.operands[0]
    names.append(value.name)
    while value.producer is not None and isinstance(value.producer.op, Elementwise):
        value = value.producer.operands[0]
        names.append(value.name)
    for name in names:
        found = graph.values.get(name)
        if found is not None and found.type.is_levels:
            return found
    return None


_INTEGERS = re.compile(r"(?P<name>.*)\.int(\.\d+)?")


def _weights(calibrated: Graph, quantized: Graph) -> Iterator[WeightLoss]:
    originals = dict(graphs_by_prefix(calibrated))
    for prefix, graph in graphs_by_prefix(quantized):
        for node in graph.nodes:
            if not isinstance(node.op, Linear | Conv | SparseLinear | Mul) or len(node.operands) < 2:
                continue
            integers = node.operands[1]
            match = _INTEGERS.fullmatch(integers.name)
            original = originals[prefix].values.get(match["name"]) if match and prefix in originals else None
            if original is None or original.data is None or original.data.size != integers.array.size:
                continue
            magnitudes = np.abs(original.array.reshape(-1).astype(np.float64))
            given = magnitudes > 0
            if not given.any():
                continue
            zeros = float((integers.array.reshape(-1)[given] == 0).mean())
            outlier = float(magnitudes.max() / np.median(magnitudes[given]))
            yield WeightLoss(prefix + original.name, node.describe(), zeros, outlier, magnitudes.size)
