"""Clock inputs: levels of inputs become what an encoder of a clock of T steps sends."""

from __future__ import annotations

from dataclasses import dataclass

from snnir.errors import UnsupportedError, UsageError
from snnir.ir import FLOAT, Graph, Node, Value
from snnir.ir.ops import Clock, Quantize, Scan
from snnir.ir.ops.clocked import ENCODERS
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.passes.infra import Context, Pass, Result, register

__all__ = ["ClockInputs"]


@register
@dataclass(frozen=True)
class ClockInputs(Pass):
    """Give every quantized value that the host knows a clock of `steps` steps.

    1. What `quantize` gives of values that no other `quantize` is behind goes through `clock`.
    2. `encoder` constant sends the whole level in every step, so that T steps count T times the levels, of a scale T times
       smaller; rate sends evenly spaced spikes, and bernoulli draws them (`seed`, and one more for each further input).
    """

    name = "clock-inputs"
    takes = gives = FLOAT
    error = "spikes that are drawn count what they count"

    steps: int = 32
    encoder: str = "constant"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.encoder not in ENCODERS:
            raise UsageError(f"encoder {self.encoder!r} is unknown; choose one of {', '.join(ENCODERS)}")
        if not 0 <= self.seed < 1 << 62:
            raise UsageError(f"seed={self.seed} is out of range: it takes 0 to 2^62 - 1")

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass. Raises `UnsupportedError` naming a recurrent layer, which has a window for each element."""
        for node in graph.nodes:
            if isinstance(node.op, Scan):
                raise UnsupportedError(
                    f"{node.describe()}: a recurrent layer; integrate-and-fire neurons on a clock (neuron=if) take feed-forward "
                    "networks. Use neuron=bif or neuron=few-spikes"
                )
        real, count = _known(graph), 0

        def rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
            nonlocal count
            if not isinstance(node.op, Quantize) or node.operands[0] not in real:
                return None
            (levels,) = rewriter.copy(node, operands)
            op = Clock(self.steps, self.encoder, self.seed + count if self.encoder == "bernoulli" else 0)
            count += 1
            return (rewriter.emit(op, levels, name=f"{node.output.name}.clock"),)

        new, changed = rebuild(graph, rule)
        return Result(new, changed > 0, (f"{changed} inputs are sent over {self.steps} steps, {self.encoder}",))


def _known(graph: Graph) -> set[Value]:
    """The real values of a graph that the host knows before the network runs."""
    known = {*graph.inputs, *graph.constants}
    for node in graph.nodes:
        if not isinstance(node.op, Quantize) and all(value in known for value in node.operands):
            known.update(node.outputs)
    return known
