"""Synaptic ops: kept until a population or readout takes their current."""

from __future__ import annotations

import numpy as np

from snnir.errors import UnsupportedError
from snnir.ir.graph import Node
from snnir.ir.ops import Conv, Dense, Diagonal, Sparse
from snnir.ir.ops.rules import pad_amounts
from snnir.machine.addresses import IndexMap, spread
from snnir.machine.host import concrete_shape
from snnir.machine.lowering.context import Lowering, lowers
from snnir.machine.program import Synapse, Train

__all__ = ["synapse_of"]


@lowers(Dense, Diagonal, Sparse, Conv)
def synapse(work: Lowering, node: Node) -> None:
    """Note which node gives a current."""
    work.currents[node.output] = node


def synapse_of(work: Lowering, node: Node, shape: tuple[int, ...]) -> tuple[Synapse, Train, np.ndarray | None]:
    """The synapse into a population of `shape`, its train, and the op's own bias shaped to spread over a sample."""
    value, op = node.operands[0], node.expect(Dense, Diagonal, Sparse, Conv)
    weights, *rest = (work.constant(node, operand) for operand in node.operands[1:])
    own = work.wiring(value).index.shape
    rank = node.output.type.rank - value.type.rank + len(own)  # an input without batch axis gives a current without one
    outputs = concrete_shape(node.output.type, work.sizes)[node.output.type.rank - rank :] if rank else ()
    weights = weights.astype(np.int64, copy=False)
    gain = np.array(op.gain, np.int64) if any(op.gain) else None
    bias: np.ndarray | None = None
    extra: dict[str, object] = {}
    source_shape: tuple[int, ...] | None = None
    kind = "dense"
    if isinstance(op, Dense):
        extra["groups"] = int(np.prod(own[:-1], dtype=np.int64))
        bias = rest[0].astype(np.int64) if rest else None
    elif isinstance(op, Conv):
        kind = "conv"
        pads = pad_amounts(op.padding, len(op.stride))
        padding = tuple(pair[0] for pair in pads) + tuple(pair[1] for pair in pads)
        extra |= {"groups": op.groups, "stride": op.stride, "dilation": op.dilation, "padding": padding}
        bias = rest[0].astype(np.int64).reshape(-1, *([1] * len(op.stride))) if rest else None
    elif isinstance(op, Sparse):
        kind = "list"
        extra |= {"rows": rest[0].astype(np.int64), "columns": rest[1].astype(np.int64)}
    else:
        kind, source_shape = "one", outputs
        extra["weight_map"] = spread(weights.shape, outputs)
        weights = weights.reshape(-1)
    if outputs != shape:
        extra["spread"] = _spread_current(node, outputs, shape)
    source = work.source(value, source_shape)
    name = work.prefix + node.output.name
    inputs = own if source_shape is None else source_shape
    return Synapse(name, source.name, kind, weights, inputs, outputs, gain=gain, **extra), source, bias  # type: ignore[arg-type]


def _spread_current(node: Node, outputs: tuple[int, ...], shape: tuple[int, ...]) -> IndexMap:
    try:
        return spread(outputs, shape)
    except ValueError:
        raise UnsupportedError(
            f"{node.describe()}: {list(outputs)} a sample does not spread over a population of {list(shape)}"
        ) from None
