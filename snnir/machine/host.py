"""What the host computes around a simulation: levels to encode before it, outputs from the readouts' sums after it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from snnir.ir.execute import apply
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.ops import Encode, Movement, Readout, Scan
from snnir.ir.types import DTYPES, TensorType

__all__ = ["Host", "HostPlan", "concrete_shape", "fixed_values", "window_order"]


def concrete_shape(type_: TensorType, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape with every named dimension measured. Raises `GraphError` where one has no size."""
    return type_.substitute(dict(sizes)).static_shape("the machine level")


def window_order(op: Scan, length: int) -> Sequence[int]:
    """Which element each window of a scan takes, in order of processing."""
    return range(length - 1, -1, -1) if op.reverse else range(length)


def fixed_values(graph: Graph, constants: Mapping[Value, np.ndarray]) -> set[Value]:
    """What is computed from constants only, without neurons: the same for every sample and every window."""
    fixed = {*graph.constants, *constants}
    for node in graph.nodes:
        plain = isinstance(node.op, Encode | Movement) or all(value.type.is_plain for value in node.outputs)
        if plain and not isinstance(node.op, Readout | Scan) and all(value in fixed for value in node.operands):
            fixed.update(node.outputs)
    return fixed


@dataclass(frozen=True)
class HostPlan:
    """What the host computes of one graph, and when: the same for every batch.

    `before` are encoders and nodes on what is known before the simulation, and scans of which the host computes a part, in
    order; `after` those that wait for the sums of readouts. `fixed` is that of `fixed_values`.
    """

    fixed: set[Value]
    before: list[Node]
    after: list[Node]

    @classmethod
    def of(
        cls, graph: Graph, given: Collection[Value], constants: Mapping[Value, np.ndarray], elsewhere: Collection[Value] = ()
    ) -> HostPlan:
        """The plan of a graph whose inputs `given` are real values, but for the values that are computed `elsewhere`."""
        fixed = fixed_values(graph, constants)
        known = {*graph.constants, *constants, *given}
        before = []
        for node in graph.nodes:
            if isinstance(node.op, Scan):
                if _concerns_host(node):
                    before.append(node)
            elif isinstance(node.op, Encode) and node.operands[0] in known:
                before.append(node)
                known.update(value for value in node.outputs if value in fixed)
            elif _computable(node, known):
                if node.outputs[0] not in elsewhere:
                    before.append(node)
                known.update(node.outputs)
        after = []
        for node in graph.nodes:
            if isinstance(node.op, Readout):
                after.append(node)
                known.update(node.outputs)
            elif isinstance(node.op, Scan):
                results = _real_results(node)
                known.update(outer for outer, _ in results)
                if results:
                    after.append(node)
            elif node.outputs[0] not in known and not isinstance(node.op, Encode) and _computable(node, known):
                after.append(node)
                known.update(node.outputs)
        return cls(fixed, before, after)


def _computable(node: Node, known: Collection[Value]) -> bool:
    """Whether the host computes a node from values that it knows; it moves levels, but computes with real values only."""
    return all(value in known for value in node.operands) and (
        isinstance(node.op, Movement) or not any(value.type.is_levels for value in node.operands)
    )


def _concerns_host(node: Node) -> bool:
    """Whether the host computes a part of a scan's body, or gives out real results of it."""
    body = node.inner
    inside = any(inner.op.host or isinstance(inner.op, Encode | Readout) for inner in body.nodes)
    return inside or any(value.type.is_plain for value in body.outputs.values())


def _real_results(node: Node) -> list[tuple[Value, Value]]:
    """The results of a scan that are real values: outside, and inside of its body."""
    body, op = node.inner, node.expect(Scan)
    results = list(zip(node.outputs, body.outputs.values(), strict=True))[op.states :]
    return [(outer, inner) for outer, inner in results if inner.type.is_plain]


