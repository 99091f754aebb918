"""Calibrate: find which values need neurons, and the scale that suits the data best."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snnir.errors import CalibrationError, UsageError
from snnir.ir import BATCH, FLOAT, Dim, Graph, Node, Op, Quantization, Value
from snnir.ir.dims import substitute
from snnir.ir.execute import execute
from snnir.ir.ops import FakeQuantize, Observe
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.passes.balance_thresholds import balanced_thresholds
from snnir.passes.channel_scales import apply_factors, candidates, not_finite
from snnir.passes.choose_factors import ACCURATE, THRIFTY, Precision, choose_factors
from snnir.passes.functions.ranges import saturations
from snnir.passes.headroom import MOST_SAMPLES, Headroom, one_number_each
from snnir.passes.infra import Context, Pass, Result, register
from snnir.passes.place_observers import Placed, place_observers
from snnir.passes.properties import AVERAGES_SUBSTITUTED, BATCH_NORM_FOLDED, LAYERS_LOWERED
from snnir.passes.scale_groups import scale_groups

__all__ = ["METHODS", "Calibrate", "chunks", "first_samples", "shortened"]

METHODS = ("mse", "percentile", "minmax", "balance", "balance-channels")
BINS = 2048
_CHUNK = 64
_BALANCED = 16
"""Samples of a batch in which thresholds are balanced."""
_COARSE = tuple(np.geomspace(1.0, 0.03, 12).tolist())
"""Shares of the range of the data, at either end, that the levels may hold."""
_FINE = (0.82, 0.88, 0.94, 1.0, 1.06, 1.13, 1.22)
_FINER = (0.97, 0.985, 1.0, 1.015, 1.03)


@register
@dataclass(frozen=True)
class Calibrate(Pass):
    """Put an `observe` on every value that becomes levels, with the best scale for each number of bits.

    1. Inputs, activations, and sums that something other than a population or an output takes, get an `observe`.
    2. Values that must share a scale (operands of a concat, a state and what it becomes) are measured together.
    3. `method` chooses the scale: `mse` the one with the least squared rounding and clipping error over a histogram of
       the calibration data, `percentile` the one whose range holds `percentile` % of it on each side, `minmax` all of it.
       Scales are rounded to 4 significant digits. `mse` counts, where up to 256 samples show one number each of a channel, what
       one more may take (`headroom.py`). `balance` takes for the ends of activations what local threshold balancing
       finds in `iterations` batches of 16 samples (`balance_thresholds.py`), one for each value; `balance-channels` one for
       each channel, where weights can carry it, as factors that values are divided by; both take `minmax` for inputs and what
       goes below 0.
    4. The lowest level is chosen with the scale: 0 for data without negative numbers; from -0.2 to 3 there are few levels
       below 0 and many above.
    5. Quantizers of the model itself stay as they are; what must share a scale with one takes its levels. Where nothing is
       left to measure, no data are needed.
    6. Host ops before and after the network stay real; `allow_host` permits them inside it (`host_part.py`).
    7. With `channels`, values whose channels differ in range are divided by a factor for each channel first, wherever weights
       can carry it: those of inputs by the host (`channel_scales.py`); those of activations where levels of `bits` and weights of
       `weight_bits` bits gain more than the spikes cost, by the `rule` `thrifty` or `accurate` (`choose_factors.py`).
    8. Functions inside the network (`functions/region.py`) stay real here; a `saturate` holds each of their values in the
       range that the data take, widened, so that their integers have a known size.
    9. Where an open length has an upper end, because something adds up, compares or averages over it, ranges depend on it:
       the data are looked at cut to half, a quarter ... of their length as well (`shortened`).
    """

    name = "calibrate"
    takes = gives = FLOAT
    requires = (LAYERS_LOWERED, AVERAGES_SUBSTITUTED, BATCH_NORM_FOLDED)

    method: str = "mse"
    percentile: float = 99.9
    allow_host: bool = False
    channels: bool = True
    bits: int = 4
    weight_bits: int = 8
    iterations: int = 256
    rule: str = THRIFTY

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"calibration method {self.method!r} is unknown; choose one of {', '.join(METHODS)}")
        if self.rule not in (THRIFTY, ACCURATE):
            raise UsageError(f"rule {self.rule!r} of channel scales is unknown; choose {THRIFTY} or {ACCURATE}")
        if not 50 < self.percentile <= 100:
            raise UsageError(f"percentile {self.percentile} is out of range; choose above 50, at most 100")
        if self.iterations < 1:
            raise UsageError(f"iterations={self.iterations} is out of range: thresholds are balanced in 1 or more")

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass. Raises `UnsupportedError` for ops without spiking form, `CalibrationError` without data."""
        observed = place_observers(graph, self.allow_host)
        placed = observed.graph
        remarks: list[str] = []
        if context.calibration is not None:
            context = dataclasses.replace(context, shortened=shortened(placed, context.calibration))
        groups, _ = _own_scales(placed)
        thresholds: dict[str, float] = {}
        if groups and self.method.startswith("balance") and context.calibration is not None:
            placed, thresholds = self._balanced(observed, context.calibration)
            remarks.append(f"thresholds of {len(thresholds)} values are balanced in {self.iterations} batches")
        elif groups and self.channels and context.calibration is not None:
            placed, remarks = _with_channel_scales(
                observed, context.calibration, Precision(self.bits, self.weight_bits, self.rule)
            )
        groups, own = _own_scales(placed)
        found: dict[Node, Op] = {**own, **saturations(placed, context)}
        if not groups:
            remark = "every value that needs neurons has a quantizer of the model's own"
            return Result(_filled(placed, found), True, (remark,))
        if context.calibration is None and not any(isinstance(node.op, FakeQuantize) for _, node in placed.walk()):
            raise CalibrationError("pass calibrate needs calibration data: give inputs like those the model will see")
        if context.calibration is None:
            names = ", ".join(node.operands[0].name for nodes in groups for node in nodes)
            raise CalibrationError(
                f"calibration data are needed for values that the model does not quantize itself ({names}): "
                "give inputs like those the model will see"
            )
        group_of = {node.output: index for index, nodes in enumerate(groups) for node in nodes}
        histograms = _measure(placed, group_of, len(groups), context, self.method == "mse")
        for nodes, histogram in zip(groups, histograms, strict=True):
            ends = [thresholds[node.output.name] for node in nodes if node.output.name in thresholds]
            if ends and histogram.low >= 0:
                histogram = Histogram(0.0, max(ends))
            levels = [self.levels(histogram, bits) for bits in range(Observe.FEWEST_BITS, Observe.MOST_BITS + 1)]
            op = Observe(tuple(item.scale for item in levels), tuple(item.lo for item in levels))
            found.update(dict.fromkeys(nodes, op))
        remark = f"{len(groups)} scales for {len(found)} values, by {self.method}"
        return Result(_filled(placed, found), bool(found), (remark, *remarks))

    def _balanced(self, observed: Placed, data: Mapping[str, np.ndarray]) -> tuple[Graph, dict[str, float]]:
        """The graph with values divided by the balanced thresholds of their channels where that was asked for, and the
        threshold of each activation, by the name of what `observe` gives."""
        graph, single = observed.graph, self.method == "balance"
        found = [each for each in candidates(graph, observed.raw, data) if not each.raw and each.node in set(graph.nodes)]
        axes = {each.node: None if single or not each.free else each.axis for each in found}
        thetas = balanced_thresholds(graph, axes, chunks(graph, data, _BALANCED), self.iterations)
        chosen = {node: theta for node, theta in thetas.items() if axes[node] is not None}
        ends = {node.output.name: 1.0 if node in chosen else float(theta.max()) for node, theta in thetas.items()}
        return apply_factors(graph, found, chosen, data) if chosen else graph, ends

    def levels(self, histogram: Histogram, bits: int) -> Quantization:
        """The levels of `bits` bits, from the lowest one that the data need on."""
        low, high = histogram.low, histogram.high
        count = (1 << bits) - 1
        if self.method == "percentile":
            low, high = histogram.quantile(1 - self.percentile / 100), histogram.quantile(self.percentile / 100)
            low, high = min(low, 0.0), max(high, 0.0)
        if not high > low:
            low, high = histogram.low, histogram.high
        if not (high > low and np.isfinite(high - low)):
            return Quantization(1.0, -(1 << (bits - 1)) if histogram.low < 0 else 0, count)
        if self.method == "mse":
            return histogram.best_levels(bits)
        return _levels(low, high, bits)


