"""What a network will cost, read off the graph with observers in place: before levels, and any data, are known.

Sizes that the model leaves open (the length of a sequence) stay symbols, so that counts are numbers or polynomials.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from snnir.ir import BATCH, Dimension, Graph, Node, Value
from snnir.ir.dims import product, substitute
from snnir.ir.ops import Add, Conv, Elementwise, FakeQuantize, Linear, Mul, Observe, Scan, SparseLinear
from snnir.passes import Placed

__all__ = ["Population", "estimated_steps", "populations"]


@dataclass(frozen=True)
class Population:
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


def populations(placed: Placed) -> tuple[Population, ...]:
    """Every population, encoder and readout of a graph with observers."""
    return tuple(_populations(placed.graph, placed, "", 1))


def _populations(graph: Graph, placed: Placed, scan: str, windows: Dimension) -> Iterator[Population]:
    for node in graph.nodes:
        if isinstance(node.op, Observe | FakeQuantize):
            (source,) = node.operands
            known = source in placed.raw
            synapses = 0 if known else _synapses(source)
            kind = "encoder" if known else "population"
            yield Population(source.name, kind, scan, _elements(source), synapses, windows * synapses)
        elif isinstance(node.op, Scan) and node.body is not None:
            length = node.operands[node.op.states].type.shape[node.op.axis]
            yield from _populations(node.body, placed, node.outputs[0].name, windows * length)
    for name, value in graph.outputs.items():
        if not scan and (synapses := _synapses(value)):
            yield Population(name, "readout", scan, 0, synapses, windows * synapses)


def _elements(value: Value) -> Dimension:
    """Elements of one sample."""
    return substitute(product(value.type.shape), {BATCH: 1})


def _synapses(value: Value) -> Dimension:
    """Connections that flow into a sum, back to the values that have levels."""
    total: Dimension = 0
    pending, seen = [value], {value}
    while pending:
        node = pending.pop().producer
        if node is None or isinstance(node.op, Observe | FakeQuantize | Scan):
            continue
        total = total + _connections(node)
        if isinstance(node.op, Add | Elementwise) or not isinstance(node.op, Linear | Conv | SparseLinear | Mul):
            pending.extend(operand for operand in node.operands if operand not in seen)
            seen.update(node.operands)
    return total


def _connections(node: Node) -> Dimension:
    op = node.op
    if isinstance(op, Linear | Conv):
        return _elements(node.output) * product(node.operands[1].type.shape[1:])
    if isinstance(op, SparseLinear):
        return product(node.operands[1].type.shape)
    return _elements(node.output) if isinstance(op, Mul) else 0


def estimated_steps(placed: Placed, bits: int) -> dict[str, int]:
    """Inner time-steps of a window: 1 for inputs, and `2^bits - 1` (or the levels of the model's own quantizer) for each
    population on the longest way to an output.

    `""` is all outside scans; each scan, by its first result, is one of its windows, whose states are relayed. No data is
    needed: where calibration finds fewer levels, the certified bound is lower.
    """
    found = {"": 0}
    of: dict[Value, int] = {}
    _depths(placed.graph, placed, (1 << bits) - 1, of, found)
    emitting = (node for node in placed.graph.nodes if not isinstance(node.op, Scan))
    found[""] = max((of[value] for node in emitting for value in node.outputs), default=0)
    return found


def _depths(graph: Graph, placed: Placed, rise: int, of: dict[Value, int], found: dict[str, int]) -> None:
    for node in graph.nodes:
        last = max((of.get(value, 0) for value in node.operands), default=0)
        if isinstance(node.op, Observe | FakeQuantize):
            own = node.op.quantization if isinstance(node.op, FakeQuantize) else None
            levels = rise if own is None else own.hi - own.lo
            last = 1 if node.operands[0] in placed.raw else max(last - 1, 0) + levels
        elif isinstance(node.op, Scan) and node.body is not None:
            body = node.body
            for index, (outer, inner) in enumerate(zip(node.operands, body.inputs, strict=True)):
                of[inner] = max(of.get(outer, 0), rise if index < node.op.states else 0)
            _depths(body, placed, rise, of, found)
            found[node.outputs[0].name] = max((of[value] for item in body.nodes for value in item.outputs), default=0)
            of.update((value, of.get(result, 0)) for value, result in zip(node.outputs, body.outputs.values(), strict=True))
            continue
        of.update(dict.fromkeys(node.outputs, last))
