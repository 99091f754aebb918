"""The batch out of the axes that hold it together with something else.

Reshapes fold the batch into an axis and unfold it later: convolutions of every frame of a video see `N*T` images, a linear
map behind a recurrent layer sees `T*N` rows, the heads of an attention are `N*H` matrices. Neurons need the batch by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from snnir.errors import Refusal, UnsupportedError
from snnir.ir import FLOAT, Graph, Node, Value
from snnir.ir.batch import Mixing, Place, batch_places
from snnir.ir.dims import BATCH, dim
from snnir.ir.lifting import apart, folded, lift
from snnir.ir.ops import Scan
from snnir.ir.rewrite import Rewriter, copy_constants, like
from snnir.passes.infra import Context, Pass, Result, register

__all__ = ["UnfoldBatch", "mixing_refusals"]


@register
@dataclass(frozen=True)
class UnfoldBatch(Pass):
    """Compute with the batch as an axis of its own, in front, wherever the model folds it into another one.

    1. A node that mixes samples, so that what it gives for one depends on the others, is refused by name.
    2. Nodes that take or give a folded batch are computed for every sample apart, on values [N, *shape of one sample].
    3. Nodes that see the batch as an axis of its own stay as they are; between the two kinds a reshape and a transpose stand.
    4. Where no rule is written for an op, it takes the folded value that the model says.
    """

    name = "unfold-batch"
    takes = gives = FLOAT

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass. Raises `UnsupportedError` for nodes that mix samples."""
        places, mixing = batch_places(graph)
        if mixing:
            refusals = mixing_refusals(mixing)
            lines = "\n".join(f"  {refusal}" for refusal in refusals)
            raise UnsupportedError(f"these nodes mix the samples of the batch:\n{lines}", refusals)
        if all(place.alone for place in places.values()):
            return Result(graph, False)
        new = like(graph)
        values = {value: new.input(value.name, value.type) for value in graph.inputs}
        _Unfolding(graph, new, places, values).run()
        return Result(new, True)


def mixing_refusals(mixing: list[Mixing]) -> tuple[Refusal, ...]:
    """What is said of nodes that mix samples."""
    advice = "export the model with the batch fixed if all of it is one sample, or name another batch axis (--batch-axis)"
    return tuple(
        Refusal(f"{node.describe()} (op {node.op.name})", f"{item.reason}; {advice}", node.origin)
        for item in mixing
        for node in (item.node,)
    )


class _Unfolding:
    """One graph or body on its way: an old value in the shape that the model says, or for every sample apart, or both."""

    def __init__(self, old: Graph, new: Graph, places: Mapping[Value, Place], values: dict[Value, Value]) -> None:
        self.old, self.new, self.places, self.plain = old, new, places, values
        self.apart: dict[Value, Value] = {}
        self.rewriter = Rewriter(new, lambda *_: None)
        copy_constants(old, new, self.plain)

    def run(self) -> None:
        """Write every node and the outputs."""
        for node in self.old.nodes:
            self.rewriter.node = node
            self.visit(node)
        self.rewriter.node = None
        for name, value in self.old.outputs.items():
            self.new.output(name, self.as_said(value))

    def visit(self, node: Node) -> None:
        """Write one node."""
        near = [self.places[value] for value in (*node.operands, *node.outputs) if value in self.places]
        if not all(place.alone for place in near):
            lifted = lift(self.rewriter, node, [self.for_each(value) for value in node.operands], dim(BATCH))
            if lifted is not None:
                self.apart.update(zip(node.outputs, lifted, strict=True))
                return
        body = node.body
        if isinstance(node.op, Scan) and body is not None and self.folds(body):
            body = self.unfolded_body(body)
        operands = [self.as_said(value) for value in node.operands]
        self.plain.update(zip(node.outputs, self.new.copy(node, operands, body), strict=True))

    def folds(self, body: Graph) -> bool:
        """Whether a value of a body holds the batch together with something else."""
        return not all(self.places[value].alone for value in body.values.values() if value in self.places)

    def unfolded_body(self, body: Graph) -> Graph:
        """The body of a scan, which itself sees the batch as an axis of its own."""
        new = like(body)
        _Unfolding(body, new, self.places, {value: new.input(value.name, value.type) for value in body.inputs}).run()
        return new

    def for_each(self, value: Value) -> Value:
        """`value` with the samples in front of the axes of one; constants as they are."""
        if value.is_constant:
            return self.plain[value]
        if value not in self.apart:
            self.apart[value] = apart(self.rewriter, self.plain[value], self.places.get(value))
        return self.apart[value]

    def as_said(self, value: Value) -> Value:
        """`value` in the shape that the model says."""
        if value not in self.plain:
            self.plain[value] = folded(self.rewriter, self.apart[value], value.type.shape, self.places.get(value))
        return self.plain[value]
