"""What one value or one weight costs at the outputs where it alone is quantized."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snnir.compiler.losses import graphs_by_prefix
from snnir.ir import Graph, Node, Quantization, Value
from snnir.ir.execute import execute
from snnir.ir.ops import FakeQuantize, Observe, Scan
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.passes import Pass, Stage
from snnir.runtime.accuracy import Distance, Meter, worst_sqnr
from snnir.runtime.inputs import first_samples

__all__ = ["Partial", "QuantizationSteps", "quantization_steps", "rounded_weights"]


@dataclass(frozen=True)
class QuantizationSteps:
    """The graphs between which accuracy is lost."""

    calibrated: Graph
    """Real numbers, with an `observe` on each value that becomes levels."""
    activations: Graph
    """Levels, and real weights."""
    weights: Pass
    """The pass that rounds the weights."""
    quantized: Graph


def quantization_steps(stages: Sequence[Stage]) -> QuantizationSteps | None:
    """The graphs of a run pipeline; None where it does not quantize activations and weights one after the other."""
    graphs: dict[str, Graph] = {}
    weights: Pass | None = None
    before: Graph | None = None
    for stage in stages:
        if stage.pass_.name == "quantize-activations" and before is not None:
            graphs["calibrated"], graphs["activations"] = before, stage.graph
        if stage.pass_.name == "quantize-weights" and before is not None:
            weights, graphs["activations"] = stage.pass_, before
        if stage.graph.level == "quantized":
            graphs["quantized"] = stage.graph
        before = stage.graph
    if weights is None or len(graphs) < 3:
        return None
    return QuantizationSteps(graphs["calibrated"], graphs["activations"], weights, graphs["quantized"])


class Partial:
    """The calibrated graph, executed with some of its values as levels and some of its weights rounded.

    What does not depend on a change is computed once: `samples` should be few.
    """

    def __init__(self, calibrated: Graph, data: Mapping[str, np.ndarray], samples: int) -> None:
        self.graph = calibrated
        self.data = first_samples(calibrated, data, samples)
        self.arrays: dict[Value, np.ndarray] = {}
        top = set(calibrated.values.values())

        def keep(value: Value, array: np.ndarray) -> None:
            if value in top and not value.is_constant:
                self.arrays[value] = array

        self.expected = execute(calibrated, self.data, keep)
        self.prefix_of = {
            node: prefix for prefix, graph in graphs_by_prefix(calibrated) for node in graph.nodes if isinstance(node.op, Observe)
        }

    def sqnr(self, levels: Mapping[str, Quantization], weights: Mapping[str, np.ndarray] | None = None) -> float:
        """The SQNR of the worst output, in dB, with these values (by name with prefix, as observed) and weights changed."""
        return worst_sqnr(self.distances(levels, weights or {}))

    def distances(self, levels: Mapping[str, Quantization], weights: Mapping[str, np.ndarray]) -> list[Distance]:
        """How far each output is from the unchanged network's."""
        outputs = self.outputs(levels, weights)
        meters = [Meter(name, value.type) for name, value in self.graph.outputs.items()]
        for meter in meters:
            meter.add(self.expected[meter.name], outputs[meter.name])
        return [meter.distance() for meter in meters]

    def outputs(self, levels: Mapping[str, Quantization], weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name, with these values and weights changed."""
        names = {node: f"{prefix}{node.output.name}" for node, prefix in self.prefix_of.items()}
        constants = {
            value: weights[f"{prefix}{value.name}"]
            for prefix, graph in graphs_by_prefix(self.graph)
            for value in graph.constants
            if f"{prefix}{value.name}" in weights
        }

        def rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
            if node in names and names[node] in levels:
                return rewriter.copy(node, operands, FakeQuantize(levels[names[node]], "half-up"))
            if any(value in constants for value in node.operands):
                replaced = [
                    rewriter.constant(f"{old.name}.rounded", constants[old]) if old in constants else new
                    for old, new in zip(node.operands, operands, strict=True)
                ]
                return rewriter.copy(node, replaced)
            return None

        changed = {node for node in names if names[node] in levels}
        changed |= {node for value in constants for node in value.users}
        graph, _ = rebuild(self.graph, rule)
        stale = self._downstream(changed)
        known = {graph.values[value.name]: array for value, array in self.arrays.items() if value not in stale}
        return execute(graph, self.data, known=known)

    def _downstream(self, changed: Collection[Node]) -> set[Value]:
        """Values of the outermost graph that depend on changed nodes, of bodies too."""
        stale: set[Value] = set()
        for node in self.graph.nodes:
            inside = isinstance(node.op, Scan) and node.body is not None and any(item in changed for _, item in node.body.walk())
            if node in changed or inside or any(value in stale for value in node.operands):
                stale.update(node.outputs)
        return stale


def rounded_weights(steps: QuantizationSteps) -> dict[str, np.ndarray]:
    """The real numbers that the integer weights stand for, by the names (with prefix) of the constants of the calibrated graph.

    A number that became several integers, since the sums that it is part of have different grids, is left out.
    """
    traced, rounding, _ = steps.weights.trace(steps.activations)  # type: ignore[attr-defined]
    places = {value: prefix for prefix, graph in graphs_by_prefix(traced) for value in graph.constants}
    final = dict(graphs_by_prefix(steps.quantized))
    found: dict[str, np.ndarray] = {}
    for integers, rounded in rounding.weights.items():
        prefix = places[integers]
        twin = _final(final[prefix], integers) if prefix in final else None
        quantization = rounded.source.type.quantization
        if rounded.real is None or twin is None or twin.data is None or quantization is None:
            continue
        if twin.data.size != rounded.real.array.size:
            continue
        real = twin.data.reshape(rounded.shape) * rounded.divisor / quantization.scale
        found[prefix + rounded.real.name] = real.reshape(rounded.real.array.shape).astype(rounded.real.array.dtype)
    return found


def _final(graph: Graph, integers: Value) -> Value | None:
    """The weight of the node of the final graph that is called like the one that takes `integers`."""
    for node in integers.users:
        value = graph.values.get(node.output.name)
        if value is not None and value.producer is not None and len(value.producer.operands) > 1:
            return value.producer.operands[1]
    return None
