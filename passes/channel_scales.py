"""A scale for each channel: values are divided by constant factors, so that one scale for all suits every channel.

A level of channel c of v / F is worth F[c] times as much as one of v, so that dividing by factors is the same as a scale for each
channel; what takes the value carries the factors in its weights, what gives it divides its own (cross-layer equalisation: Nagel
et al., arXiv:1906.04721). The graph computes what it computed, in other units in between.

1. An input (and what the host computes from one) whose channels have ranges that differ by much is divided by the host, in real
   numbers, before it is encoded: one factor for each channel or feature.
2. An activation behind a ReLU or a leaky ReLU gets one factor for each channel; the weights before it are divided.
3. Parts of a concatenation, and whatever else only meets in data movement, keep ranges of their own: a factor for each part.
4. What compares or multiplies levels keeps one scale: states of scans, products, quantizers of the model itself, outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snnir.ir import BATCH, Graph, Node, Value
from snnir.ir.execute import bind_sizes
from snnir.ir.ops import Add, FakeQuantize, MaxPool, Movement, Mul, Observe, Scan
from snnir.ir.rewrite import like
from snnir.passes.factors import (
    Factors,
    NotCarriedError,
    compressed,
    concrete,
    constant_of,
    divided,
    divided_bias,
    divisible,
    spread_axis,
    weighed,
)
from snnir.passes.scale_groups import scale_groups
from snnir.passes.sums import WEIGHTED

__all__ = ["Candidate", "apply_factors", "candidates", "choose_factors"]

_FAR = 4.0
"""How many times the range of the median channel of an input that of the largest must be: the median one would lose two bits."""
_NEAR = 1.25
"""How many times larger than on average the largest range of an activation's channels must be, and ranges of parts that meet."""


@dataclass
class Candidate:
    """An observed value that may be divided by factors along `axis` (None: by one number), and what was seen of it."""

    node: Node
    raw: bool
    """Whether the host divides it."""
    axis: int | None
    largest: np.ndarray
    """The largest magnitude in each channel [C] ([1]: of all)."""

    def see(self, array: np.ndarray) -> None:
        """Take an array of calibration data into account."""
        if array.size:
            rows = np.abs(array).reshape(-1) if self.axis is None else np.moveaxis(np.abs(array), self.axis, 0)
            np.maximum(self.largest, rows.reshape(len(self.largest), -1).max(axis=1), out=self.largest)


def candidates(graph: Graph, raw: frozenset[Value], inputs: Mapping[str, np.ndarray]) -> list[Candidate]:
    """The observed values (bodies included) whose factors can be carried to all that takes them; `raw`: values of the host."""
    sizes = {**bind_sizes(graph, inputs), BATCH: 2}
    found = []
    for nodes in scale_groups(graph, (Observe, FakeQuantize)):
        if any(isinstance(node.op, FakeQuantize) for node in nodes):
            continue
        for node in nodes:
            value = node.operands[0]
            if value.is_constant or value.type.rank < 1:
                continue
            axes: list[int | None] = [*dict.fromkeys((1, value.type.rank - 1))] if value.type.rank > 1 else []
            for axis in [*axes, None]:
                if axis is not None and not isinstance(value.type.shape[axis], int):
                    continue
                count = 1 if axis is None else int(str(value.type.shape[axis]))
                numbers = np.array([2.0]) if axis is None or count == 1 else np.arange(2.0, count + 2)
                if _possible(graph, node, value in raw, axis, numbers, sizes):
                    found.append(Candidate(node, value in raw, axis, np.zeros(count)))
                    break
    return found


def _possible(graph: Graph, node: Node, raw: bool, axis: int | None, numbers: np.ndarray, sizes: Mapping[str, int]) -> bool:
    try:
        factor = spread_axis(node.operands[0], axis or 0, numbers, sizes)
        if not raw:
            divisible(node.operands[0], factor)
        _Scaler({node: factor}, sizes, {node} if raw else set()).graph(graph, like(graph), {})
    except NotCarriedError:
        return False
    return True


