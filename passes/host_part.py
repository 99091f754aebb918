"""Which nodes stay on the host: float signal processing before the network, and what closes a model after it.

A host op (`Op.host`: power, square root, softmax ...) has no spiking form. It may stand

1. before the network: all that it depends on is affine, data movement, a magnitude, a clip whose interval does not
   hold 0 (a guard before a logarithm) or another such op, and starts from inputs; then all of that is computed in real numbers;
2. after the network: only affine ops, data movement, such clips, quantizers of the model itself and host ops take what it
   gives, down to the outputs.

Ops on integers and truth, and casts to them and from them, are host ops. What of them is known from the inputs alone is
computed before the network, so that integers are never rounded to levels.

Anywhere else a host op is refused, unless the user allows it: then all that it depends on, or all that depends on it, goes to
the host, whichever has fewer multiply-accumulates.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import numpy as np

from snnir.ir import Graph, Node, Value
from snnir.ir.ops import (
    Abs,
    Add,
    AveragePool,
    Clip,
    Conv,
    Div,
    FakeQuantize,
    Linear,
    Lookup,
    MatMul,
    Movement,
    Mul,
    Quantize,
    Scan,
    SparseLinear,
    Sub,
)

__all__ = ["host_nodes", "host_prefix", "host_suffix", "needs_host", "work"]

_PLAIN = (Add, Sub, Mul, Div, MatMul, Linear, Conv, SparseLinear, AveragePool, Abs)


def needs_host(node: Node) -> bool:
    """Whether only the host can compute the node: a host op, or a quotient whose denominator changes with the input.

    A magnitude is none: it stays on the host beside other host ops, and becomes `2 max(x, 0) - x` in the network.
    """
    return (node.op.host and not isinstance(node.op, Abs)) or (isinstance(node.op, Div) and not node.operands[1].is_constant)


def host_prefix(graph: Graph, raw: Collection[Value], suffix: Collection[Node], allow: bool = False) -> set[Node]:
    """Nodes that are computed in real numbers before the network; `raw` are the inputs that are known as real numbers.

    With `allow`, host ops that stand inside the network count, where that takes fewer operations than `host_suffix`.
    """
    plain = _forward(graph, raw, _signal)
    wanted = {node for node in plain if needs_host(node) and node not in suffix}
    if allow:
        anything = _forward(graph, raw, lambda node: node.body is None)
        wanted |= {node for node in anything - plain - set(suffix) if needs_host(node)}
    return _ancestors(graph, wanted)


def host_suffix(graph: Graph, allow: bool = False) -> set[Node]:
    """Nodes that are computed in real numbers after the network."""
    tail: set[Node] = set()
    early = _forward(graph, graph.inputs, lambda node: isinstance(node.op, Movement | Lookup) or _holds_integers(node))
    for node in reversed(graph.nodes):
        # tokens are looked up, and integers computed with, before the network: as levels they would be others
        closes = needs_host(node) and not (node in early and (isinstance(node.op, Lookup) or _holds_integers(node)))
        closes = closes or isinstance(node.op, (Movement, FakeQuantize, *_PLAIN)) or _guards(node)
        if closes and all(user is None or user in tail for value in node.outputs for user, _ in value.uses):
            tail.add(node)
    after = {node for node in tail if needs_host(node)}
    if allow:
        plain = _ancestor_free(graph)
        for node in graph.nodes:
            if needs_host(node) and node not in after and node not in plain:
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
    """The nodes of a calibrated graph (or body) that compute with real numbers, before and after the network."""
    raw = {value for value in graph.inputs if value.type.is_plain}
    late: set[Value] = set()
    found = set()
    for node in graph.nodes:
        changing = [value for value in node.operands if not value.is_constant]
        if isinstance(node.op, Scan | Quantize):
            continue
        if changing and all(value in raw for value in changing):
            raw.update(node.outputs)
            found.add(node)
        elif needs_host(node) or any(value in late for value in changing):
            late.update(node.outputs)
            found.add(node)
    return found


def _signal(node: Node) -> bool:
    return needs_host(node) or isinstance(node.op, (Movement, *_PLAIN)) or _guards(node)


def _holds_integers(node: Node) -> bool:
    """Whether the host computes with integers or truth that change with the input, or makes them."""
    return node.op.host and any(value.type.is_exact and not value.is_constant for value in (*node.operands, *node.outputs))


def _guards(node: Node) -> bool:
    """A clip whose interval does not hold 0: a guard before a logarithm or below a fraction."""
    return isinstance(node.op, Clip) and not node.op.low <= 0 <= node.op.high


def _ancestor_free(graph: Graph) -> set[Node]:
    return _forward(graph, graph.inputs, _signal)


def _forward(graph: Graph, raw: Iterable[Value], fits: Callable[[Node], bool]) -> set[Node]:
    """Nodes that `fits` and that depend on `raw` and constants only, by way of such nodes."""
    known, found = set(raw), set()
    for node in graph.nodes:
        changing = [value for value in node.operands if not value.is_constant]
        if changing and all(value in known for value in changing) and fits(node):
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
