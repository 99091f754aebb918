"""Lifting: the nodes of a graph for one sample as nodes for many, each of them in front of all other axes.

A value of one sample, of shape S, becomes one of shape [N, *S]. Every op then computes on [N, *S] what it computes on S, sample
by sample: axes that it names are one more, operands of broadcasts get axes of size 1 behind the first, and the batch of an op
that knows one (a convolution, a recurrent layer) becomes positions, or a part of its batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from snnir.errors import GraphError
from snnir.ir.batch import Place, per_sample
from snnir.ir.dims import BATCH, Dim, Dimension, Shape, dim
from snnir.ir.execute import apply
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.op import Op, Trait
from snnir.ir.ops import (
    Concat,
    Conv,
    DynamicStore,
    Expand,
    Extend,
    Gather,
    IntReduce,
    Linear,
    Lookup,
    MatMul,
    Pad,
    Pool,
    Recurrent,
    ReduceMean,
    Reshape,
    Scan,
    Slice,
    TakeAlong,
    Transpose,
)
from snnir.ir.rewrite import Rewriter, copy_constants, like

__all__ = ["apart", "folded", "for_any_batch", "in_groups", "lift"]


def _lifted_body(body: Graph, lead: Dimension) -> Graph | None:
    """The body of a scan on states and elements of many samples; None where a node has no rule."""
    new = like(body)
    rewriter = Rewriter(new, lambda *_: None)
    shapes = {value: (lead, *per_sample(value.type.shape)) for value in body.inputs}
    values = {value: new.input(value.name, value.type.with_shape(shape)) for value, shape in shapes.items()}
    copy_constants(body, new, values)
    for node in body.nodes:
        rewriter.node = node
        results = _known(rewriter, node, values) or lift(rewriter, node, [values[value] for value in node.operands], lead)
        if results is None:
            return None
        values.update(zip(node.outputs, results, strict=True))
    for name, value in body.outputs.items():
        new.output(name, _spread(rewriter, values[value], lead))
    return new


def _known(rewriter: Rewriter, node: Node, values: Mapping[Value, Value]) -> tuple[Value, ...] | None:
    """Constants for what a node computes of constants alone, which is the same for all samples; None for any other node."""
    operands = [values[value] for value in node.operands]
    if not operands or node.body is not None or not all(value.is_constant for value in operands):
        return None
    if any(isinstance(size, Dim) for value in node.outputs for size in value.type.shape):
        return None
    arrays = apply(node, [value.array for value in operands], {})
    return tuple(rewriter.constant(value.name, array) for value, array in zip(node.outputs, arrays, strict=True))


def lift(rewriter: Rewriter, node: Node, operands: list[Value], lead: Dimension) -> tuple[Value, ...] | None:
    """The node for `lead` samples, on operands [lead, *S] and on constants as they are; None where there is no rule for its op.

    Sizes of the node may hold the batch already, as a factor of an axis: it stands in front then.
    """
    op = node.op
    names = [value.name for value in node.outputs]
    if op.has(Trait.ELEMENTWISE) or (isinstance(op, Lookup) and operands[0].is_constant and not operands[1].is_constant):
        return rewriter.emit_all(op, *operands, names=names)
    if op.has(Trait.BROADCASTING):
        rank = node.output.type.rank + 1
        return rewriter.emit_all(op, *(_ranked(rewriter, value, rank) for value in operands), names=names)
    if isinstance(op, MatMul):
        return (_product(rewriter, node, operands, lead),)
    if isinstance(op, Linear):
        weighted = not operands[0].is_constant and all(value.is_constant for value in operands[1:])
        return rewriter.emit_all(op, *operands, names=names) if weighted else None
    if op.has(Trait.CHANNELS):
        fits = all(value.is_constant for value in operands[1:]) and not operands[0].is_constant
        return (_channels(rewriter, node, operands, lead),) if fits and node.output.type.rank > 1 else None
    if isinstance(op, DynamicStore):
        if lead != 1:
            return None
        stored, *scalars = rewriter.emit_all(op, *operands, names=names)
        return stored, *(rewriter.emit(Reshape((1,)), value, name=f"{value.name}.sample") for value in scalars)
    if isinstance(op, Scan):
        return _scan(rewriter, node, op, operands, lead)
    if isinstance(op, Recurrent):
        return _layer(rewriter, node, operands, lead)
    further = _further(op, lead)
    if further is None:
        return None
    if isinstance(op, Expand):
        lifted = [_ranked(rewriter, _front(rewriter, value), node.output.type.rank + 1) for value in operands]
    else:
        lifted = [_spread(rewriter, value, lead) for value in operands]
    return rewriter.emit_all(further, *lifted, names=names)


def _scan(rewriter: Rewriter, node: Node, op: Scan, operands: list[Value], lead: Dimension) -> tuple[Value, ...] | None:
    """A scan whose body is lifted too, along axis 1; states that are one for all samples spread by themselves."""
    body = _lifted_body(node.body, lead) if node.body is not None else None
    if body is None:
        return None
    lifted = []
    for index, (value, inner) in enumerate(zip(operands, body.inputs, strict=True)):
        if index < op.states:
            lifted.append(_ranked(rewriter, _front(rewriter, value), inner.type.rank))
            continue
        value = _spread(rewriter, value, lead)
        lifted.append(_moved(rewriter, value, op.axis + 1, 1) if index < op.states + op.elements else value)
    names = [value.name if index < op.states else f"{value.name}.steps" for index, value in enumerate(node.outputs)]
    results = rewriter.emit_all(dataclasses.replace(op, axis=1), *lifted, names=names, body=body)
    moved = (_moved(rewriter, value, 1, op.axis + 1) for value in results[op.states :])
    return (*results[: op.states], *moved)


def _moved(rewriter: Rewriter, value: Value, source: int, target: int) -> Value:
    """`value` with one axis moved to another place."""
    order = [axis for axis in range(value.type.rank) if axis != source]
    order.insert(target, source)
    return value if source == target else rewriter.emit(Transpose(tuple(order)), value, name=f"{value.name}.moved")


def _layer(rewriter: Rewriter, node: Node, operands: list[Value], lead: Dimension) -> tuple[Value, ...] | None:
    """A recurrent layer: its own batch and the samples are one batch."""
    op = node.expect(Recurrent)
    count = 4 + op.STATES
    mask = op.mask(operands)
    peephole = [value for value in operands[count:] if value is not mask]
    if operands[0].is_constant or not all(value.is_constant for value in (*operands[1:4], *peephole)):
        return None
    inner = per_sample(node.operands[0].type.shape)[0]

    def merged(value: Value) -> Value:
        rest = value.type.shape[2:]
        return rewriter.emit(Reshape((lead * inner, *rest)), value, name=f"{value.name}.merged")

    states = [value if value.is_constant else merged(_wide(rewriter, value, inner)) for value in operands[4:count]]
    masks = [] if mask is None else [merged(_spread(rewriter, mask, lead))]
    names = [f"{value.name}.merged" for value in node.outputs]
    found = rewriter.emit_all(op, merged(operands[0]), *operands[1:4], *states, *peephole, *masks, names=names)
    shapes = [(lead, *per_sample(value.type.shape)) for value in node.outputs]
    return tuple(
        rewriter.emit(Reshape(shape), value, name=old.name) for shape, value, old in zip(shapes, found, node.outputs, strict=True)
    )


def _wide(rewriter: Rewriter, value: Value, size: Dimension) -> Value:
    """A state [lead, 1, H] or [lead, H] with `size` rows."""
    if value.type.rank == 2:
        value = rewriter.emit(Reshape((value.type.shape[0], 1, value.type.shape[1])), value, name=f"{value.name}.row")
    shape = (value.type.shape[0], size, *value.type.shape[2:])
    return value if value.type.shape == shape else rewriter.emit(Expand(shape), value, name=f"{value.name}.rows")


def _further(op: Op, lead: Dimension) -> Op | None:
    """The op with one more axis in front; None where no rule is written for it."""
    if isinstance(op, Reshape | Expand):
        return dataclasses.replace(op, shape=(lead, *per_sample(op.shape)))
    if isinstance(op, Transpose):
        return Transpose((0, *(axis + 1 for axis in op.perm)))
    if isinstance(op, Slice | Gather | Concat | TakeAlong):
        return dataclasses.replace(op, axis=op.axis + 1)
    if isinstance(op, Pad | Extend):
        half = len(op.padding) // 2
        return dataclasses.replace(op, padding=(0, *op.padding[:half], 0, *op.padding[half:]))
    if isinstance(op, ReduceMean | IntReduce):
        return dataclasses.replace(op, axes=tuple(axis + 1 if axis >= 0 else axis for axis in op.axes))
    if op.has(Trait.ALONG_AXIS):
        axis = int(vars(op)["axis"])
        further: dict[str, object] = {"axis": axis + 1 if axis >= 0 else axis}
        return dataclasses.replace(op, **further)
    return None


def _front(rewriter: Rewriter, value: Value) -> Value:
    """A value with the batch of 1 in front; constants get it here."""
    return rewriter.constant(f"{value.name}.sample", value.array[None]) if value.is_constant else value


def _spread(rewriter: Rewriter, value: Value, lead: Dimension) -> Value:
    """A value with the samples in front; constants are repeated for each."""
    front = _front(rewriter, value)
    shape = (lead, *front.type.shape[1:])
    return front if front.type.shape == shape else rewriter.emit(Expand(shape), front, name=f"{value.name}.samples")


def _ranked(rewriter: Rewriter, value: Value, rank: int) -> Value:
    """A value [lead, *shape] with axes of size 1 behind the first, up to `rank`; constants broadcast as they are."""
    if value.is_constant or value.type.rank == rank:
        return value
    shape = (value.type.shape[0], *((1,) * (rank - value.type.rank)), *value.type.shape[1:])
    return rewriter.emit(Reshape(shape), value, name=f"{value.name}.ranked")


def _product(rewriter: Rewriter, node: Node, operands: list[Value], lead: Dimension) -> Value:
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
        wanted = (value.type.shape[0], *((1,) * (rank - 1 - len(matrix))), *matrix)
        sides.append(value if wanted == value.type.shape else rewriter.emit(Reshape(wanted), value, name=f"{value.name}.matrix"))
    shape = (lead, *per_sample(node.output.type.shape))
    found = rewriter.emit(MatMul(), *sides, name=f"{node.output.name}.product")
    return found if found.type.shape == shape else rewriter.emit(Reshape(shape), found, name=node.output.name)


def _channels(rewriter: Rewriter, node: Node, operands: list[Value], lead: Dimension) -> Value:
    """An op of samples with channels: what was the batch becomes the first axis of positions, or goes where it is 1."""
    op, name = node.op, node.output.name
    rank = operands[0].type.rank
    if operands[0].type.shape[1] == 1:
        plain = rewriter.emit(Reshape((lead, *operands[0].type.shape[2:])), operands[0], name=f"{name}.plain")
        found = rewriter.emit(op, plain, *operands[1:], name=f"{name}.samples")
        return rewriter.emit(Reshape((lead, *per_sample(node.output.type.shape))), found, name=name)
    order = (0, 2, 1, *range(3, rank))
    turned = rewriter.emit(Transpose(order), operands[0], name=f"{name}.channels")
    rest = list(operands[1:])
    if isinstance(op, Conv | Pool):
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


def apart(rewriter: Rewriter, value: Value, place: Place | None) -> Value:
    """`value`, which holds the batch in `place`, as [N, *shape of one sample]; [1, *shape] where it holds none."""
    shape, name = value.type.shape, value.name
    if place is None:
        return rewriter.emit(Reshape((1, *shape)), value, name=f"{name}.once")
    axis = place.axis
    if not place.alone:
        split = (*shape[:axis], place.before, dim(BATCH), place.after, *shape[axis + 1 :])
        value = rewriter.emit(Reshape(split), value, name=f"{name}.split")
        axis += 1
    if axis:
        order = (axis, *(other for other in range(value.type.rank) if other != axis))
        value = rewriter.emit(Transpose(order), value, name=f"{name}.front")
    return rewriter.emit(Reshape((dim(BATCH), *per_sample(shape))), value, name=f"{name}.apart")


def folded(rewriter: Rewriter, value: Value, shape: Shape, place: Place | None) -> Value:
    """The inverse: [N, *shape of one sample] in `shape`, with the batch in `place`."""
    name = value.name
    if place is None:
        return rewriter.emit(Reshape(shape), value, name=f"{name}.once")
    axis, inside = place.axis, tuple(shape)
    rest: tuple[Dimension, ...] = (*inside[:axis], *inside[axis + 1 :])
    if not place.alone:
        rest = (*inside[:axis], place.before, place.after, *inside[axis + 1 :])
        axis += 1
    value = rewriter.emit(Reshape((dim(BATCH), *rest)), value, name=f"{name}.alone")
    if axis:
        order = (*range(1, axis + 1), 0, *range(axis + 1, value.type.rank))
        value = rewriter.emit(Transpose(order), value, name=f"{name}.placed")
    return value if value.type.shape == shape else rewriter.emit(Reshape(shape), value, name=f"{name}.folded")


def for_any_batch(graph: Graph, axes: Mapping[str, int | None]) -> Graph | None:
    """A graph for one sample, as a graph for N of them, which it computes one as the other; None where an op has no rule.

    `axes` says which axis of size 1 of an input becomes the batch; None: the input gets an axis in front. Outputs that have
    the shape of such an input have the batch where it has it, others in place of an axis 0 or 1 of size 1, else in front.
    """
    new = like(graph)
    rewriter = Rewriter(new, lambda *_: None)
    plain: dict[Value, Value] = {}
    for value in graph.inputs:
        axis = axes[value.name]
        plain[value] = new.input(value.name, value.type.with_shape(_with_batch(value.type.shape, axis)))
        if axis is None:
            new.stacked.add(value.name)
    values: dict[Value, Value] = {}
    copy_constants(graph, new, values)
    for value, given in plain.items():
        values[value] = apart(rewriter, given, Place(axes[value.name] or 0)) if axes[value.name] is not None else given
    for node in graph.nodes:
        rewriter.node = node
        operands = [values[value] for value in node.operands]
        try:
            results = _known(rewriter, node, values) or lift(rewriter, node, operands, dim(BATCH))
        except GraphError:  # sizes of one sample that do not fit behind another axis
            return None
        if results is None:
            return None
        values.update(zip(node.outputs, results, strict=True))
    rewriter.node = None
    known = {value.type.shape: axes[value.name] for value in graph.inputs if value.type.rank > 1 and axes[value.name] is not None}
    for name, value in graph.outputs.items():
        shape = value.type.shape
        axis = known.get(shape, next((axis for axis, size in enumerate(shape[:2]) if size == 1), None))
        axis = None if None in axes.values() and shape not in known else axis
        result = _spread(rewriter, values[value], dim(BATCH))
        new.output(name, result if axis is None else folded(rewriter, result, _with_batch(shape, axis), Place(axis)))
    return new


def in_groups(graph: Graph) -> Graph | None:
    """A graph of a fixed batch whose samples belong together, as a graph for N such groups; None where an op has no rule."""
    (size, *others) = {graph.values[name].type.shape[axis] for name, axis in graph.fixed_batch.items()}
    if others or not isinstance(size, int) or size < 2:
        return None
    new = for_any_batch(graph, dict.fromkeys(value.name for value in graph.inputs))
    if new is None:
        return None
    new.notes = [*graph.notes, f"samples belong together: runs take any number of them, {size} at a time"]
    for value in new.inputs:
        axis = graph.fixed_batch.get(value.name)
        new.groups[value.name] = (0, 0) if axis is None else (axis, size)
    usual = min(graph.fixed_batch.values())
    for name, value in graph.outputs.items():
        places = [place for place, length in enumerate(value.type.shape) if length == size]
        if places:
            new.groups[name] = (usual if usual in places else places[0]), size
    return new


def _with_batch(shape: Shape, axis: int | None) -> Shape:
    """The shape of one sample, as that of N: in front, or in place of an axis of size 1."""
    return (dim(BATCH), *shape) if axis is None else (*shape[:axis], dim(BATCH), *shape[axis + 1 :])
