"""The body of an ONNX `Loop`: reading a sequence at the counter makes an element, writing a buffer at it makes a result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from snnir.frontends.onnx.call import Call
from snnir.frontends.onnx.index_grids import Columns, Row, grid_node
from snnir.frontends.onnx.loop_buffers import WRITERS, Part, Written, joined, scatter_grid
from snnir.frontends.onnx.loop_index import COMPARISONS, fold_index, linear, mentions
from snnir.frontends.onnx.loop_plan import ONLY, Plan
from snnir.frontends.onnx.registry import Known, RefusalError
from snnir.frontends.onnx.scope import Entry
from snnir.frontends.onnx.sequences import Cut
from snnir.frontends.onnx.subgraph import Body
from snnir.ir import BATCH, Dimension, Value
from snnir.ir.dims import dim
from snnir.ir.ops import Slice

__all__ = ["LoopBody"]

_FAR = (1 << 31) - 1


class LoopBody(Body):
    """A body whose nodes may compute with the loop's counter."""

    def __init__(self, call: Call, graph: onnx.GraphProto, hoisted: dict[str, list[Entry]], plan: Plan) -> None:
        super().__init__(call, graph, hoisted)
        self.plan = plan
        self.names.update(plan.known)

    def special(self, node: onnx.NodeProto, operands: Sequence[Entry]) -> Sequence[Entry] | None:
        """Reading, writing and counting at the loop's counter. Raises `RefusalError` for all else that takes it."""
        name = self.plan.counter.name
        counts = any(mentions(operand, name) for operand in operands)
        first = operands[0] if operands else None
        if isinstance(first, Cut) and node.op_type == "SequenceAt" and counts:
            return [self.read(first.value, first.axis, _one(_known(operands[1])), node.output[0])]
        if any(isinstance(operand, Part | Written) for operand in operands):
            if node.op_type in ("Identity", "Cast"):
                return [operands[0]]
            return [joined(self, node, operands)] if node.op_type == "Concat" else None
        grid = grid_node(node, operands)
        if grid is not None:
            return [grid]
        if node.op_type == "ScatterND" and isinstance(operands[1], Columns):
            return [scatter_grid(self, node, operands)]
        known = all(isinstance(operand, np.ndarray) for operand in operands if operand is not None)
        symbolic = known and any(isinstance(operand, np.ndarray) and operand.dtype == object for operand in operands)
        if not counts and not (symbolic and node.op_type in COMPARISONS):
            return super().special(node, operands)
        if node.op_type in ("Gather", "Slice", "GatherND") and not mentions(operands[0], name):
            return [_READERS[node.op_type](self, node, operands)]
        if node.op_type in WRITERS and any(isinstance(item, Value) for item in operands):
            return [WRITERS[node.op_type](self, node, operands, self.plan.counter)]
        if known:
            call = Call(self.graph, node, self.opset, _arrays(operands), self.constants, None, self.used, self)
            return [fold_index(call, self.plan.counter)]
        raise RefusalError("it computes with the loop's counter; only reading and writing one element at it is supported")

    # reading

    def read(self, source: Entry, axis: int, index: Dimension, name: str) -> Value:
        """The element of `source` at `index` along `axis`, which it then lacks. Raises `RefusalError`."""
        if isinstance(source, np.ndarray):
            source = self.caller.constant(f"{name}.table", source)
        if not isinstance(source, Value):
            raise RefusalError("it reads, at the loop's counter, something that is no tensor")
        if self.owns(source):
            raise RefusalError(f"it reads, at the loop's counter, {source.name}, which itself changes from element to element")
        assert self.parent is not None
        sequence = self.parent.capture(source)
        axis = self.caller.axis(axis, sequence.type.rank)
        size, counter, length = sequence.type.shape[axis], self.plan.counter, self.plan.length
        if counter.decide(index * -1 - 1):  # it counts from the end
            index = index + size
        parts = linear(index, counter.name)
        if parts is None or not counter.decide(index) or not counter.decide(size - index - 1):
            raise RefusalError(
                f"it reads {sequence.name} ({sequence.type}) at {index} along axis {axis}, which is outside its size "
                f"in some of {length} iterations; {ONLY}"
            )
        slope, start = parts
        backward = slope < 0
        first = start if not backward else start + slope * (length - 1)
        if first != 0 or abs(slope) != 1 or size != length:
            sequence = self._cut(sequence, axis, first, abs(slope), length)
        return self.element(sequence, axis, backward, name)

    def _cut(self, source: Value, axis: int, first: Dimension, step: int, length: Dimension) -> Value:
        """The part of a sequence that the loop reads, as a value of the graph around."""
        if not isinstance(first, int) or not isinstance(length, int):
            raise RefusalError(f"it reads {length} elements from {first} on of {source.name} ({source.type}); {ONLY}")
        key = f"{source.name} cut {axis} {first} {step}"
        if key not in self.hoisted:
            op = Slice(axis, first, first + step * (length - 1) + 1, step)
            self.hoisted[key] = [self.caller.emit(op, source, label="read")]
        value = self.hoisted[key][0]
        if not isinstance(value, Value):
            raise RefusalError(f"what it reads of {source.name} is no tensor")
        return value

    def gather(self, node: onnx.NodeProto, operands: Sequence[Entry]) -> Entry:
        """`Gather(x, k)`: the element, with the axes of the index in place of the one it cuts."""
        index = _known(operands[1])
        axis = next((item.i for item in node.attribute if item.name == "axis"), 0)
        source = operands[0]
        if isinstance(source, Value) and self.owns(source) and not index.ndim:
            place = self.caller.axis(axis, source.type.rank)
            return Row((*source.type.shape[:place], *source.type.shape[place + 1 :]), source.name)
        element = self.read(operands[0], axis, _one(index), node.output[0])
        place = self.caller.axis(axis, element.type.rank + 1)
        shape = (*element.type.shape[:place], *index.shape, *element.type.shape[place:])
        return self.shaped(element, shape, node.output[0])

    def gather_nd(self, node: onnx.NodeProto, operands: Sequence[Entry]) -> Entry:
        """`GatherND(x, [k])`."""
        index = _known(operands[1])
        if index.shape[-1:] != (1,) or any(item.name == "batch_dims" and item.i for item in node.attribute):
            raise RefusalError("it reads single numbers at the loop's counter; only whole elements of a sequence are supported")
        element = self.read(operands[0], 0, _one(index), node.output[0])
        return self.shaped(element, (*index.shape[:-1], *element.type.shape), node.output[0])

    def slice(self, node: onnx.NodeProto, operands: Sequence[Entry]) -> Entry:
        """`Slice(x, k, k + 1)` along one axis, cut at fixed places along others; or a part of a buffer."""
        starts, ends = (_known(operand).reshape(-1).tolist() for operand in operands[1:3])
        source = operands[0]
        rank = source.type.rank if isinstance(source, Value) else _known(source).ndim
        given = _known(operands[3]).reshape(-1).tolist() if len(operands) > 3 and operands[3] is not None else range(len(starts))
        steps = _known(operands[4]).reshape(-1).tolist() if len(operands) > 4 and operands[4] is not None else [1] * len(starts)
        axes = [self.caller.axis(int(axis), rank) for axis in given]
        name = self.plan.counter.name
        moving = [place for place, pair in enumerate(zip(starts, ends, strict=True)) if mentions(np.array(pair, object), name)]
        if len(moving) != 1 or steps[moving[0]] != 1:
            raise RefusalError("it cuts several axes at the loop's counter; only one element of a sequence is supported")
        (place,) = moving
        start, end, axis = starts[place], ends[place], axes[place]
        if isinstance(source, Value) and self.owns(source) and len(starts) == 1:
            size = source.type.shape[axis]
            return Part(source, axis, start, None if end == size or (isinstance(end, int) and end >= 1 << 31) else end)
        wraps = self.plan.counter.decide(start) is not True and self.plan.counter.decide(end * -1 - 1) is not True
        if end - start != 1 or wraps:
            raise RefusalError(f"it reads the part {start}:{end} of a sequence; only one element at a time is supported")
        element = self.read(source, axis, start, f"{node.output[0]}.element")
        shape = (*element.type.shape[:axis], 1, *element.type.shape[axis:])
        result = self.shaped(element, shape, node.output[0])
        for other, (low, high, step) in enumerate(zip(starts, ends, steps, strict=True)):
            if other != place and not self._whole(result.type.shape[axes[other]], low, high, step):
                cut = Slice(axes[other], int(low), int(high), int(step))
                result = self.graph.add1(cut, result, name=f"{node.output[0]}.axis{axes[other]}", origin=self.caller.origin)
        return result

    def _whole(self, size: Dimension, low: Dimension, high: Dimension, step: int) -> bool:
        """Whether `low:high:step` is all of an axis; the batch that was exported is read as any batch."""
        exported = self.fixed_batch is not None and size == dim(BATCH) and high == self.fixed_batch
        far = isinstance(high, int) and high >= (size if isinstance(size, int) else _FAR)
        return low == 0 and step == 1 and (far or exported or high == size)


_READERS = {"Gather": LoopBody.gather, "GatherND": LoopBody.gather_nd, "Slice": LoopBody.slice}


def _known(entry: Entry) -> Known:
    if not isinstance(entry, np.ndarray):
        raise RefusalError("it reads or writes at an index that changes with the input")
    return entry


def _arrays(operands: Sequence[Entry]) -> list[Value | Known | None]:
    return [operand if isinstance(operand, np.ndarray) else None for operand in operands]


def _one(index: Known) -> Dimension:
    """The only number of an index."""
    items = index.reshape(-1).tolist()
    if len(items) != 1:
        raise RefusalError(f"it reads {len(items)} elements at once ({', '.join(map(str, items))}); only one is supported")
    item: Dimension = items[0]
    return item