def _near(share: float, factors: Sequence[float], changes: bool) -> list[float]:
    """Shares close to one of them; that alone where the end of the range is 0."""
    return sorted({min(share * factor, 1.0) for factor in factors}) if changes else [share]


def _levels(low: float, high: float, bits: int) -> Quantization:
    """Levels of `bits` bits from `low` to `high` (`low <= 0 <= high`), of a scale of 4 significant digits."""
    count = (1 << bits) - 1
    scale = float(f"{(high - low) / count:.4g}")
    lo = max(math.floor(low / scale + 0.5), -count)
    return Quantization(scale, lo, lo + count)


def _with_channel_scales(observed: Placed, data: Mapping[str, np.ndarray], precision: Precision) -> tuple[Graph, list[str]]:
    """The graph with factors for channels and parts that differ in range, and remarks on those that the host divides by."""
    graph = observed.graph
    found = candidates(graph, observed.raw, data)
    if not found:
        return graph, []
    seen = {candidate.watched: candidate for candidate in found}

    def observe(value: Value, array: np.ndarray) -> None:
        if value in seen:
            seen[value].see(array)

    for chunk in chunks(graph, data):
        execute(graph, chunk, observe)
    chosen = choose_factors(graph, found, precision)
    if not chosen:
        return graph, []
    remarks = []
    for candidate in found:
        factors = chosen.get(candidate.node)
        if factors is not None and candidate.raw and len(factors) > 1:
            name, axis = candidate.node.operands[0].name, candidate.axis
            spread = f"{factors.min() / factors.max():.2g} to 1"
            remarks.append(f"the host divides {name} by a factor for each of {len(factors)} places along axis {axis} ({spread})")
    changed = apply_factors(graph, found, chosen, data)
    remarks.append(f"{len(chosen)} values have a scale for each channel or part")
    return changed, remarks


