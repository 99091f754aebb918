"""Substitute operators: averages become weighted sums, matrix products of two activations sums of products."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from snnir.errors import GraphError, Refusal, UnsupportedError
from snnir.ir import FLOAT, Dim, Graph, Node, Shape, Value
from snnir.ir.dims import at_most, concrete
from snnir.ir.graph import LARGEST
from snnir.ir.lowering.sizes import open_sizes
from snnir.ir.ops import (
    Add,
    AveragePool,
    Conv,
    Linear,
    MatMul,
    Mul,
    Pad,
    ReduceMean,
    Reshape,
    Slice,
    SparseLinear,
    Transpose,
)
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.passes.functions.region import function_nodes, inner_functions
from snnir.passes.host_part import host_prefix, host_suffix
from snnir.passes.infra import Context, Pass, Result, register
from snnir.passes.properties import AVERAGES_SUBSTITUTED

__all__ = ["SubstituteOperators"]


@register
@dataclass(frozen=True)
class SubstituteOperators(Pass):
    """Replace averages by convolutions or sparse linear maps, and matrix products of activations by element-wise ones.

    1. `average_pool` whose windows all hold the same number of elements becomes a depthwise `conv`.
    2. `average_pool` with fewer elements at the border becomes a `sparse_linear`; its size must be known.
    3. `reduce_mean` over all spatial axes becomes a depthwise `conv`, over other axes a `linear` map of lines, of whatever
       length the axes that stay have; never over the batch. Over an axis of unknown length with an upper end each length
       gets places, and weights, of its own; without an upper end it is refused.
    4. `matmul` of two values that change with the input becomes element-wise products [..., M, N, K] and their sum over K.
    5. Averages inside functions (`functions/region.py`) stay: integers compute them.
    6. `matmul` with several constant matrices, such as one for each head, becomes a `sparse_linear`.
    """

    name = "substitute-operators"
    takes = gives = FLOAT
    ensures = (AVERAGES_SUBSTITUTED,)

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass. Raises `UnsupportedError` naming every mean that no fixed weights can compute."""
        refused: list[Refusal] = []
        inside = _in_functions(graph)

        def rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
            if node in inside:
                return None
            try:
                return _rule(rewriter, node, operands)
            except GraphError as error:
                refused.append(Refusal(node.describe(), str(error), node.origin, open_sizes((*node.operands, *node.outputs))))
                return None

        hits: Counter[str] = Counter()
        new, changed = rebuild(graph, rule, hits=hits)
        if refused:
            raise UnsupportedError("\n".join(map(str, refused)), refused)
        return Result(new, changed > 0, rewrites=hits)


def _in_functions(graph: Graph, in_body: bool = False) -> set[Node]:
    """Averages that functions inside the network compute in integers, bodies included."""
    suffix = set() if in_body else host_suffix(graph)
    raw = () if in_body else graph.inputs
    found = function_nodes(graph, suffix | host_prefix(graph, raw, suffix, functions=inner_functions(graph, suffix)))
    averages = {node for node in found if isinstance(node.op, ReduceMean)}
    return averages.union(*(_in_functions(node.body, True) for node in graph.nodes if node.body is not None))


def _rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
    if isinstance(node.op, AveragePool):
        return (_average_pool(rewriter, node, node.op, operands[0]),)
    if isinstance(node.op, ReduceMean):
        return (_reduce_mean(rewriter, node, node.op, operands[0]),)
    if isinstance(node.op, MatMul) and not any(value.is_constant for value in operands):
        return (_sum_of_products(rewriter, node, *operands),)
    if isinstance(node.op, MatMul):
        return _many_matrices(rewriter, node, *operands)
    return None


