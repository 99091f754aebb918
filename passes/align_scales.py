"""Scales of sums of products: what a state becomes is weighed by whole numbers without an error.

In h' = (1 - z) c + z h every product is weighed by one number for all neurons, of 8 bits or so. Where the scales of the products
are no powers of two apart, those numbers are off by up to 1 / 254: a gain that is wrong in every element
of a sequence, which a state with a long memory adds up. A scale that moves a little costs less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from snnir.ir import Graph, Node, Value
from snnir.ir.ops import Add, Mul, Observe, Scan
from snnir.passes.scale_groups import scale_groups

__all__ = ["aligned_factors"]

_FINER = 0.95
"""How much finer a scale may become: what it then clips is little. Else it becomes coarser, up to twice as much."""

_Monomial = dict[Node, int]
"""Powers of the scales of `observe` nodes, each standing for its group."""


def aligned_factors(graph: Graph, scales: Mapping[Node, float]) -> dict[Node, float]:
    """Factors for the scales of `observe` nodes (bodies included), so that in sums that have no weights but one for each summand
    the scales of all summands are powers of two apart.

    1. Only sums that a state of a scan becomes are looked at, of two or more products of levels, or levels.
    2. The scale of the state moves, since it has the most bits; where no summand holds it, or all do, that of the first factor of
       the summand that no other summand holds.
    3. A scale moves once.
    """
    groups = [
        nodes for nodes in scale_groups(graph) if all(node in scales for node in nodes)
    ]  # the rest keep a scale of the model's
    leaders = {node: nodes[0] for nodes in groups for node in nodes}
    members = {nodes[0]: nodes for nodes in groups}
    moved: dict[Node, float] = {}
    for _, scan in graph.walk():
        if not isinstance(scan.op, Scan) or scan.body is None:
            continue
        sources = {
            inner: value.producer
            for inner, value in zip(scan.body.inputs[: scan.op.states], scan.body.outputs.values(), strict=False)
        }
        for value in list(scan.body.outputs.values())[: scan.op.states]:
            last = value.producer
            if last is None or last not in leaders:
                continue
            products = _products(last.operands[0], sources, leaders)
            if products is not None and len(products) > 1:
                _align(products, leaders[last], scales, moved)
    return {node: factor for leader, factor in moved.items() if factor != 1.0 for node in members[leader]}


def _align(products: list[_Monomial], state: Node, scales: Mapping[Node, float], moved: dict[Node, float]) -> None:
    def scale_of(product: _Monomial) -> float:
        return math.prod((scales[node] * moved.get(node, 1.0)) ** power for node, power in product.items())

    holders = [product for product in products if product.get(state) == 1]
    reference = next((product for product in products if state not in product), products[0])
    for product in holders + [product for product in products if product not in holders]:
        if product is reference:
            continue
        free = [node for node, power in product.items() if power == 1 and node not in moved and node not in reference]
        if free:
            node = state if state in free else free[0]
            ratio = math.log2(scale_of(reference) / scale_of(product))
            up = ratio - math.floor(ratio)
            moved[node] = 2.0 ** (up - 1 if up - 1 >= math.log2(_FINER) else up)
    for product in products:
        for node in product:
            moved.setdefault(node, 1.0)


def _products(value: Value, states: Mapping[Value, Node | None], leaders: Mapping[Node, Node]) -> list[_Monomial] | None:
    """The summands of a sum, each as the scales that it is a product of; None where something else than levels is weighed."""
    node = value.producer
    if node is not None and isinstance(node.op, Add):
        found: list[_Monomial] = []
        for operand in node.operands:
            if not operand.is_constant:
                part = _products(operand, states, leaders)
                if part is None:
                    return None
                found += part
        return found
    product: _Monomial = {}
    factors = node.operands if node is not None and isinstance(node.op, Mul) else (value,)
    for factor in factors:
        if (
            factor.is_constant
            and np.unique(np.abs(factor.array)).size == 1
            and math.log2(abs(float(factor.array.flat[0])) or 0.3) % 1 == 0
        ):
            continue
        source = states.get(factor, factor.producer)
        if source is None or not isinstance(source.op, Observe) or source not in leaders:
            return None
        product[leaders[source]] = product.get(leaders[source], 0) + 1
    return [product]