def _own_scales(graph: Graph) -> tuple[list[list[Node]], dict[Node, Observe]]:
    """Groups of observers to measure, and those that take the scale of a quantizer of the model itself."""
    groups, found = [], {}
    for nodes in scale_groups(graph, (Observe, FakeQuantize)):
        given = [node.op.quantization for node in nodes if isinstance(node.op, FakeQuantize)]
        observers = [node for node in nodes if isinstance(node.op, Observe)]
        if given:
            scales = (given[0].scale,) * (Observe.MOST_BITS - Observe.FEWEST_BITS + 1)
            lows = Observe.lowest(any(levels.lo < 0 for levels in given))
            found.update({node: Observe(scales, lows) for node in observers})
        else:
            groups.append(observers)
    return groups, found


def _filled(graph: Graph, found: Mapping[Node, Op]) -> Graph:
    def rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        return rewriter.copy(node, operands, found[node]) if node in found else None

    return rebuild(graph, rule)[0]


@dataclass
class Histogram:
    """Counts of values in equal bins from `low` to `high`."""

    low: float = 0.0
    high: float = 0.0
    counts: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(BINS))

    @property
    def centers(self) -> np.ndarray:
        """The middle of each bin."""
        edges = np.linspace(self.low, self.high, BINS + 1)
        return (edges[1:] + edges[:-1]) / 2

    def add(self, array: np.ndarray) -> None:
        """Count the elements of `array`."""
        if self.high > self.low:
            self.counts += np.histogram(array, BINS, (self.low, self.high))[0]

    def best_levels(self, bits: int) -> Quantization:
        """The levels of `bits` bits with the least squared error of rounding and clipping.

        Both ends are clipped at shares of the data's range, first coarsely, then close to the best of these.
        """
        filled = self.counts > 0
        centers, counts = self.centers[filled], self.counts[filled]
        best, least, lowest = (1.0, 1.0), np.inf, (1.0,) if self.low >= 0 else _COARSE
        for shares in (_COARSE, _FINE, _FINER):
            around = best
            for below in lowest if shares is _COARSE else _near(around[0], shares, self.low < 0):
                for above in shares if shares is _COARSE else _near(around[1], shares, True):
                    if below * self.low == above * self.high:
                        continue
                    found = _levels(below * self.low, above * self.high, bits)
                    levels = np.floor(centers / found.scale + 0.5).clip(found.lo, found.hi)
                    error = float((levels * found.scale - centers) ** 2 @ counts)
                    if error < least:
                        best, least = (below, above), error
        return _levels(best[0] * self.low, best[1] * self.high, bits)

    def quantile(self, fraction: float) -> float:
        """The value below which `fraction` of all counted elements lie."""
        total = np.cumsum(self.counts)
        return float(self.centers[min(int(np.searchsorted(total, fraction * total[-1])), BINS - 1)]) if total[-1] else 0.0