def _many_matrices(rewriter: Rewriter, node: Node, a: Value, b: Value) -> tuple[Value, ...] | None:
    """A matrix product with several constant matrices, such as one for each head, the same ones for all samples."""
    x, known = (b, a) if a.is_constant else (a, b)
    count, rank = int(np.prod(known.array.shape[:-2])), node.output.type.rank
    sizes = (*x.type.shape[1:], *node.output.type.shape[1:])
    if known.array.ndim < 3 or count == 1 or x.type.rank < 2 or any(isinstance(size, Dim) for size in sizes):
        return None
    apart = x.type.rank == rank and x.type.shape[0] == node.output.type.shape[0]
    if not apart or (known.array.ndim == rank and known.array.shape[0] != 1):
        return None
    result = tuple(concrete(size) for size in node.output.type.shape[1:])
    matrices = known.array.reshape(known.array.shape[-(rank - 1) :])
    inputs, outputs = _places(x.type.shape[1:]), _places(result)
    if known is a:  # y[m, n] = sum over k of matrix[m, k] x[k, n]
        weights, cols, rows = matrices[..., :, :, None], inputs[..., None, :, :], outputs[..., :, None, :]
    else:  # y[m, n] = sum over k of x[m, k] matrix[k, n]
        weights, cols, rows = matrices[..., None, :, :], inputs[..., :, :, None], outputs[..., :, None, :]
    shape = np.broadcast_shapes(weights.shape, cols.shape, rows.shape)
    entries = [np.broadcast_to(array, shape).reshape(-1) for array in (rows, cols, weights)]
    return (_sparse(rewriter, node, x, result, *entries),)


def _places(shape: Shape) -> np.ndarray:
    """The place of each element in C order."""
    sizes = [concrete(size) for size in shape]
    return np.arange(int(np.prod(sizes))).reshape(sizes)


def _sum_of_products(rewriter: Rewriter, node: Node, a: Value, b: Value) -> Value:
    """`C[m, n] = sum_k A[m, k] B[k, n]`, with K last, so that a linear map with weights of 1 adds up the products."""
    if min(a.type.rank, b.type.rank) < 2:
        raise GraphError("a matrix product of two changing values, one of them a vector, is not supported")
    name, result = node.output.name, node.output.type.shape
    swap = (*range(b.type.rank - 2), b.type.rank - 1, b.type.rank - 2)
    turned = rewriter.emit(Transpose(swap), b, name=f"{name}.columns")
    left = rewriter.emit(Reshape((*a.type.shape[:-1], 1, a.type.shape[-1])), a, name=f"{name}.left")
    right = rewriter.emit(Reshape((*b.type.shape[:-2], 1, *turned.type.shape[-2:])), turned, name=f"{name}.right")
    length, limits = left.type.shape[-1], rewriter.graph.limits
    most = at_most(length, limits)
    if isinstance(length, Dim) and most is not None:  # zeros add nothing
        left, right = (
            rewriter.emit(Pad((*([0] * (2 * side.type.rank - 1)), most - length)), side, name=f"{side.name}.filled")
            for side in (left, right)
        )
    products = rewriter.emit(Mul(), left, right, name=f"{name}.products")
    length = products.type.shape[-1]
    if isinstance(length, Dim):
        raise GraphError(f"it adds up {length} products, a number that changes with the input")
    ones = rewriter.constant(f"{name}.ones", np.ones((1, length), np.float64 if a.type.dtype == "f64" else np.float32))
    return rewriter.emit(Reshape(result), rewriter.emit(Linear(), products, ones, name=f"{name}.sum"), name=name)


def _average_pool(rewriter: Rewriter, node: Node, op: AveragePool, x: Value) -> Value:
    if not op.ceil and (not any(op.padding) or op.count_padding):
        return _depthwise(rewriter, node, x, op.kernel, op.stride, op.padding, op.dilation)
    channels, *sizes = x.type.with_shape(x.type.shape[1:]).static_shape("an average with fewer elements at the border")
    places = 1 + _places(tuple(sizes))[np.newaxis, np.newaxis]  # 0 is padding
    kernel = tuple(range(-len(op.kernel), 0))
    windows = op.windows(places, 0)
    counts = op.windows(np.ones_like(places), 1 if op.count_padding else 0, 0).sum(axis=kernel)
    shape = windows.shape[2 : -len(op.kernel)]
    taken = windows.reshape(counts.size, -1)
    row, inside = np.nonzero(taken)
    col, weight = taken[row, inside] - 1, 1 / counts.reshape(-1)[row]
    each = np.arange(channels)[:, np.newaxis]
    return _sparse(
        rewriter,
        node,
        x,
        (channels, *shape),
        (each * counts.size + row).reshape(-1),
        (each * places.size + col).reshape(-1),
        np.tile(weight, channels),
    )


