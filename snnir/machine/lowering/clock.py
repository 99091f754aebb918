"""Clocks send the levels of an encoder, or a part of a train, step by step."""

from __future__ import annotations

from snnir.ir import ops
from snnir.ir.graph import Node
from snnir.machine.lowering.context import Lowering, lowers
from snnir.machine.program import Clock

__all__ = ["clock"]


@lowers(ops.Clock)
def clock(work: Lowering, node: Node) -> None:
    """A train of its own."""
    op, (value,) = node.expect(ops.Clock), node.operands
    source = work.source(value)
    train = work.root(node.output, work.wiring(value).index.shape)
    work.add(Clock(train, source.name, op.steps, op.kind, op.seed, op.first))