class Host:
    """The real values of one graph, or of one window of a scan's body, for the whole batch.

    `reals` holds every value known before the simulation, and the levels of fixed spiking values; `encoders` those of
    inputs, by what they charge; `windows` the bodies of scans, one for each window in order of processing. `plans` are
    kept by the identity of graphs: give the same mapping for every batch of a graph that stays. What `constants` hold is not
    computed, nor what the backend computes `elsewhere`.
    """

    def __init__(
        self,
        graph: Graph,
        sizes: Mapping[str, int],
        given: Mapping[Value, np.ndarray],
        constants: Mapping[Value, np.ndarray],
        plans: dict[int, HostPlan] | None = None,
        elsewhere: Collection[Value] = (),
    ) -> None:
        self.graph = graph
        self.sizes = sizes
        self.encoders: dict[Value, Node] = {}
        self.windows: dict[Node, list[Host]] = {}
        self.reals: dict[Value, np.ndarray] = {value: value.array for value in graph.constants}
        self.reals.update(constants)
        self.reals.update(given)
        self.plans = {} if plans is None else plans
        self.elsewhere = elsewhere
        if id(graph) not in self.plans:
            self.plans[id(graph)] = HostPlan.of(graph, given.keys(), constants, elsewhere)
        self.plan = self.plans[id(graph)]
        for node in self.plan.before:
            if isinstance(node.op, Scan):
                self._open(node, node.op)
            elif isinstance(node.op, Encode) and node.output not in self.plan.fixed:
                self.encoders[node.output] = node
            elif node.outputs[0] not in self.reals:
                self._apply(node, self.reals)

    @property
    def fixed(self) -> dict[Value, np.ndarray]:
        """What follows from the graph and the sizes alone."""
        return {value: self.reals[value] for value in self.plan.fixed if value in self.reals}

    @cached_property
    def levels(self) -> dict[Value, np.ndarray]:
        """What the encoders of inputs charge."""
        return {value: self.charged(value) for value in self.encoders}

    def charged(self, value: Value) -> np.ndarray:
        """The levels that one encoder charges."""
        node = self.encoders[value]
        return apply(node, [self.reals[node.operands[0]]], self.sizes)[0]

    def _open(self, node: Node, op: Scan) -> None:
        """Cut the real sequences of a scan into its windows, where the body computes with real values."""
        body = node.inner
        pairs = list(zip(body.inputs, node.operands, strict=True))
        elements, shared = pairs[op.states : op.states + op.elements], pairs[op.states + op.elements :]
        constants = {inner: outer.array for inner, outer in shared if outer.is_constant}
        length = concrete_shape(elements[0][1].type, self.sizes)[op.axis]
        self.windows[node] = []
        for k in window_order(op, length):
            given = {inner: self.reals[outer].take(k, axis=op.axis) for inner, outer in elements if self._real(outer)}
            given.update({inner: self.reals[outer] for inner, outer in shared if self._real(outer)})
            self.windows[node].append(Host(body, self.sizes, given, constants, self.plans, self.elsewhere))

    def _real(self, value: Value) -> bool:
        return value in self.reals and not value.type.is_levels

    def _apply(self, node: Node, reals: dict[Value, np.ndarray]) -> None:
        results = apply(node, [reals[value] for value in node.operands], self.sizes)
        reals.update(zip(node.outputs, results, strict=True))

    def finish(self, sums: Mapping[Value, np.ndarray]) -> dict[Value, np.ndarray]:
        """All real values, given the sums int64[N, ...] of the readouts ([N, windows, ...] inside a body)."""
        reals = dict(self.reals)
        for node in self.plan.after:
            if isinstance(node.op, Readout):
                reals[node.output] = (sums[node.output] * reals[node.operands[0]]).astype(np.float32)
            elif isinstance(node.op, Scan):
                self._close(node, node.op, sums, reals)
            else:
                self._apply(node, reals)
        return reals

    def _close(self, node: Node, op: Scan, sums: Mapping[Value, np.ndarray], reals: dict[Value, np.ndarray]) -> None:
        """Stack the real results of a scan's windows."""
        body, results = node.inner, _real_results(node)
        own = [inner.output for inner in body.nodes if isinstance(inner.op, Readout)]
        rows = [window.finish({value: sums[value][:, k] for value in own}) for k, window in enumerate(self.windows[node])]
        for outer, inner in results:
            if rows:
                ordered = rows[::-1] if op.reverse else rows
                reals[outer] = np.stack([row[inner] for row in ordered], axis=op.axis)
            else:
                reals[outer] = np.zeros(concrete_shape(outer.type, self.sizes), DTYPES[outer.type.dtype])