def _measure(graph: Graph, group_of: Mapping[Value, int], count: int, context: Context, widen: bool) -> list[Histogram]:
    """Run the calibration data twice: for the ranges (which always hold 0), then for the histograms.

    With `widen`, and of few samples, they hold what one more may be expected to take (`headroom.py`).
    """
    assert context.calibration is not None
    histograms = [Histogram() for _ in range(count)]
    rooms: dict[Value, Headroom] = {}
    whole = chunks(graph, context.calibration)
    widen = widen and sum(_size(graph, chunk) for chunk in whole) <= MOST_SAMPLES
    wide, outer = False, set(graph.values.values())

    def range_of(value: Value, array: np.ndarray) -> None:
        if value in group_of and array.size:
            low, high = float(array.min()), float(array.max())
            if not (np.isfinite(low) and np.isfinite(high)):
                raise CalibrationError(not_finite(value))
            histogram = histograms[group_of[value]]
            histogram.low, histogram.high = min(histogram.low, low), max(histogram.high, high)
            axis = value.type.batch_axis if wide and value in outer else None
            if axis is not None and one_number_each(array, axis):
                rooms.setdefault(value, Headroom()).add(array, axis)

    def count_of(value: Value, array: np.ndarray) -> None:
        if value in group_of:
            histograms[group_of[value]].add(array)

    parts = [*whole, *(chunk for data in context.shortened for chunk in chunks(graph, data))]
    for stage, observer in enumerate((range_of, count_of)):
        for index, chunk in enumerate(parts):
            wide = widen and index < len(whole)
            execute(graph, chunk, observer)
            if context.progress is not None:
                context.progress("calibrating", stage * len(parts) + index + 1, 2 * len(parts))
        wide = False
        for value, room in rooms.items():
            beyond = room.beyond()
            if beyond.size:
                observer(value, beyond)
    return histograms


def _size(graph: Graph, data: Mapping[str, np.ndarray]) -> int:
    """The samples in the data."""
    return max((data[value.name].shape[value.type.batch_axis or 0] for value in graph.inputs if value.type.rank), default=0)


def chunks(graph: Graph, data: Mapping[str, np.ndarray], size: int = _CHUNK) -> list[dict[str, np.ndarray]]:
    """The data in pieces of `size` along the batch; whole where the model fixes its batch."""
    axes = {value.name: value.type.batch_axis for value in graph.inputs}
    if not axes or any(axis is None for axis in axes.values()):
        return [dict(data)]
    total = min(data[name].shape[axis or 0] for name, axis in axes.items())
    return [
        {name: data[name].take(range(start, min(start + size, total)), axis=axis) for name, axis in axes.items()}
        for start in range(0, total, size)
    ]


def shortened(graph: Graph, data: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], ...]:
    """The data cut to half, a quarter ... of their length along open axes that have an upper end, as far as anything is left of
    every value; nothing where there are none.

    Nor where an input would no longer fit to the others: one of integers without that axis, which may hold lengths, or
    one whose size follows from the open one.
    """
    found: list[dict[str, np.ndarray]] = []
    axes = {
        value.name: [axis for axis, size in enumerate(value.type.shape) if isinstance(size, Dim) and str(size) in graph.limits]
        for value in graph.inputs
    }
    for value in graph.inputs:
        others = {str(size) for size in value.type.shape if isinstance(size, Dim)} - {BATCH, *graph.limits}
        if others or (value.type.is_exact and not axes[value.name]):
            return ()
    longest = max((data[name].shape[axis] for name, places in axes.items() for axis in places), default=0)
    part = 2
    while longest // part:
        cut = dict(data)
        for name, places in axes.items():
            for axis in places:
                cut[name] = cut[name].take(range(-(-data[name].shape[axis] // part)), axis=axis)
        if not _leaves_something(graph, cut):
            break
        found.append(cut)
        part *= 2
    return tuple(found)


def _leaves_something(graph: Graph, data: Mapping[str, np.ndarray]) -> bool:
    """Whether no value of the graph is empty for inputs of these sizes."""
    pairs = [pair for value in graph.inputs for pair in zip(value.type.shape, data[value.name].shape, strict=True)]
    sizes = {str(size): number for size, number in pairs if isinstance(size, Dim)}
    shapes = (substitute(size, sizes) for node in graph.nodes for value in node.outputs for size in value.type.shape)
    return all(isinstance(size, Dim) or size > 0 for size in shapes)


def first_samples(graph: Graph, data: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """The first `count` samples; whole where the model fixes its batch."""
    axes = {value.name: value.type.batch_axis for value in graph.inputs}
    if not axes or any(axis is None for axis in axes.values()):
        return dict(data)
    return {name: data[name].take(range(min(count, data[name].shape[axis or 0])), axis=axis) for name, axis in axes.items()}
