"""A model without a batch, whose nodes mix what axis 0 holds: all of an input is one sample.

Synapses compute with the batch as axis 0. A model of fixed sizes that reduces, moves or weights along its axis 0 has no
batch there, so it gets one of size 1 in front of all axes: every op computes the same on [1, *shape] as on [*shape].
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from snnir.ir import BATCH, FLOAT, Graph, Node, Op, Value
from snnir.ir.dims import Dim, dim
from snnir.ir.ops import (
    Abs,
    Add,
    ArgMax,
    AveragePool,
    BatchNorm,
    BitCast,
    Cast,
    Concat,
    Conv,
    Cos,
    Div,
    DynamicStore,
    Elementwise,
    Expand,
    Extend,
    Gather,
    Hardmax,
    IntCumulate,
    Integer,
    IntReduce,
    Linear,
    Log,
    LogSoftmax,
    Lookup,
    Masked,
    MatMul,
    MaxPool,
    Mul,
    Narrow,
    Pad,
    Pow,
    Question,
    Reciprocal,
    ReduceMean,
    Remainder,
    Reshape,
    Scan,
    Sin,
    Slice,
    Softmax,
    Sqrt,
    Store,
    Sub,
    Tan,
    TopK,
    Transpose,
)
from snnir.ir.rewrite import Rewriter, copy_constants, like
from snnir.passes.infra import Context, Pass, Result, register

__all__ = ["OneSample"]

_BROADCASTING = (Add, Sub, Mul, Div, Pow, Remainder, Masked, Store, Integer)
_SINGLE = (Elementwise, Abs, Sqrt, Log, Reciprocal, Sin, Cos, Tan, Cast, BitCast, Narrow, Question)
_ALONG = (Softmax, LogSoftmax, ArgMax, Hardmax, TopK, IntCumulate)
_CHANNELS = (Conv, MaxPool, AveragePool, BatchNorm)


@register
@dataclass(frozen=True)
class OneSample(Pass):
    """Give a model of fixed sizes a batch of 1 where its nodes mix what axis 0 holds.

    1. Only where no input has a batch, all sizes are known, and some node gives a value of another axis 0, or reduces,
       moves or weights along it.
    2. Inputs get an axis of size 1 in front, which outputs lose again; every axis that an op names is one more.
    3. Operands of element-wise ops and matrix products get axes of size 1 behind it, up to the rank of the result.
    4. Where a node holds an op for which no rule is written, the graph stays as it is.
    """

    name = "one-sample"
    takes = gives = FLOAT

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass."""
        sizes = [size for value in graph.values.values() for size in value.type.shape]
        if any(isinstance(size, Dim) for size in sizes) or dim(BATCH) in sizes or not _mixes(graph):
            return Result(graph, False)
        lifted = _lifted(graph)
        if lifted is None:
            return Result(graph, False)
        return Result(lifted, True, ("nodes mix what axis 0 of the inputs holds: all of an input is one sample",))


def _mixes(graph: Graph) -> bool:
    """Whether axis 0 of what changes with the inputs is no batch."""
    leads = {value.type.shape[0] if value.type.rank else 1 for value in graph.inputs}
    changing = set(graph.inputs)
    for node in graph.nodes:
        if not any(value in changing for value in node.operands):
            continue
        changing.update(node.outputs)
        leads.update(value.type.shape[0] if value.type.rank else 1 for value in node.outputs)
        if _along_first(node, changing):
            return True
    return len(leads) > 1


def _along_first(node: Node, changing: set[Value]) -> bool:
    """Whether the node itself computes or moves along axis 0."""
    op, rank = node.op, node.outputs[0].type.rank
    if isinstance(op, Scan):
        return op.axis == 0
    if isinstance(op, DynamicStore):
        return rank > 0
    known = [value.type for value in node.operands if value not in changing]
    if isinstance(op, _BROADCASTING) and not isinstance(op, IntReduce | IntCumulate):
        return any(type_.rank == rank and rank and type_.shape[0] != 1 for type_ in known)
    if isinstance(op, MatMul):
        short = any(value.type.rank < 2 for value in node.operands[:1])
        return short or any(type_.rank >= max(rank, 3) or type_ is node.operands[0].type for type_ in known)
    if isinstance(op, Slice | Gather | Concat):
        return op.axis == 0
    if isinstance(op, Transpose):
        return op.perm[:1] != (0,)
    if isinstance(op, ReduceMean | IntReduce):
        return 0 in op.axes or -node.operands[0].type.rank in op.axes
    if isinstance(op, IntCumulate):
        return op.axis == 0
    if isinstance(op, Linear):
        return node.operands[0].type.rank == 1
    return False


