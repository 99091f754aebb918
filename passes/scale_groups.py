"""Which observed values must share one scale, because spikes of both go to the same place unchanged."""

from __future__ import annotations

from snnir.ir import Graph, Node, Op, Value
from snnir.ir.op import Trait
from snnir.ir.ops import Observe, Scan

__all__ = ["scale_groups"]


def scale_groups(graph: Graph, kind: type[Op] | tuple[type[Op], ...] = Observe) -> list[list[Node]]:
    """`observe` nodes (or those of other kinds; bodies included) in groups of one scale each, in order of their first member.

    Data movement and max pooling keep the scale, so all their operands share it; so do a state of a scan,
    what it starts from and what it becomes.
    """
    from networkx.utils import UnionFind  # only here: its import takes a third of the start of `snnir run`

    union: UnionFind[Value] = UnionFind()
    observers = []
    for _, node in graph.walk():
        if isinstance(node.op, kind):
            observers.append(node)
        elif node.op.has(Trait.SELECTS):
            union.union(*node.operands, *node.outputs)
        elif isinstance(node.op, Scan) and node.body is not None:
            outputs = list(node.body.outputs.values())
            for index, (operand, inner) in enumerate(zip(node.operands, node.body.inputs, strict=True)):
                union.union(operand, inner)
                if index < node.op.states:
                    union.union(operand, outputs[index])
            for value, inner in zip(node.outputs, outputs, strict=True):
                union.union(value, inner)
    groups: dict[Value, list[Node]] = {}
    for node in observers:
        groups.setdefault(union[node.output], []).append(node)
    return list(groups.values())
