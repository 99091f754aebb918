"""Which values are whole numbers between known ends: places of largest elements, and what is computed of them.

Their levels are the numbers themselves, whatever calibration data show: a place that no sample takes may be taken later.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from snnir.ir import Graph, Node, Value
from snnir.ir.ops import Abs, Add, Clip, Lookup, Movement, Mul, Pad, Relu, Scan, Sub, TakeAlong, TopPlaces, TopValues

__all__ = ["Ends", "constant_ends", "ends_of_states", "whole_numbers"]

Ends = tuple[int, int]
"""The least and the greatest value."""
_MOST = (1 << 16) - 1
"""The most levels that a value may have, less one."""
_ROUNDS = 4
"""How often the ends of states are looked at before they count as unknown."""


def whole_numbers(graph: Graph, known: Mapping[Value, Ends] | None = None) -> dict[Value, Ends]:
    """The ends of every value, bodies included, that places decide and that has fewer than 2^16 levels, 0 among them.

    `known` are those of inputs. A state of a scan has the ends of what it starts as and of what it becomes.
    """
    found = dict(known or {})
    for node in graph.nodes:
        if isinstance(node.op, Scan) and node.body is not None:
            found.update(_scan(node, node.op, node.body, found))
            continue
        if len(node.outputs) != 1:
            continue
        ends = _ends(node, found)
        if ends is not None and max(ends[1], 0) - min(ends[0], 0) <= _MOST:
            found[node.output] = ends
    return found


def _scan(node: Node, op: Scan, body: Graph, outer: Mapping[Value, Ends]) -> dict[Value, Ends]:
    """The ends in a body and of what the scan gives."""
    given: dict[Value, Ends] = {}
    for index, (value, inner) in enumerate(zip(node.operands, body.inputs, strict=True)):
        ends = _of(value, outer) if index < op.states else outer.get(value)
        if ends is not None:
            given[inner] = ends
    results = list(body.outputs.values())
    found = ends_of_states(body, list(zip(body.inputs[: op.states], results, strict=False)), given)
    found.update((value, found[inner]) for value, inner in zip(node.outputs, results, strict=True) if inner in found)
    return found


def ends_of_states(body: Graph, states: Sequence[tuple[Value, Value]], given: Mapping[Value, Ends]) -> dict[Value, Ends]:
    """The ends in the body of a scan; `states` are each with what it becomes, `given` what is known of inputs.

    A state that a table is asked for has as many places as that has rows, where nothing else is known of it.
    """
    given = dict(given)
    for state, _ in states:
        rows = [
            user.operands[0].type.shape[0] for user in state.users if isinstance(user.op, Lookup) and user.operands[1] is state
        ]
        if state not in given and rows and isinstance(rows[0], int):
            given[state] = (0, rows[0] - 1)
    for _ in range(_ROUNDS):
        found = whole_numbers(body, given)
        grown = dict(given)
        for state, becomes in states:
            if state in given and (becomes not in found or not _decided(becomes, found)):
                del grown[state]  # unknown, or a number like any other, which no place decides
            elif state in given:
                grown[state] = min(given[state][0], found[becomes][0]), max(given[state][1], found[becomes][1])
        if grown == given:
            return found
        given = grown
    return whole_numbers(body, {value: ends for value, ends in given.items() if value not in dict(states)})


def _decided(value: Value, found: Mapping[Value, Ends]) -> bool:
    """Whether places decide the value within its body."""
    rest, seen = [value], {value}
    while rest:
        made = rest.pop().producer
        if made is None:
            continue
        if isinstance(made.op, TopPlaces):
            return True
        fresh = {operand for operand in made.operands if operand in found} - seen
        seen |= fresh
        rest += fresh
    return False


def _of(value: Value, found: Mapping[Value, Ends]) -> Ends | None:
    return found[value] if value in found else constant_ends(value)


def constant_ends(value: Value) -> Ends | None:
    """The ends of a constant of whole numbers; None for any other value."""
    if not value.is_constant or value.array.dtype.kind not in "fiub" or not value.array.size:
        return None
    array = value.array.astype(np.float64)
    return (int(array.min()), int(array.max())) if np.isfinite(array).all() and (array == np.rint(array)).all() else None


def _ends(node: Node, found: Mapping[Value, Ends]) -> Ends | None:
    """The ends of what a node gives; None where its operands are not all whole, or are constants."""
    op, operands = node.op, node.operands
    if isinstance(op, TopPlaces):
        size = operands[0].type.shape[op.axis]
        return (0, size - 1) if isinstance(size, int) else None
    if isinstance(op, Lookup):
        return _of(operands[0], found) if operands[1] in found else None
    if isinstance(op, TakeAlong | TopValues):
        return found.get(operands[0])
    ends = [_of(value, found) for value in operands]
    if not any(value in found for value in operands) or any(each is None for each in ends):
        return None
    known = [each for each in ends if each is not None]
    low, high = min(each[0] for each in known), max(each[1] for each in known)
    if isinstance(op, Movement):
        return (min(low, 0), max(high, 0)) if isinstance(op, Pad) else (low, high)
    if isinstance(op, Add):
        return known[0][0] + known[1][0], known[0][1] + known[1][1]
    if isinstance(op, Sub):
        return known[0][0] - known[1][1], known[0][1] - known[1][0]
    if isinstance(op, Mul):
        products = [a * b for a, b in itertools.product(*known)]
        return min(products), max(products)
    if isinstance(op, Abs):
        return 0 if low <= 0 <= high else min(abs(low), abs(high)), max(abs(low), abs(high))
    if isinstance(op, Relu):
        return max(low, 0), max(high, 0)
    if isinstance(op, Clip) and all(math.isinf(end) or end == math.floor(end) for end in (op.low, op.high)):
        return int(min(max(low, op.low), op.high)), int(max(min(high, op.high), op.low))
    return None