def _lifted(graph: Graph) -> Graph | None:
    """The graph with a batch of 1 in front of every axis; None where a node has no rule."""
    new = like(graph)
    rewriter = Rewriter(new, lambda *_: None)
    values: dict[Value, Value] = {}
    for value in graph.inputs:
        values[value] = new.input(value.name, value.type)
    copy_constants(graph, new, values)
    for value in graph.inputs:
        values[value] = rewriter.emit(Reshape((1, *value.type.shape)), values[value], name=f"{value.name}.sample")
    for node in graph.nodes:
        rewriter.node = node
        operands = [values[value] for value in node.operands]
        results = _lift(rewriter, node, operands)
        if results is None:
            return None
        values.update(zip(node.outputs, results, strict=True))
    rewriter.node = None
    for name, value in graph.outputs.items():
        new.output(name, rewriter.emit(Reshape(value.type.shape), _front(rewriter, values[value]), name=name))
    return new


def _lifted_body(body: Graph) -> Graph | None:
    """The body of a scan on states and elements with a batch of 1; None where a node has no rule."""
    new = like(body)
    rewriter = Rewriter(new, lambda *_: None)
    values = {value: new.input(value.name, value.type.with_shape((1, *value.type.shape))) for value in body.inputs}
    copy_constants(body, new, values)
    for node in body.nodes:
        rewriter.node = node
        results = _lift(rewriter, node, [values[value] for value in node.operands])
        if results is None:
            return None
        values.update(zip(node.outputs, results, strict=True))
    for name, value in body.outputs.items():
        new.output(name, _front(rewriter, values[value]))
    return new


def _lift(rewriter: Rewriter, node: Node, operands: list[Value]) -> tuple[Value, ...] | None:
    op = node.op
    names = [value.name for value in node.outputs]
    if isinstance(op, _SINGLE) or (isinstance(op, Lookup) and operands[0].is_constant and not operands[1].is_constant):
        return rewriter.emit_all(op, *operands, names=names)
    if isinstance(op, _BROADCASTING) and not isinstance(op, IntReduce | IntCumulate):
        rank = node.output.type.rank + 1
        return rewriter.emit_all(op, *(_ranked(rewriter, value, rank) for value in operands), names=names)
    if isinstance(op, MatMul):
        return (_product(rewriter, node, operands),)
    if isinstance(op, Linear):
        weighted = not operands[0].is_constant and all(value.is_constant for value in operands[1:])
        return rewriter.emit_all(op, *operands, names=names) if weighted else None
    if isinstance(op, _CHANNELS):
        fits = all(value.is_constant for value in operands[1:]) and not operands[0].is_constant
        return (_channels(rewriter, node, operands),) if fits and node.output.type.rank > 1 else None
    if isinstance(op, DynamicStore):
        stored, *scalars = rewriter.emit_all(op, *operands, names=names)
        return stored, *(rewriter.emit(Reshape((1,)), value, name=f"{value.name}.sample") for value in scalars)
    if isinstance(op, Scan):
        return _scan(rewriter, node, op, operands)
    further = _further(op)
    if further is None:
        return None
    lifted = [_front(rewriter, value) for value in operands]
    if isinstance(op, Expand):
        lifted = [_ranked(rewriter, value, node.output.type.rank + 1) for value in lifted]
    return rewriter.emit_all(further, *lifted, names=names)


