"""A pass: `cube` becomes products, which networks of spikes compute."""

from __future__ import annotations

from dataclasses import dataclass

from snnir.ir import FLOAT, Graph, Node, Value
from snnir.ir.ops import Mul
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.passes.infra import Context, Pass, Result, register
from snnir_example.op import Cube

__all__ = ["LowerCube"]


@register
@dataclass(frozen=True)
class LowerCube(Pass):
    """Write third powers as products of the element with itself."""

    name = "lower-cube"
    takes = gives = FLOAT

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass."""
        new, changed = rebuild(graph, _rule)
        return Result(new, changed > 0, rewrites={"cube": changed} if changed else {})


def _rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
    if not isinstance(node.op, Cube):
        return None
    (x,) = operands
    square = rewriter.emit(Mul(), x, x, name=f"{node.output.name}.square")
    return (rewriter.emit(Mul(), square, x, name=node.output.name),)