def choose_factors(graph: Graph, found: Sequence[Candidate]) -> dict[Node, np.ndarray]:
    """Factors [C] or [1] of the candidates that need any, once they have seen the data."""
    known = {candidate.node: candidate for candidate in found}
    chosen: dict[Node, np.ndarray] = {}
    for nodes in scale_groups(graph, (Observe, FakeQuantize)):
        members = [known[node] for node in nodes if node in known]
        fixed = len(members) < len(nodes)
        if not members or fixed:
            continue
        reference = max(float(member.largest.max()) for member in members)
        for member in members:
            factors = _factors(member, reference)
            if factors is not None:
                chosen[member.node] = factors
    return chosen


def _factors(member: Candidate, reference: float) -> np.ndarray | None:
    ranges = member.largest[member.largest > 0]
    if not len(ranges):
        return None
    top = float(ranges.max())
    far = top >= _FAR * float(np.median(ranges)) if member.raw else top >= _NEAR * float(ranges.mean())
    if far and member.axis is not None:
        return np.where(member.largest > 0, member.largest, top) / reference
    return np.array([top / reference]) if reference >= _NEAR * top else None


def apply_factors(
    graph: Graph, found: Sequence[Candidate], chosen: Mapping[Node, np.ndarray], inputs: Mapping[str, np.ndarray]
) -> Graph:
    """The graph with the values of `chosen` divided, and everything else changed so that it computes the same."""
    sizes = {**bind_sizes(graph, inputs), BATCH: 2}
    axes = {candidate.node: candidate.axis for candidate in found}
    raw = {candidate.node for candidate in found if candidate.raw}
    plan = {node: spread_axis(node.operands[0], axes[node] or 0, numbers, sizes) for node, numbers in chosen.items()}
    return _Scaler(plan, sizes, raw).graph(graph, like(graph), {})


