"""Which nodes of a float graph are functions inside the network.

A node is one where only the host could compute it otherwise (`needs_host`), it is neither in the host's part before the
network nor in that behind it, and it has an integer form (`lowering.py`). Around these nodes functions grow:

1. forwards: an op with an integer form takes what a function gives as it is, without levels between, unless it waits for
   something else of the network as well;
2. backwards: averages, products of two changing values, powers and data movement that only functions take belong to them,
   as do sums that such a value is part of; so a layer normalisation that was exported in parts is one function;
3. a sum that functions and the network take (a residual stream) is a function too: its levels are charged, which costs no
   steps, so they may have as many bits as an input.

Functions that wait for one another stand in different segments: a function whose operands come from the network is one
segment behind them. Between segments values travel as levels.
"""

from __future__ import annotations

from collections.abc import Collection

from snnir.ir import Graph, Node, Value
from snnir.ir.ops import (
    Abs,
    Add,
    Conv,
    Div,
    Elementwise,
    FakeQuantize,
    Gated,
    Linear,
    LogSoftmax,
    Movement,
    Mul,
    Pow,
    Ranking,
    ReduceMean,
    Softmax,
    Sub,
    TakeAlong,
)
from snnir.passes.functions.integer_forms import integer_form_of
from snnir.passes.host_part import needs_host

__all__ = ["function_nodes", "inner_functions", "segments"]

_CLOSING = (Softmax, LogSoftmax, Gated, Ranking, TakeAlong)


def function_nodes(graph: Graph, outside: Collection[Node]) -> set[Node]:
    """The nodes of `graph` that are functions; those of `outside` are the host's, before and after the network."""
    found = {node for node in graph.nodes if node not in outside and needs_host(node) and _fits(node)}
    if not found:
        return found
    size = 0
    while size != len(found):
        size = len(found)
        _grow_forwards(graph, found, outside)
        for node in reversed(graph.nodes):
            if node not in found and node not in outside and _fits(node) and _belongs(node, found):
                found.add(node)
    return found


def _grow_forwards(graph: Graph, found: set[Node], outside: Collection[Node]) -> None:
    """Take in what follows functions in their own segment; what waits for the network as well takes their levels."""
    of = dict.fromkeys([*graph.inputs, *graph.constants], 0)
    for node in graph.nodes:
        inner = [of[value] for value in node.operands if value.producer in found]
        outer = [of[value] for value in node.operands if value.producer not in found and not value.is_constant]
        last = max([*inner, *(segment + 1 for segment in outer)], default=0)
        if last in inner and node not in found and node not in outside and _fits(node):
            found.add(node)
        of.update(dict.fromkeys(node.outputs, last if node in found else max([*inner, *outer], default=0)))


def inner_functions(graph: Graph, suffix: Collection[Node]) -> set[Node]:
    """Functions that could stand before the network, but do not: softmax and normalisations behind layers with weights.

    What only prepares an input (a spectrum and its logarithm) stays the host's, in real numbers.
    """
    found = function_nodes(graph, suffix)
    closing = {node for node in found if isinstance(node.op, _CLOSING) or (isinstance(node.op, Div) and len(_changing(node)) > 1)}
    weighted: set[Value] = set()
    for node in graph.nodes:
        if (isinstance(node.op, Linear | Conv) and _changing(node)) or any(value in weighted for value in node.operands):
            weighted.update(node.outputs)
    inner: set[Node] = set()
    rest = [node for node in closing if any(value in weighted for value in node.operands)]
    while rest:
        node = rest.pop()
        if node not in inner:
            inner.add(node)
            near = [value.producer for value in node.operands] + [user for value in node.outputs for user in value.users]
            rest += [other for other in near if other is not None and other in found]
    return inner


def segments(graph: Graph, functions: Collection[Node]) -> dict[Value, int]:
    """The segment of each value: that of inputs is 0, and functions are one behind what they take from the network."""
    found = dict.fromkeys([*graph.inputs, *graph.constants], 0)
    for node in graph.nodes:
        inside = node in functions
        of = (found[value] + (inside and not value.is_constant and value.producer not in functions) for value in node.operands)
        found.update(dict.fromkeys(node.outputs, max(of, default=0)))
    return found


def _fits(node: Node) -> bool:
    plain = all(value.type.is_real for value in (*node.operands, *node.outputs))
    own = isinstance(node.op, FakeQuantize)  # the model's own quantizer gives levels, and so ends a function
    return plain and not own and node.body is None and integer_form_of(node) is not None


def _changing(node: Node) -> list[Value]:
    return [value for value in node.operands if not value.is_constant]


def _belongs(node: Node, found: Collection[Node]) -> bool:
    """Whether functions take the node in, backwards."""
    users = [user for value in node.outputs for user in value.users]
    taken = [user in found for user in users]
    whole = bool(taken) and all(taken) and not any(user is None for value in node.outputs for user, _ in value.uses)
    if isinstance(node.op, Add | Sub):
        parts = [value.producer for value in _changing(node)]
        inner = any(part is not None and (part in found or _averages(part)) for part in parts)
        return (whole and inner) or (any(taken) and len(parts) > 1 and not whole)
    if isinstance(node.op, Elementwise):
        return False
    return whole and isinstance(node.op, ReduceMean | Movement | Pow | Abs | Mul)


def _averages(node: Node) -> bool:
    """Whether a node is an average, magnitude, power or product of changing values, moved or multiplied by constants or not."""
    while isinstance(node.op, Movement) or (isinstance(node.op, Mul) and len(_changing(node)) == 1):
        made = _changing(node)[0].producer if _changing(node) else None
        if made is None:
            return False
        node = made
    return isinstance(node.op, ReduceMean | Pow | Abs) or _multiplies(node)


def _multiplies(node: Node) -> bool:
    return isinstance(node.op, Mul) and len(_changing(node)) > 1
