"""A model without a batch, whose nodes mix what axis 0 holds: all of an input is one sample.

Synapses compute with the batch as axis 0. A model of fixed sizes that reduces, moves or weights along its axis 0 has no
batch there, so it gets one of size 1 in front of all axes: every op computes the same on [1, *shape] as on [*shape].
"""

from __future__ import annotations

from dataclasses import dataclass

from snnir.ir import BATCH, FLOAT, Graph, Node, Value
from snnir.ir.dims import Dim, dim
from snnir.ir.lifting import lift
from snnir.ir.op import Trait
from snnir.ir.ops import (
    Concat,
    DynamicStore,
    Gather,
    IntCumulate,
    IntReduce,
    Linear,
    MatMul,
    ReduceMean,
    Reshape,
    Scan,
    Slice,
    Transpose,
)
from snnir.ir.rewrite import Rewriter, copy_constants, like
from snnir.passes.infra import Context, Pass, Result, register

__all__ = ["OneSample"]


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
    if op.has(Trait.BROADCASTING):
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
        results = lift(rewriter, node, operands, 1)
        if results is None:
            return None
        values.update(zip(node.outputs, results, strict=True))
    rewriter.node = None
    for name, value in graph.outputs.items():
        result = values[value]
        front = rewriter.constant(f"{result.name}.sample", result.array[None]) if result.is_constant else result
        new.output(name, rewriter.emit(Reshape(value.type.shape), front, name=name))
    return new