def _scan(rewriter: Rewriter, node: Node, op: Scan, operands: list[Value]) -> tuple[Value, ...] | None:
    """A scan along axis 0, which knows no batch."""
    body = _lifted_body(node.body) if op.axis == 0 and node.body is not None else None
    if body is None:
        return None
    names = [value.name for value in node.outputs]
    lifted = [_front(rewriter, value) for value in operands]
    return rewriter.emit_all(dataclasses.replace(op, axis=1), *lifted, names=names, body=body)


def _further(op: Op) -> Op | None:
    """The op with one more axis in front; None where no rule is written for it."""
    if isinstance(op, Reshape | Expand):
        return dataclasses.replace(op, shape=(1, *op.shape))
    if isinstance(op, Transpose):
        return Transpose((0, *(axis + 1 for axis in op.perm)))
    if isinstance(op, Slice | Gather | Concat):
        return dataclasses.replace(op, axis=op.axis + 1)
    if isinstance(op, Pad | Extend):
        half = len(op.padding) // 2
        return dataclasses.replace(op, padding=(0, *op.padding[:half], 0, *op.padding[half:]))
    if isinstance(op, ReduceMean | IntReduce):
        return dataclasses.replace(op, axes=tuple(axis + 1 if axis >= 0 else axis for axis in op.axes))
    if isinstance(op, _ALONG):
        return dataclasses.replace(op, axis=op.axis + 1 if op.axis >= 0 else op.axis)
    return None


def _front(rewriter: Rewriter, value: Value) -> Value:
    """A value with the batch of 1 in front; constants get it here."""
    return rewriter.constant(f"{value.name}.sample", value.array[None]) if value.is_constant else value


def _ranked(rewriter: Rewriter, value: Value, rank: int) -> Value:
    """A value [1, *shape] with axes of size 1 behind the first, up to `rank`; constants broadcast as they are."""
    if value.is_constant or value.type.rank == rank:
        return value
    shape = (1, *((1,) * (rank - value.type.rank)), *value.type.shape[1:])
    return rewriter.emit(Reshape(shape), value, name=f"{value.name}.ranked")


def _product(rewriter: Rewriter, node: Node, operands: list[Value]) -> Value:
    """A matrix product; vectors that change become matrices for it."""
    ranks = [value.type.rank for value in node.operands]
    rank = max(*ranks, 2) + 1
    sides = []
    for index, value in enumerate(operands):
        if value.is_constant:
            sides.append(value)
            continue
        shape = value.type.shape[1:]
        matrix = shape if ranks[index] > 1 else ((1, *shape) if index == 0 else (*shape, 1))
        wanted = (1, *((1,) * (rank - 1 - len(matrix))), *matrix)
        sides.append(value if wanted == value.type.shape else rewriter.emit(Reshape(wanted), value, name=f"{value.name}.matrix"))
    found, shape = rewriter.emit(MatMul(), *sides, name=f"{node.output.name}.product"), (1, *node.output.type.shape)
    return rewriter.emit(Reshape(shape), found, name=node.output.name)


def _channels(rewriter: Rewriter, node: Node, operands: list[Value]) -> Value:
    """An op of samples with channels: what was the batch becomes the first axis of positions."""
    op, name = node.op, node.output.name
    rank = operands[0].type.rank
    order = (0, 2, 1, *range(3, rank))
    turned = rewriter.emit(Transpose(order), operands[0], name=f"{name}.channels")
    rest = list(operands[1:])
    if isinstance(op, Conv | MaxPool | AveragePool):
        half = len(op.padding) // 2
        padding = (0, *op.padding[:half], 0, *op.padding[half:])
        if isinstance(op, Conv):
            weight = rest[0].array
            rest[0] = rewriter.constant(f"{rest[0].name}.further", weight.reshape(*weight.shape[:2], 1, *weight.shape[2:]))
            wide: Op = dataclasses.replace(op, stride=(1, *op.stride), padding=padding, dilation=(1, *op.dilation))
        else:
            wide = dataclasses.replace(
                op, kernel=(1, *op.kernel), stride=(1, *op.stride), padding=padding, dilation=(1, *op.dilation)
            )
    else:
        wide = op
    found = rewriter.emit(wide, turned, *rest, name=f"{name}.wide")
    return rewriter.emit(Transpose(order), found, name=name)
