"""Which nodes stay on the host: float signal processing before the network, and what closes a model after it.

A host op (`Op.host`: power, square root, softmax ...) has no spiking form. It may stand

1. before the network: all that it depends on is affine, data movement, a magnitude, a clip whose interval does not
   hold 0 (a guard before a logarithm) or another such op, and starts from inputs; then all of that is computed in real numbers;
2. after the network: only affine ops, data movement, such clips, quantizers of the model itself and host ops take what it
   gives, down to the outputs; where a layer with weights follows and the op has an integer form, it is a function instead.

Ops on integers and truth, and casts to them and from them, are host ops. What of them is known from the inputs alone, by way of
anything but layers with weights and recurrences, is computed before the network, so that integers are never rounded to levels.

Anywhere else a host op is refused, unless the user allows it: then all that it depends on, or all that depends on it, goes to
the host, whichever has fewer multiply-accumulates.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import numpy as np

from snnir.ir import Graph, Node, Value
from snnir.ir.op import Trait
from snnir.ir.ops import (
    Abs,
    Add,
    Clip,
    Conv,
    Dequantize,
    Div,
    FakeQuantize,
    Function,
    Linear,
    Lookup,
    Movement,
    Mul,
    Observe,
    Quantize,
    Saturate,
    Scan,
    SparseLinear,
)
from snnir.passes.functions.integer_forms import integer_form_of

__all__ = ["before_layers", "function_interior", "host_nodes", "host_prefix", "host_suffix", "is_sum", "needs_host", "work"]

_LAYERS = Linear | Conv | SparseLinear


def needs_host(node: Node) -> bool:
    """Whether only the host can compute the node: a host op, or a quotient whose denominator changes with the input.

    A magnitude is none: it stays on the host beside other host ops, and becomes `2 max(x, 0) - x` in the network.
    """
    return (node.op.host and not isinstance(node.op, Abs)) or (isinstance(node.op, Div) and not node.operands[1].is_constant)


def host_prefix(
    graph: Graph, raw: Collection[Value], suffix: Collection[Node], allow: bool = False, functions: Collection[Node] = ()
) -> set[Node]:
    """Nodes that are computed in real numbers before the network; `raw` are the inputs that are known as real numbers.

    Nodes of `functions` are none: they stand behind layers of the network, and integers compute them there.
    With `allow`, host ops that stand inside the network count, where that takes fewer operations than `host_suffix`.
    """
    plain = _forward(graph, raw, lambda node: _signal(node) and node not in functions)
    wanted = {node for node in plain if needs_host(node) and node not in suffix}
    early = _forward(graph, raw, lambda node: node.body is None and not isinstance(node.op, _LAYERS) and node not in functions)
    wanted |= {node for node in early if _holds_integers(node) and node not in suffix}
    if allow:
        anything = _forward(graph, raw, lambda node: node.body is None)
        wanted |= {node for node in anything - plain - set(suffix) if needs_host(node) and integer_form_of(node) is None}
    return _ancestors(graph, wanted)


def host_suffix(graph: Graph, allow: bool = False) -> set[Node]:
    """Nodes that are computed in real numbers after the network."""
    tail: set[Node] = set()
    before = _functions_before_layers(graph)
    early = _forward(graph, graph.inputs, lambda node: isinstance(node.op, Movement | Lookup) or _holds_integers(node))
    for node in reversed(graph.nodes):
        # tokens are looked up, and integers computed with, before the network: as levels they would be others
        closes = (
            needs_host(node)
            and node not in before
            and not (node in early and (isinstance(node.op, Lookup) or _holds_integers(node)))
        )
        closes = closes or _is_plain(node) or isinstance(node.op, FakeQuantize) or _guards(node)
        if closes and all(user is None or user in tail for value in node.outputs for user, _ in value.uses):
            tail.add(node)
    after = {node for node in tail if needs_host(node)}
    if allow:
        plain = _ancestor_free(graph)
        for node in graph.nodes:
            if needs_host(node) and integer_form_of(node) is None and node not in after and node not in plain:
                before, behind = _ancestors(graph, {node}), _descendants(graph, {node})
                if work(behind) < work(before):
                    after |= behind
    after = _descendants(graph, after)
    for node in reversed(graph.nodes):
        takers = [user for value in node.outputs for user, _ in value.uses]
        if isinstance(node.op, Movement) and all(user is None or user in after for user in takers):
            after.add(node)
    return after


def host_nodes(graph: Graph) -> set[Node]:
    """The nodes of a calibrated or quantized graph (or body) that compute with real numbers, before and after the network."""
    raw = {value for value in graph.inputs if value.type.is_plain}
    late: set[Value] = set()
    found = set()
    functions = function_interior(graph)
    constant = set(graph.constants)
    for node in graph.nodes:
        changing = [value for value in node.operands if not value.is_constant]
        if isinstance(node.op, Scan | Quantize | Function) or node in functions:
            continue
        if isinstance(node.op, Dequantize):
            late.update(node.outputs)
            continue
        if all(value in constant for value in node.operands):
            constant.update(node.outputs)
            raw.update(node.outputs)
            found.add(node)
            continue
        if changing and all(value in raw for value in changing):
            raw.update(node.outputs)
            found.add(node)
        elif needs_host(node) or any(value in late for value in changing):
            late.update(node.outputs)
            found.add(node)
    return found


def function_interior(graph: Graph) -> dict[Node, object]:
    """The nodes of a calibrated graph that functions inside the network compute, each with what stands for its function.

    They lead from levels and sums to a `saturate` that is quantized; those that take one another's real values are one function.
    """
    from networkx.utils import UnionFind

    ends = [node for node in graph.nodes if isinstance(node.op, Saturate) and any(_observes(user) for user in node.output.users)]
    if not ends:
        return {}
    union: UnionFind[Node | Value] = UnionFind()
    rest, seen = list(ends), set(ends)
    while rest:
        node = rest.pop()
        union[node]
        for value in node.operands:
            made = value.producer
            if made is None or value.is_constant or is_sum(value):
                if not (value.is_constant or _is_levels(value)):
                    union.union(node, value)  # who takes one sum is one function: it is added up once
                continue
            union.union(node, made)
            if made not in seen:
                seen.add(made)
                rest.append(made)
    return {node: union[node] for node in graph.nodes if node in seen}


def _observes(node: Node | None) -> bool:
    return node is not None and isinstance(node.op, FakeQuantize | Observe | Quantize)


def is_sum(value: Value) -> bool:
    """Whether a value of a calibrated graph is what synapses can give: levels, a constant, or a sum of weighted levels."""
    node = value.producer
    if node is None or value.type.is_levels or isinstance(node.op, FakeQuantize | Observe | Quantize | Scan):
        return True
    if isinstance(node.op, Add):
        return all(is_sum(operand) for operand in node.operands)
    if isinstance(node.op, Linear | Conv | SparseLinear | Mul):
        return all(operand.is_constant for operand in node.operands[1:]) and _is_levels(node.operands[0])
    return _is_levels(value)


def _is_levels(value: Value) -> bool:
    """Whether a value is levels, or moves and combines levels as spikes do."""
    node = value.producer
    if value.type.is_levels or node is None or isinstance(node.op, FakeQuantize | Observe | Quantize | Scan):
        return not value.is_constant
    moves = node.op.has(Trait.OF_LEVELS) or (isinstance(node.op, Mul) and not node.operands[1].is_constant)
    return moves and all(_is_levels(operand) for operand in node.operands)


def _signal(node: Node) -> bool:
    return needs_host(node) or _is_plain(node) or _guards(node)


def _is_plain(node: Node) -> bool:
    """Whether the node is affine, data movement or a magnitude: what host ops may stand behind or before."""
    return (node.op.has(Trait.AFFINE) and not needs_host(node)) or isinstance(node.op, Movement | Abs)


def _holds_integers(node: Node) -> bool:
    """Whether the host computes with integers or truth that change with the input, or makes them."""
    return node.op.host and any(value.type.is_exact and not value.is_constant for value in (*node.operands, *node.outputs))


def _guards(node: Node) -> bool:
    """A clip whose interval does not hold 0: a guard before a logarithm or below a fraction."""
    return isinstance(node.op, Clip) and not node.op.low <= 0 <= node.op.high


def _weighs(node: Node) -> bool:
    """Whether a layer is more than a sum (of weights of 1 alone), as a normalisation has one."""
    weight = node.operands[1]
    return not node.operands[0].is_constant and not (weight.is_constant and bool((weight.array == 1).all()))


def before_layers(graph: Graph) -> set[Node]:
    """Nodes that a layer with weights, or a scan, follows."""
    layers = {node for node in graph.nodes if isinstance(node.op, Scan) or (isinstance(node.op, Linear | Conv) and _weighs(node))}
    return set().union(*(_ancestors(graph, {node}) - {node} for node in layers))


def _functions_before_layers(graph: Graph) -> set[Node]:
    """Nodes with an integer form that a layer with weights follows: functions inside the network compute them."""
    layers = {node for node in graph.nodes if isinstance(node.op, Linear | Conv) and _weighs(node)}
    return {
        node for node in _ancestors(graph, layers) - layers if integer_form_of(node) is not None and not _holds_integers(node)
    }


def _ancestor_free(graph: Graph) -> set[Node]:
    return _forward(graph, graph.inputs, _signal)


def _forward(graph: Graph, raw: Iterable[Value], fits: Callable[[Node], bool]) -> set[Node]:
    """Nodes that `fits` and that depend on `raw` and constants only, by way of such nodes."""
    known, found = set(raw), set()
    for node in graph.nodes:
        changing = [value for value in node.operands if not value.is_constant]
        if all(value in known for value in changing) and fits(node):
            known.update(node.outputs)
            found.add(node)
    return found


def _ancestors(graph: Graph, nodes: Collection[Node]) -> set[Node]:
    """`nodes` and all that they depend on."""
    found = set(nodes)
    for node in reversed(graph.nodes):
        if any(user in found for value in node.outputs for user, _ in value.uses):
            found.add(node)
    return found


def _descendants(graph: Graph, nodes: Collection[Node]) -> set[Node]:
    """`nodes` and all that depends on them."""
    found = set(nodes)
    for node in graph.nodes:
        if any(value.producer in found for value in node.operands):
            found.add(node)
    return found


def work(nodes: Iterable[Node]) -> float:
    """Multiply-accumulates, about: weights by the positions that use them, a sequence counted as one element."""
    total = 0.0
    for node in nodes:
        if isinstance(node.op, Linear | Conv):
            sizes = [size for size in node.output.type.shape if isinstance(size, int)]
            total += float(np.prod(sizes)) * float(np.prod(node.operands[1].type.static_shape("weights")[1:]))
        elif node.body is not None:
            total += work(node.body.nodes)
    return total
