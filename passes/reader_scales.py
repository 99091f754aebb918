"""Scales by the errors that they cause in what takes the levels, not in the levels themselves.

A scale with the least squared error of its own value is not the best for the layer behind it: errors of inputs that go together
add up in a weighted sum or cancel, and clipping, which hits the same inputs again and again, costs more than rounding does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import numpy as np

from snnir.ir import Graph, Node, Quantization, Value
from snnir.ir.execute import execute
from snnir.ir.ops import Conv, Linear, MaxPool, Movement
from snnir.passes.layer_rows import layer_inputs

__all__ = ["Chosen", "reader_factors"]

Chosen = Sequence[tuple[Sequence[Node], int]]
"""Groups of `observe` nodes of one scale, and their bits."""

_FACTORS = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4)
_PAYS = 0.95
"""The share to which the error must fall on rows that the choice did not look at."""
_ROWS = 512
_MOST_WORK = 1 << 28
"""Multiplications for one layer and one factor; of larger ones fewer rows are taken."""


def reader_factors(
    graph: Graph,
    chosen: Chosen,
    levels_of: Callable[[Node, int, float], Quantization],
    data: Mapping[str, np.ndarray],
) -> dict[Node, float]:
    """Factors for the scales of `observe` nodes (bodies included) with which sums behind them are off the least.

    1. Only groups whose levels are taken by `linear` or `conv` with constant weights alone, perhaps through data movement, max
       pools and borders of scans, which commute with rounding, are looked at.
    2. The squared error of these sums, beside its mean (which goes into biases), is measured on rows of calibration data: for
       every factor on one half of the rows; the best must gain on the other half, too.

    `levels_of` gives the levels of a node, its bits and a factor.
    """
    readers = _readers(graph, {node: nodes[0] for nodes, _ in chosen for node in nodes})
    takes: dict[Value, list[Node]] = {}
    for layer in (layer for layers in readers.values() for layer in layers):
        takes.setdefault(layer.operands[0], []).append(layer)
    pieces: dict[Node, list[np.ndarray]] = {}

    def observe(value: Value, array: np.ndarray) -> None:
        for layer in takes.get(value, ()):
            weight = layer.operands[1].array
            assert isinstance(layer.op, Linear | Conv)
            pieces.setdefault(layer, []).append(layer_inputs(layer.op, array, weight.shape, _places(weight)).astype(np.float32))

    execute(graph, data, observe)
    found: dict[Node, float] = {}
    for nodes, bits in chosen:
        errors = np.zeros((len(_FACTORS), 2))
        levels = [reduce(Quantization.join, (levels_of(node, bits, factor) for node in nodes)) for factor in _FACTORS]
        for layer in readers.get(nodes[0], ()):
            if layer in pieces:
                errors += _errors(np.concatenate(pieces[layer], axis=1), layer.operands[1].array, levels)
        best, same = int(errors[:, 0].argmin()), _FACTORS.index(1.0)
        if (errors[best] < _PAYS * errors[same]).all():
            found.update(dict.fromkeys(nodes, _FACTORS[best]))
    return found


def _readers(graph: Graph, leaders: Mapping[Node, Node]) -> dict[Node, list[Node]]:
    """The layers that take the levels of each group, by the first node of the group, where nothing else does."""
    found: dict[Node, list[Node]] = {}
    others: set[Node] = set()

    def visit(graph: Graph, group: dict[Value, Node]) -> list[Node | None]:
        for node in graph.nodes:
            mine = [group[value] for value in node.operands if value in group]
            if node in leaders:
                group[node.output] = leaders[node]
            elif node.body is not None:
                pairs = zip(node.body.inputs, node.operands, strict=True)
                given = visit(node.body, {inner: group[outer] for inner, outer in pairs if outer in group})
                group.update((value, leader) for value, leader in zip(node.outputs, given, strict=True) if leader is not None)
            elif not mine:
                continue
            elif isinstance(node.op, Movement | MaxPool):
                group.update(dict.fromkeys(node.outputs, mine[0]))
            elif isinstance(node.op, Linear | Conv) and all(value.is_constant for value in node.operands[1:]):
                found.setdefault(mine[0], []).append(node)
            else:
                others.update(mine)
        return [group.get(value) for value in graph.outputs.values()]

    others.update(leader for leader in visit(graph, {}) if leader is not None)
    return {leader: layers for leader, layers in found.items() if leader not in others}


def _places(weight: np.ndarray) -> int:
    return int(max(min(_ROWS, _MOST_WORK // max(weight.size, 1)), 64))


def _errors(rows: np.ndarray, weight: np.ndarray, levels: Sequence[Quantization]) -> np.ndarray:
    """For each of `levels` the squared error of the sums on both halves of the rows, relative to their squares [levels, 2]."""
    chosen = np.unique(np.linspace(0, rows.shape[1] - 1, min(rows.shape[1], _places(weight))).astype(np.int64))
    rows = rows[:, chosen].astype(np.float64)
    matrix = weight.reshape(len(rows), len(weight) // len(rows), -1).transpose(0, 2, 1).astype(np.float64)
    power, half = float(np.square(rows @ matrix).mean()), rows.shape[1] // 2
    found = np.empty((len(levels), 2))
    for index, each in enumerate(levels):
        error = (np.clip(np.floor(rows / each.scale + 0.5), each.lo, each.hi) * each.scale - rows) @ matrix
        for part, some in enumerate((error[:, :half], error[:, half:])):
            found[index, part] = float(some.var(axis=1).mean()) if some.shape[1] > 1 else np.inf
    return found / max(power, 1e-30)