def _depthwise(
    rewriter: Rewriter,
    node: Node,
    x: Value,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Value:
    channels = x.type.shape[1]
    if isinstance(channels, Dim):
        raise GraphError(f"an average needs a known number of channels, found {x.type}")
    if channels * math.prod(kernel) > LARGEST:
        raise GraphError(f"an average over windows of {kernel}, which are more elements than {LARGEST}")
    weight = np.full((channels, 1, *kernel), 1 / np.prod(kernel), np.float64 if x.type.dtype == "f64" else np.float32)
    name = node.output.name
    return rewriter.emit(Conv(stride, padding, dilation, channels), x, rewriter.constant(f"{name}.mean", weight), name=name)


def _reduce_mean(rewriter: Rewriter, node: Node, op: ReduceMean, x: Value) -> Value:
    rank, batch = x.type.rank, x.type.batch_axis
    if batch in op.axes or (batch is None and 0 in op.axes):
        raise GraphError("a mean over the batch mixes samples and cannot run as a spiking network")
    if any(isinstance(x.type.shape[axis], Dim) for axis in op.axes):
        return _mean_of_open_length(rewriter, node, op, x)
    if rank > 2 and tuple(sorted(op.axes)) == tuple(range(2, rank)) and isinstance(x.type.shape[1], int):
        kernel = tuple(concrete(size) for size in x.type.shape[2:])
        ones, none = (1,) * len(kernel), (0,) * (2 * len(kernel))
        pooled = _depthwise(rewriter, node, x, kernel, ones, none, ones)
        return pooled if op.keep else rewriter.emit(Reshape(node.output.type.shape), pooled, name=f"{node.output.name}.flat")
    return _mean_of_lines(rewriter, node, op, x)


_MOST = 1 << 21
"""Elements of a sample that the mean over an open length may be spread over."""


def _mean_of_open_length(rewriter: Rewriter, node: Node, op: ReduceMean, x: Value) -> Value:
    """The mean over an axis of open length L with an upper end, exact for every length, with constant weights.

    A line of K L elements is moved to a place of its own for every L, behind those of the shorter ones, K L (L-1) / 2. So each
    place has one weight, 1 / (K L); those of L from 2^j on, below 2^(j+1), are a map of their own, so that rounding treats long
    lines as well as short ones. Where L is open nothing else than the place depends on it.
    """
    name, batch = node.output.name, x.type.batch_axis
    open_ = [axis for axis in op.axes if isinstance(x.type.shape[axis], Dim)]
    known = math.prod(concrete(x.type.shape[axis]) for axis in op.axes if axis not in open_)
    length = x.type.shape[open_[0]]
    most = at_most(length, rewriter.graph.limits)
    kept = sorted((axis for axis in range(x.type.rank) if axis not in op.axes), key=lambda axis: (axis != batch, axis))
    if len(open_) > 1 or most is None:
        raise GraphError("a mean over an axis of unknown length has weights that change with every input")
    total = known * most * (most + 1) // 2
    if total * math.prod(size for axis in kept if isinstance(size := x.type.shape[axis], int)) > _MOST:
        raise GraphError(f"a mean over up to {most} elements, of unknown number, is spread over too many places; give its length")
    front = _turned(rewriter, x, (*kept, *op.axes), f"{name}.kept")
    sizes = tuple(x.type.shape[axis] for axis in kept)
    lines = _shaped(rewriter, front, (*sizes, known * length), f"{name}.lines")
    before = known * (length * (length - 1)) // 2
    amounts = (*([0] * len(sizes)), before, *([0] * len(sizes)), total - before - known * length)
    placed = rewriter.emit(Pad(amounts), lines, name=f"{name}.placed")
    mean: Value | None = None
    dtype = np.float64 if x.type.dtype == "f64" else np.float32
    for octave in range(most.bit_length()):
        lengths = np.arange(1 << octave, min(2 << octave, most + 1))
        start, stop = (known * int(count * (count - 1) // 2) for count in (lengths[0], lengths[-1] + 1))
        part = rewriter.emit(Slice(len(sizes), start, stop), placed, name=f"{name}.part{octave}")
        weight = np.repeat(1 / (known * lengths), known * lengths)[np.newaxis].astype(dtype)
        term = rewriter.emit(Linear(), part, rewriter.constant(f"{name}.weight{octave}", weight), name=f"{name}.mean{octave}")
        mean = term if mean is None else rewriter.emit(Add(), mean, term, name=f"{name}.sum{octave}")
    assert mean is not None
    flat = _shaped(rewriter, mean, sizes, f"{name}.flat")
    ordered = _turned(rewriter, flat, tuple(kept.index(axis) for axis in sorted(kept)), f"{name}.ordered")
    return _shaped(rewriter, ordered, node.output.type.shape, name)


def _mean_of_lines(rewriter: Rewriter, node: Node, op: ReduceMean, x: Value) -> Value:
    """The mean over any axes as a linear map of lines [..., K] to [..., 1], all of whose weights are 1/K."""
    name, batch = node.output.name, x.type.batch_axis
    kept = sorted((axis for axis in range(x.type.rank) if axis not in op.axes), key=lambda axis: (axis != batch, axis))
    count = int(np.prod([concrete(x.type.shape[axis]) for axis in op.axes]))
    front = _turned(rewriter, x, (*kept, *op.axes), f"{name}.kept")
    sizes = tuple(x.type.shape[axis] for axis in kept)
    lines = _shaped(rewriter, front, (*sizes, count), f"{name}.lines")
    weight = np.full((1, count), 1 / count, np.float64 if x.type.dtype == "f64" else np.float32)
    mean = rewriter.emit(Linear(), lines, rewriter.constant(f"{name}.weight", weight), name=f"{name}.mean")
    flat = _shaped(rewriter, mean, sizes, f"{name}.flat")
    ordered = _turned(rewriter, flat, tuple(kept.index(axis) for axis in sorted(kept)), f"{name}.ordered")
    return _shaped(rewriter, ordered, node.output.type.shape, name)


def _turned(rewriter: Rewriter, x: Value, perm: tuple[int, ...], name: str) -> Value:
    return x if perm == tuple(range(x.type.rank)) else rewriter.emit(Transpose(perm), x, name=name)


def _shaped(rewriter: Rewriter, x: Value, shape: Shape, name: str) -> Value:
    return x if x.type.shape == shape else rewriter.emit(Reshape(shape), x, name=name)


def _sparse(
    rewriter: Rewriter, node: Node, x: Value, shape: tuple[int, ...], rows: np.ndarray, cols: np.ndarray, weights: np.ndarray
) -> Value:
    """The node as a sparse linear map of samples to `shape`: `weights[k]` leads from element `cols[k]` to `rows[k]`."""
    kept = np.flatnonzero(weights)
    kept = kept[np.lexsort((cols[kept], rows[kept]))]
    name, dtype = node.output.name, np.float64 if x.type.dtype == "f64" else np.float32
    return rewriter.emit(
        SparseLinear(shape),
        x,
        rewriter.constant(f"{name}.weight", weights[kept].astype(dtype)),
        rewriter.constant(f"{name}.rows", rows[kept].astype(np.int64)),
        rewriter.constant(f"{name}.cols", cols[kept].astype(np.int64)),
        name=name,
    )
