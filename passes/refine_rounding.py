"""Round weights so that what each layer gives out is off the least, instead of each weight by itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snnir.ir import Graph, Node, Value
from snnir.ir.execute import execute
from snnir.ir.ops import Add, Conv, Dequantize, Linear, MultiThreshold, Requantize
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.ir.rounding import Rounding
from snnir.passes.layer_rows import layer_inputs

__all__ = ["REFINING_SAMPLES", "refine_rounding"]

REFINING_SAMPLES = 64
_ROWS = 2048
_MOST_INPUTS = 2400
"""Layers with more inputs per output keep their rounding: the work grows with the cube."""
_BLOCK = 64
"""So many inputs are rounded before a product of matrices tells the next ones what these are off."""
_DAMPING = 0.01
"""Added to the diagonal of the Hessian, in shares of its mean (arXiv:2210.17323, section 3)."""


def refine_rounding(graph: Graph, rounding: Rounding, bits: int, data: Mapping[str, np.ndarray]) -> tuple[Graph, int]:
    """`graph` with weights of `linear` and `conv` rounded anew on calibration data, and the number of layers that this helped.

    1. Weights are rounded one input after the other; the error of each is made up for by those not yet rounded (GPTQ, Frantar
       et al., arXiv:2210.17323). The Hessian is that of the levels the layer gets on the data.
    2. The mean error that is left goes into the bias of the population (bias correction, arXiv:1906.04721).
    3. A layer keeps its rounding where rows that were not looked at do not gain.
    """
    layers: dict[Value, list[Node]] = {}
    for _, node in graph.walk():
        if _is_layer(node, rounding):
            layers.setdefault(node.operands[0], []).append(node)
    kept: dict[Node, list[np.ndarray]] = {}

    def observe(value: Value, array: np.ndarray) -> None:
        for node in layers.get(value, ()):
            rows = layer_inputs(node.op, array, node.operands[1].array.shape, _ROWS)
            kept.setdefault(node, []).append(rows.astype(np.float32))

    execute(graph, data, observe)
    weights: dict[Node, np.ndarray] = {}
    errors: dict[Node, np.ndarray] = {}
    for node, pieces in kept.items():
        rows = _thinned(np.concatenate(pieces, axis=1))
        rounded = rounding.weights[node.operands[1]]
        quantization = rounded.source.type.levels
        assert rounded.real is not None
        real = rounded.real.array.reshape(rounded.shape) * (quantization.scale / rounded.divisor)
        groups = rows.shape[0]
        shape = (groups, len(real) // groups, -1)
        found, error = _refined(rows, real.reshape(shape), node.operands[1].array.reshape(shape).astype(np.float64), bits)
        if found is not None:
            weights[node] = found.reshape(node.operands[1].array.shape).astype(node.operands[1].array.dtype)
        errors[node] = error.reshape(-1) * _gain(node)

    def rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        if node in weights:
            integers = rewriter.constant(node.operands[1].name, weights[node])
            return rewriter.copy(node, (operands[0], integers, *operands[2:]))
        if isinstance(node.op, Requantize | MultiThreshold | Dequantize) and node.operands[0].type.is_sum:
            total = _corrected(rewriter, node.operands[0], operands[0], errors)
            return None if total is None else rewriter.copy(node, (total, *operands[1:]))
        return None

    return rebuild(graph, rule)[0], len(weights)


def _is_layer(node: Node, rounding: Rounding) -> bool:
    found = rounding.weights.get(node.operands[1]) if len(node.operands) > 1 else None
    return isinstance(node.op, Linear | Conv) and found is not None and found.real is not None


def _gain(node: Node) -> np.ndarray:
    """The real number of one unit of each output channel on the grid of its population."""
    one = np.ones((len(node.operands[1].array), *[1] * (node.operands[1].array.ndim - 1)), np.int64)
    op = node.expect(Linear, Conv)
    return np.asarray(op.expanded(one)).reshape(len(one), -1)[:, 0].astype(np.float64)


def _thinned(rows: np.ndarray) -> np.ndarray:
    count = rows.shape[1]
    chosen = np.unique(np.linspace(0, count - 1, min(count, _ROWS)).astype(np.int64))
    return rows[:, chosen].astype(np.float64)


def _refined(rows: np.ndarray, real: np.ndarray, nearest: np.ndarray, bits: int) -> tuple[np.ndarray | None, np.ndarray]:
    """Integers `[groups, outputs, inputs]`, or None where the nearest ones are as good; and the mean error of each output."""
    mean = rows.mean(axis=1)
    chosen, best = None, nearest
    if rows.shape[2] <= _MOST_INPUTS and rows.shape[1] >= 16:
        half = rows.shape[1] // 2
        trial = _gptq(rows[:, :half], real, bits)
        if _error(rows[:, half:], trial - real) < _error(rows[:, half:], nearest - real):
            chosen = best = _gptq(rows, real, bits)
    return chosen, np.einsum("goi,gi->go", best - real, mean)


def _error(rows: np.ndarray, change: np.ndarray) -> float:
    """The squared error of outputs beside its mean, which goes into the bias."""
    off = rows @ change.transpose(0, 2, 1)
    return float(((off - off.mean(axis=1, keepdims=True)) ** 2).sum())


def _gptq(rows: np.ndarray, real: np.ndarray, bits: int) -> np.ndarray:
    """Integers of `bits` bits, each group by itself; the Hessian leaves out the mean, which goes into the bias."""
    most, result = (1 << (bits - 1)) - 1, np.empty_like(real)
    for group, (x, weight) in enumerate(zip(rows, real, strict=True)):
        centred = x - x.mean(axis=0)
        hessian = centred.T @ centred
        diagonal = np.diagonal(hessian).copy()
        damping = max(_DAMPING * float(diagonal.mean()), 1e-9)
        hessian[np.diag_indices_from(hessian)] += damping
        order = np.argsort(-diagonal, kind="stable")  # inputs that matter most are rounded first
        result[group][:, order] = _nearest_plane(hessian[np.ix_(order, order)], weight[:, order].T, most).T
    return result


def _nearest_plane(hessian: np.ndarray, real: np.ndarray, most: int) -> np.ndarray:
    """Integers `[inputs, outputs]` from -`most` to `most`, one input after the other, each making up for the errors before it.

    With hessian = L^T L, L lower triangular, and e the errors (real less integers) of one output, its loss is |L e|^2: input i is
    best rounded where L[i] e is nearest to 0. That is GPTQ without the inverse of the Hessian (Chen et al., arXiv:2507.18553).
    """
    lower = np.linalg.cholesky(hessian[::-1, ::-1])[::-1, ::-1].T
    shares = np.ascontiguousarray(lower / np.diagonal(lower)[:, np.newaxis])
    integers, errors = np.empty_like(real, order="C"), np.empty_like(real, order="C")
    for start in range(0, len(real), _BLOCK):
        stop = min(start + _BLOCK, len(real))
        owed = real[start:stop] + shares[start:stop, :start] @ errors[:start]
        for i in range(start, stop):
            target = owed[i - start] + shares[i, start:i] @ errors[start:i]
            integers[i] = np.clip(np.floor(target + 0.5), -most, most)
            errors[i] = real[i] - integers[i]
    return integers


def _corrected(rewriter: Rewriter, old: Value, new: Value, errors: Mapping[Node, np.ndarray]) -> Value | None:
    """The sum `new` less the mean errors of the layers that it adds up; None where these are less than half a step."""
    rank = old.type.rank
    shift = np.zeros((1,) * (rank - 1))
    for node in _added(old):
        if node in errors:
            channels = (1,) * (rank - 2) + (-1,) if isinstance(node.op, Linear) else (-1,) + (1,) * (rank - 2)
            shift = shift - errors[node].reshape(channels)
    steps = np.floor(shift + 0.5).astype(np.int64)
    if not steps.any():
        return None
    producer = new.producer
    if producer is not None and isinstance(producer.op, Add) and producer.operands[1].is_constant:
        steps = steps + producer.operands[1].array.astype(np.int64)
        label, new = producer.operands[1].name, producer.operands[0]
    else:
        label = f"{old.name}.bias"
    stored = steps.astype(np.int32) if np.abs(steps).max() < 1 << 31 else steps
    return rewriter.emit(Add(), new, rewriter.constant(label, stored), name=f"{old.name}.corrected", origin=())


def _added(value: Value) -> list[Node]:
    node = value.producer
    if node is None:
        return []
    return [item for operand in node.operands for item in _added(operand)] if isinstance(node.op, Add) else [node]
