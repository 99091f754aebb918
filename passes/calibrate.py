"""Calibrate: find which values need neurons, and the worth of a level that suits the data best."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snnir.errors import CalibrationError, UsageError
from snnir.ir import FLOAT, Graph, Node, Op, Value
from snnir.ir.execute import execute
from snnir.ir.ops import FakeQuantize, Observe
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.passes.channel_scales import apply_factors, candidates, choose_factors
from snnir.passes.functions.ranges import saturations
from snnir.passes.infra import Context, Pass, Result, register
from snnir.passes.place_observers import Placed, place_observers
from snnir.passes.scale_groups import scale_groups

__all__ = ["METHODS", "Calibrate"]

METHODS = ("mse", "percentile", "minmax")
BINS = 2048
_CHUNK = 64


@register
@dataclass(frozen=True)
class Calibrate(Pass):
    """Put an `observe` on every value that becomes levels, with the best scale for each number of bits.

    1. Inputs, activations, and sums that something other than a population or an output takes, get an `observe`.
    2. Values that must share a scale (operands of a concat, a state and what it becomes) are measured together.
    3. `method` chooses the scale: `mse` the one with the least squared rounding and clipping error over a histogram of
       the calibration data, `percentile` the one whose range holds `percentile` % of it on each side, `minmax` all of it.
       Scales are rounded to 4 significant digits.
    4. Values are signed where the calibration data holds a negative one.
    5. Quantizers of the model itself stay as they are; what must share a scale with one takes its levels. Where nothing is
       left to measure, no data are needed.
    6. Host ops before and after the network stay real; `allow_host` permits them inside it (`host_part.py`).
    7. With `channels`, values whose channels differ in range are divided by a factor for each channel first, wherever weights
       can carry it: those of inputs by the host (`channel_scales.py`).
    8. Functions inside the network (`functions/region.py`) stay real here; a `saturate` holds each of their values in the
       range that the data take, widened, so that their integers have a known size.
    """

    name = "calibrate"
    takes = gives = FLOAT

    method: str = "mse"
    percentile: float = 99.9
    allow_host: bool = False
    channels: bool = True

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"calibration method {self.method!r} is unknown; choose one of {', '.join(METHODS)}")
        if not 50 < self.percentile <= 100:
            raise UsageError(f"percentile {self.percentile} is out of range; choose above 50, at most 100")

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass. Raises `UnsupportedError` for ops without spiking form, `CalibrationError` without data."""
        observed = place_observers(graph, self.allow_host)
        placed = observed.graph
        remarks: list[str] = []
        groups, _ = _own_scales(placed)
        if groups and self.channels and context.calibration is not None:
            placed, remarks = _with_channel_scales(observed, context.calibration)
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
        histograms = _measure(placed, group_of, len(groups), context)
        for nodes, histogram in zip(groups, histograms, strict=True):
            scales = tuple(self.scale(histogram, bits) for bits in range(Observe.FEWEST_BITS, Observe.MOST_BITS + 1))
            found.update({node: Observe(scales, histogram.low < 0) for node in nodes})
        remark = f"{len(groups)} scales for {len(found)} values, by {self.method}"
        return Result(_filled(placed, found), bool(found), (remark, *remarks))

    def scale(self, histogram: Histogram, bits: int) -> float:
        """The worth of a level, for levels of `bits` bits (signed where the data is)."""
        low, high = histogram.low, histogram.high
        most = (1 << (bits - 1)) - 1 if low < 0 else (1 << bits) - 1
        least = -(1 << (bits - 1)) if low < 0 else 0
        if self.method == "percentile":
            low, high = histogram.quantile(1 - self.percentile / 100), histogram.quantile(self.percentile / 100)
        widest = max(high / most, low / least if least else 0.0, 0.0)
        if widest <= 0 or not np.isfinite(widest):
            widest = max(histogram.high / most, histogram.low / least if least else 0.0)
        if widest <= 0:
            return 1.0
        if self.method == "mse":
            coarse = histogram.best_scale(widest * np.geomspace(0.02, 1.0, 48), least, most)
            widest = histogram.best_scale(np.minimum(coarse * np.linspace(0.93, 1.08, 16), widest), least, most)
        return float(f"{widest:.4g}")


def _with_channel_scales(observed: Placed, data: Mapping[str, np.ndarray]) -> tuple[Graph, list[str]]:
    """The graph with factors for channels and parts that differ in range, and remarks on those that the host divides by."""
    graph = observed.graph
    found = candidates(graph, observed.raw, data)
    if not found:
        return graph, []
    seen = {candidate.node.operands[0]: candidate for candidate in found}

    def observe(value: Value, array: np.ndarray) -> None:
        if value in seen:
            seen[value].see(array)

    for chunk in _chunks(graph, data):
        execute(graph, chunk, observe)
    chosen = choose_factors(graph, found)
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
            found.update({node: Observe(scales, any(levels.lo < 0 for levels in given)) for node in observers})
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

    def best_scale(self, scales: np.ndarray, least: int, most: int) -> float:
        """The scale with the least squared error of rounding to levels `least..most`."""
        filled = self.counts > 0
        centers, counts = self.centers[filled], self.counts[filled]
        levels = np.floor(centers / scales[:, None] + 0.5).clip(least, most)
        errors = (levels * scales[:, None] - centers) ** 2 @ counts
        return float(scales[errors.argmin()])

    def quantile(self, fraction: float) -> float:
        """The value below which `fraction` of all counted elements lie."""
        total = np.cumsum(self.counts)
        return float(self.centers[min(int(np.searchsorted(total, fraction * total[-1])), BINS - 1)]) if total[-1] else 0.0


def _measure(graph: Graph, group_of: Mapping[Value, int], count: int, context: Context) -> list[Histogram]:
    """Run the calibration data twice: for the ranges (which always hold 0), then for the histograms."""
    assert context.calibration is not None
    histograms = [Histogram() for _ in range(count)]

    def range_of(value: Value, array: np.ndarray) -> None:
        if value in group_of and array.size:
            low, high = float(array.min()), float(array.max())
            if not (np.isfinite(low) and np.isfinite(high)):
                raise CalibrationError(f"calibration data makes {value.name} NaN or infinite")
            histogram = histograms[group_of[value]]
            histogram.low, histogram.high = min(histogram.low, low), max(histogram.high, high)

    def count_of(value: Value, array: np.ndarray) -> None:
        if value in group_of:
            histograms[group_of[value]].add(array)

    chunks = list(_chunks(graph, context.calibration))
    for stage, observer in enumerate((range_of, count_of)):
        for index, chunk in enumerate(chunks):
            execute(graph, chunk, observer)
            if context.progress is not None:
                context.progress("calibrating", stage * len(chunks) + index + 1, 2 * len(chunks))
    return histograms


def _chunks(graph: Graph, data: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The data in pieces along the batch; whole where the model fixes its batch."""
    axes = {value.name: value.type.batch_axis for value in graph.inputs}
    if not axes or any(axis is None for axis in axes.values()):
        return [dict(data)]
    total = min(data[name].shape[axis or 0] for name, axis in axes.items())
    return [
        {name: data[name].take(range(start, min(start + _CHUNK, total)), axis=axis) for name, axis in axes.items()}
        for start in range(0, total, _CHUNK)
    ]
