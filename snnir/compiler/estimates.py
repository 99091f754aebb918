"""What a network will cost, read off the graph with observers in place: before levels, and any data, are known.

Sizes that the model leaves open (the length of a sequence) stay symbols, so that counts are numbers or polynomials.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from snnir.ir import BATCH, Dimension, Graph, Node, Value
from snnir.ir.dims import product, substitute, total
from snnir.ir.ops import Add, Conv, Elementwise, FakeQuantize, Linear, Mul, Observe, Scan, SparseLinear
from snnir.ir.phases import FEW_SPIKES, INTEGRATE_FIRE
from snnir.passes import Placed, accumulating, function_interior

__all__ = ["LayerCost", "estimated_steps", "layer_costs"]


@dataclass(frozen=True)
class LayerCost:
    """Neurons that stand for one value, and what flows into them; a readout or a host's sum has no neurons."""

    name: str
    kind: str
    """`population`, `encoder` (charged by the host) or `readout`."""
    scan: str
    """The scan whose body it is part of; empty outside."""
    neurons: Dimension
    synapses: Dimension
    macs: Dimension
    """Multiply-accumulates of the dense network per sample: synapses, as often as the sequence has elements."""


def layer_costs(placed: Placed) -> tuple[LayerCost, ...]:
    """Every population, encoder and readout of a graph with observers."""
    return tuple(_Count(placed).costs(placed.graph, "", 1))


class _Count:
    """Products are computed once, however many populations take them."""

    def __init__(self, placed: Placed) -> None:
        self.placed = placed
        self.products: set[Value] = set()
        self.functions: set[object] = set()

    def costs(self, graph: Graph, scan: str, windows: Dimension) -> Iterator[LayerCost]:
        interior = function_interior(graph)
        for node in graph.nodes:
            if isinstance(node.op, Observe | FakeQuantize):
                (source,) = node.operands
                if source in self.placed.raw:
                    yield LayerCost(source.name, "encoder", scan, _elements(source), 0, 0)
                else:
                    inside = source.producer in interior
                    synapses, products = self.taken(interior, source) if inside else self.into(source)
                    macs = windows * (synapses + products)
                    yield LayerCost(source.name, "population", scan, _elements(source), synapses, macs)
            elif isinstance(node.op, Scan) and node.body is not None:
                length = node.operands[node.op.states].type.shape[node.op.axis]
                yield from self.costs(node.body, node.outputs[0].name, windows * length)
        for name, value in () if scan else _read_out(graph, self.placed):
            synapses, products = self.into(value)
            yield LayerCost(name, "readout", scan, 0, synapses, windows * (synapses + products))

    def into(self, value: Value) -> tuple[Dimension, Dimension]:
        """Connections that flow into a sum, one-to-one ones of levels and products included; and products computed for it."""
        node = value.producer
        if value.is_constant:
            return 0, 0
        if node is None or isinstance(node.op, Observe | FakeQuantize):
            return _elements(value), 0
        if isinstance(node.op, Linear | Conv | SparseLinear):
            return _connections(node), self.product(node.operands[0])
        if isinstance(node.op, Mul):
            return _elements(value), self.product(value)
        if isinstance(node.op, Add | Elementwise):
            parts = [self.into(operand) for operand in node.operands]
            return total(part[0] for part in parts), total(part[1] for part in parts)
        return _elements(value), 0

    def taken(self, interior: Mapping[Node, object], result: Value) -> tuple[Dimension, Dimension]:
        """What flows into the sums that a function takes, counted with its first result; levels reach it without synapses."""
        function = interior[result.node]
        if function in self.functions:
            return 0, 0
        self.functions.add(function)
        inside = {node for node, own in interior.items() if own is function}
        operands = (value for node in interior if node in inside for value in node.operands if not value.is_constant)
        outer = dict.fromkeys(value for value in operands if value.producer not in inside)
        weighted = Linear | Conv | SparseLinear | Mul | Add
        parts = [self.into(value) for value in outer if value.producer is not None and isinstance(value.producer.op, weighted)]
        return total(part[0] for part in parts), total(part[1] for part in parts)

    def product(self, value: Value) -> Dimension:
        """How many products of two changing values are computed for `value` and for nothing before it."""
        node = value.producer
        if node is not None and isinstance(node.op, Add):
            return total(self.product(operand) for operand in node.operands)
        if node is None or not isinstance(node.op, Mul) or any(operand.is_constant for operand in node.operands):
            return 0
        if value in self.products:
            return 0
        self.products.add(value)
        return _elements(value)


def _read_out(graph: Graph, placed: Placed) -> Iterator[tuple[str, Value]]:
    """Sums that leave the network, each once: by the name of the output where they are one."""
    late = [node for node in graph.nodes if node in placed.host and not placed.raw.issuperset(node.outputs)]
    leaving = [*graph.outputs.items(), *((value.name, value) for node in late for value in node.operands)]
    seen: set[Value] = set()
    for name, value in leaving:
        node = value.producer
        if node is None or node in placed.host or value in seen:
            continue
        if isinstance(node.op, Linear | Conv | SparseLinear | Mul | Add | Elementwise) and not isinstance(node.op, FakeQuantize):
            seen.add(value)
            yield name, value


