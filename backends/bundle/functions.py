"""The microcode of a function as the body of a `function` node: the same integers, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snnir.ir import Graph, Value
from snnir.ir.dims import BATCH, concrete, dim
from snnir.ir.op import SPIKING
from snnir.ir.ops import Concat, Expand, Gather, IntReduce, IntTable, Pad, Reshape
from snnir.ir.types import TensorType
from snnir.machine.addresses import IndexMap
from snnir.machine.lowering.function import KINDS
from snnir.machine.microcode import Step
from snnir.machine.program import Difference, Function

__all__ = ["body_of"]

_N = dim(BATCH)
_OPS = {kind: op() for op, kind in KINDS.items()}


def body_of(op: Function | Difference, sources: Sequence[TensorType]) -> Graph:
    """A body that takes what the sources of `op` settled to, i64 [N, ...] each, and gives its result, i64 [N, ...]."""
    body = Graph(op.train.name, SPIKING)
    taken = [body.input(f"source{place}", TensorType(type_.shape, "i64")) for place, type_ in enumerate(sources)]
    registers = [_flat(body, value) for value in taken]
    for step in op.code:
        registers.append(_step(body, step, [registers[index] for index in step.operands]))
    last = _every_sample(body, registers[-1])
    body.output("result", body.add1(Reshape((_N, *op.train.shape)), last, name="shaped"))
    return body


def _flat(body: Graph, value: Value) -> Value:
    """One axis behind the batch."""
    sizes = [concrete(size) for size in value.type.shape[1:]]
    if len(sizes) == 1:
        return value
    return body.add1(Reshape((_N, int(np.prod(sizes, dtype=np.int64)))), value, name=f"{value.name}.flat")


def _every_sample(body: Graph, value: Value) -> Value:
    """A value for every sample, where it is the same for all."""
    first, size = value.type.shape
    return value if first == _N else body.add1(Expand((_N, size)), value, name="spread")


def _step(body: Graph, step: Step, operands: Sequence[Value]) -> Value:
    if step.kind == "constant":
        assert step.data is not None
        return body.constant("constant", step.data.astype(np.int64).reshape(1, step.size))
    if step.kind == "join":
        whole = operands[0]
        if len(operands) > 1:
            whole = body.add1(Concat(1), *(_every_sample(body, value) for value in operands), name="joined")
        return _read(body, whole, step.maps[0])
    read = [_read(body, value, map_) for value, map_ in zip(operands, step.maps, strict=True)]
    if step.kind == "table":
        assert step.data is not None
        return body.add1(IntTable(), *read, body.constant("table", step.data.astype(np.int64)), name=step.kind)
    if step.kind in _OPS:
        return body.add1(_OPS[step.kind], *read, name=step.kind)
    lead = read[0].type.shape[0]
    grouped = body.add1(Reshape((lead, step.size, step.width)), read[0], name="grouped")
    return body.add1(IntReduce(step.kind, (2,), False), grouped, name=step.kind)


def _read(body: Graph, value: Value, map_: IndexMap | None) -> Value:
    """An operand through its map; -1 reads 0."""
    if map_ is None:
        return value
    index = map_.array()
    if (index < 0).any():
        size = concrete(value.type.shape[1])
        index = np.where(index < 0, size, index)
        value = body.add1(Pad((0, 0, 0, 1)), value, name="padded")
    return body.add1(Gather(1, tuple(index.tolist()), (index.size,)), value, name="read")