class _Scaler:
    """Rewrites a graph for a plan of factors: `plan[observe]`, of the observed value. Raises `NotCarriedError`."""

    def __init__(self, plan: Mapping[Node, np.ndarray], sizes: Mapping[str, int], raw: set[Node]) -> None:
        self.plan, self.sizes = plan, sizes
        self.raw = raw
        self.wanted: Factors = {}
        """Sums and activations that come out divided."""
        for node, factor in plan.items():
            if node not in raw:
                for changed in divisible(node.operands[0], factor):
                    self.wanted[changed.output] = factor
        self.factors: Factors = {}
        """Levels that are divided."""

    def graph(self, old: Graph, new: Graph, values: dict[Value, Value], inside: bool = False) -> Graph:
        """Write `old` into `new`; `values` holds the inputs that are there."""
        for value in old.inputs:
            if value not in values:
                values[value] = new.input(value.name, value.type)
        for value in old.constants:
            values[value] = new.constant(value.name, value.array)
            values[value].digest_ = value.digest_
        for node in old.nodes:
            self.node(new, values, node)
        for name, value in old.outputs.items():
            new.output(name, values[value])
        if not inside and any(value in self.factors for value in old.outputs.values()):
            raise NotCarriedError(f"an output of {old.name} is in its own units")
        return new

    def node(self, new: Graph, values: dict[Value, Value], node: Node) -> None:
        if node.body is not None:
            self.scan(new, values, node)
            return
        operands = [values[value] for value in node.operands]
        given = [self.factors.get(value) for value in node.operands]
        wanted = self.wanted.get(node.outputs[0])
        if node in self.plan:
            factor = self.plan[node]
            if node in self.raw:
                operands = [self.times(new, node.operands[0], operands[0], 1 / factor, f"{node.operands[0].name}.even")]
            self.factors[node.output] = factor
        elif wanted is None and all(factor is None for factor in given):
            pass
        elif isinstance(node.op, Add):
            pairs = zip(node.operands, operands, strict=True)
            operands = [self.summand(new, node, value, operand, wanted) for value, operand in pairs]
        elif isinstance(node.op, WEIGHTED) and all(value.is_constant for value in node.operands[1:]):
            operands = [operands[0], *self.weights(new, node, operands, given[0], wanted)]
        elif any(factor is not None for factor in given):
            self.hand_on(node, given)
        results = new.add(node.op, *operands, names=[value.name for value in node.outputs], origin=node.origin)
        values.update(zip(node.outputs, results, strict=True))

    def hand_on(self, node: Node, given: Sequence[np.ndarray | None]) -> None:
        if isinstance(node.op, Movement):
            ones = [
                np.ones(concrete(value.type, self.sizes)) if factor is None else factor
                for value, factor in zip(node.operands, given, strict=True)
            ]
            moved = node.op.bind(dict(self.sizes)).evaluate(*ones)[0]
            moved = np.where(moved == 0, 1.0, moved)  # what was padded is 0 in any unit
            compressed(moved, tuple(range(1, moved.ndim)))
            self.factors[node.output] = moved
        elif isinstance(node.op, MaxPool) and given[0] is not None:
            channels = compressed(given[0], (1,))
            self.factors[node.output] = np.broadcast_to(channels, concrete(node.output.type, self.sizes))
        else:
            raise NotCarriedError(f"{node.describe()} takes levels of one scale")

    def times(self, new: Graph, old: Value, value: Value, factor: np.ndarray, name: str) -> Value:
        constant = new.constant(f"{name}.factor", constant_of(old, factor).astype(np.float32))
        origin = old.producer.origin if old.producer is not None else ()
        return new.add1(Mul(), value, constant, name=name, origin=origin)

    def summand(self, new: Graph, node: Node, old: Value, value: Value, wanted: np.ndarray | None) -> Value:
        if old.is_constant:
            if wanted is None:
                return value
            array = old.array / constant_of(node.output, wanted)
            return new.constant(old.name, array.astype(old.array.dtype))
        if old in self.wanted:
            return value
        factor = self.factors.get(old)
        if factor is None and wanted is None:
            return value
        shape = concrete(old.type, self.sizes)
        whole = np.ones(shape) if factor is None else factor
        if wanted is not None:
            whole = whole / (wanted if wanted.shape == shape else compressed(wanted))
        return self.times(new, old, value, whole, f"{old.name}.back")

    def weights(
        self, new: Graph, node: Node, operands: Sequence[Value], given: np.ndarray | None, wanted: np.ndarray | None
    ) -> Iterator[Value]:
        weight, *rest = node.operands[1:]
        array = weight.array if given is None else weighed(node, weight.array, given)
        array = array if wanted is None else divided(node, array, wanted)
        yield new.constant(weight.name, array.astype(weight.array.dtype))
        for index, value in enumerate(rest):
            if wanted is not None and index == 0 and value.type.is_real:
                yield new.constant(value.name, divided_bias(node, value.array, wanted).astype(value.array.dtype))
            else:
                yield operands[2 + index]

    def scan(self, new: Graph, values: dict[Value, Value], node: Node) -> None:
        op, body = node.op, node.body
        assert isinstance(op, Scan)
        assert body is not None
        for index, (outer, inner) in enumerate(zip(node.operands, body.inputs, strict=True)):
            factor = self.factors.get(outer)
            if factor is None:
                continue
            if index < op.states:
                raise NotCarriedError(f"{node.describe()}: a state keeps the scale of what it becomes")
            if index < op.states + op.elements:
                compressed(factor, tuple(axis for axis in range(1, factor.ndim) if axis != op.axis))
                factor = factor.take(0, axis=op.axis)
            self.factors[inner] = factor
        written = self.graph(body, like(body), {}, True)
        for index, (outer, inner) in enumerate(zip(node.outputs, body.outputs.values(), strict=True)):
            factor = self.factors.get(inner)
            if factor is None:
                continue
            if index < op.states:
                raise NotCarriedError(f"{node.describe()}: a state keeps the scale of what it was")
            self.factors[outer] = np.broadcast_to(np.expand_dims(factor, op.axis), concrete(outer.type, self.sizes))
        operands = [values[value] for value in node.operands]
        names = [value.name for value in node.outputs]
        results = new.add(op, *operands, names=names, origin=node.origin, body=written)
        values.update(zip(node.outputs, results, strict=True))