def _elements(value: Value) -> Dimension:
    """Elements of one sample."""
    return substitute(product(value.type.shape), {BATCH: 1})


def _connections(node: Node) -> Dimension:
    if isinstance(node.op, Linear | Conv):
        return _elements(node.output) * product(node.operands[1].type.shape[1:])
    return product(node.operands[1].type.shape)


def estimated_steps(placed: Placed, bits: int, neuron: str = "bif", clock: int = 32) -> dict[str, int]:
    """Inner time-steps of a window: 1 for inputs, and `2^bits - 1` (or the levels of the model's own quantizer) for each
    population on the longest way to an output; states that add to what they were have two bits more, as in `snnir.compile`.
    Few-spike neurons take their bits, and what crosses the border of a scan begins there at step 0. Neurons on a clock take its
    steps, `clock`.

    `""` is all outside scans; each scan, by its first result, is one of its windows, whose states are relayed. No data is
    needed: where calibration finds fewer levels, the certified bound is lower.
    """
    if neuron == INTEGRATE_FIRE:
        return {"": clock}
    found = {"": 0}
    of: dict[Value, int] = {}
    depths = _FewSpikes if neuron == FEW_SPIKES else _Depths
    depths(bits, placed.raw, accumulating(placed.graph), of, found).visit(placed.graph)
    emitting = [value for node in placed.graph.nodes if not isinstance(node.op, Scan) for value in node.outputs]
    found[""] = max((of.get(value, 0) for value in (*emitting, *placed.graph.outputs.values())), default=0)
    return found


@dataclass
class _Depths:
    bits: int
    raw: frozenset[Value]
    accumulating: set[Node]
    of: dict[Value, int]
    found: dict[str, int]

    def levels(self, node: Node | None) -> int:
        """How many steps a population takes at most once its input has come."""
        if node is not None and isinstance(node.op, FakeQuantize):
            return node.op.quantization.hi - node.op.quantization.lo
        return (1 << (self.bits + 2 if node in self.accumulating else self.bits)) - 1

    def visit(self, graph: Graph) -> None:
        of = self.of
        for node in graph.nodes:
            last = max((of.get(value, 0) for value in node.operands), default=0)
            if isinstance(node.op, Observe | FakeQuantize):
                last = 1 if node.operands[0] in self.raw else max(last - 1, 0) + self.levels(node)
            elif isinstance(node.op, Scan) and node.body is not None:
                body = node.body
                states = list(body.outputs.values())[: node.op.states]
                for index, (outer, inner) in enumerate(zip(node.operands, body.inputs, strict=True)):
                    of[inner] = max(of.get(outer, 0), self.levels(states[index].producer) if index < node.op.states else 0)
                self.visit(body)
                self.found[node.outputs[0].name] = max((of[value] for item in body.nodes for value in item.outputs), default=0)
                of.update((value, of.get(result, 0)) for value, result in zip(node.outputs, body.outputs.values(), strict=True))
                continue
            of.update(dict.fromkeys(node.outputs, last))


class _FewSpikes(_Depths):
    """The same for few-spike neurons: a population starts when its input is complete, and takes a step for each bit."""

    def visit(self, graph: Graph) -> None:
        of = self.of
        for node in graph.nodes:
            last = max((of.get(value, 0) for value in node.operands), default=0)
            if isinstance(node.op, Observe | FakeQuantize):
                last = 1 if node.operands[0] in self.raw else last + self.bits_of(node)
            elif isinstance(node.op, Scan) and node.body is not None:
                self._scan(node, node.op, node.body)
                continue
            of.update(dict.fromkeys(node.outputs, last))

    def _scan(self, node: Node, op: Scan, body: Graph) -> None:
        of, results = self.of, list(body.outputs.values())
        for index, (outer, inner) in enumerate(zip(node.operands, body.inputs, strict=True)):
            of[inner] = self.crossing(results[index] if index < op.states else outer)
        self.visit(body)
        self.found[node.outputs[0].name] = max((of[value] for item in body.nodes for value in item.outputs), default=0)
        of.update((value, self.crossing(result)) for value, result in zip(node.outputs, results, strict=True))

    def bits_of(self, node: Node | None) -> int:
        """The bits of a population's levels."""
        if node is not None and isinstance(node.op, FakeQuantize):
            return node.op.quantization.magnitude_bits
        return self.bits + 2 if node in self.accumulating else self.bits

    def crossing(self, value: Value) -> int:
        """How many steps a value takes where it enters another window: its bits; a product and an input are there at once."""
        node = value.producer
        if node is not None and isinstance(node.op, Observe | FakeQuantize) and node.operands[0] not in self.raw:
            return self.bits_of(node)
        if node is not None and isinstance(node.op, Mul):
            return 1
        moved = [operand for operand in (() if node is None else node.operands) if not operand.is_constant]
        return max((self.crossing(operand) for operand in moved), default=1 if self.of.get(value, 0) else 0)
