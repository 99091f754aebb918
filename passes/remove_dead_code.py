"""Remove nodes, constants, states and scan results that nothing uses."""

from __future__ import annotations

from dataclasses import dataclass

from snnir.ir import Graph, Node, Value
from snnir.ir.ops import Scan
from snnir.ir.rewrite import like
from snnir.passes.infra import ANY_LEVEL, Context, Pass, Result, register
from snnir.passes.properties import NOTHING_DEAD

__all__ = ["RemoveDeadCode", "remove_dead_code"]


@register
@dataclass(frozen=True)
class RemoveDeadCode(Pass):
    """Remove what no output depends on.

    1. Nodes and constants that no output depends on vanish, in bodies too; inputs stay.
    2. Results per element of a scan that no node takes leave its body; states stay, they are part of the recurrence.
    """

    name = "remove-dead-code"
    takes = gives = ANY_LEVEL
    ensures = (NOTHING_DEAD,)

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass."""
        new = remove_dead_code(graph)
        gone = sum(1 for _ in graph.walk()) - sum(1 for _ in new.walk())
        return Result(new, new != graph, rewrites={"dead nodes": gone} if gone else {})


def remove_dead_code(graph: Graph) -> Graph:
    """`graph` without what its outputs do not depend on; at any level."""
    return _remove(graph, set(graph.outputs))


def _remove(graph: Graph, kept_outputs: set[str]) -> Graph:
    live: set[Value] = {value for name, value in graph.outputs.items() if name in kept_outputs}
    for node in reversed(graph.nodes):
        if any(value in live for value in node.outputs):
            live.update(node.operands)
    new = like(graph)
    values = {value: new.input(value.name, value.type) for value in graph.inputs}
    for value in graph.constants:
        if value in live:
            values[value] = new.constant(value.name, value.array)
            values[value].digest_ = value.digest_
    for node in graph.nodes:
        if any(value in live for value in node.outputs):
            _copy(node, new, values, live)
    for name, value in graph.outputs.items():
        if name in kept_outputs:
            new.output(name, values[value])
    return new


def _copy(node: Node, new: Graph, values: dict[Value, Value], live: set[Value]) -> None:
    operands = [values[value] for value in node.operands]
    body, results = node.body, node.outputs
    if isinstance(node.op, Scan) and body is not None:
        names = list(body.outputs)
        kept = [index for index, value in enumerate(node.outputs) if index < node.op.states or value in live]
        body = _remove(body, {names[index] for index in kept})
        results = tuple(node.outputs[index] for index in kept)
        copies = new.add(node.op, *operands, names=[value.name for value in results], origin=node.origin, body=body)
    else:
        copies = new.copy(node, operands, body)
    values.update(zip(results, copies, strict=True))
