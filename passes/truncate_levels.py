"""Truncate levels: few-spike neurons that do not tell the last bits of their levels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from snnir.errors import UsageError
from snnir.ir import QUANTIZED, Graph, Node, Value
from snnir.ir.ops import MultiThreshold, Requantize
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.passes.infra import Context, Pass, Result, register

__all__ = ["TruncateLevels"]


@register
@dataclass(frozen=True)
class TruncateLevels(Pass):
    """Leave out the last `bits` bits of the levels of populations: fewer spikes and fewer steps, and an error.

    1. Levels become whole multiples of 2^bits, rounded towards 0; a population of no more bits than that keeps its highest one.
    2. `values` are the names of the values to truncate, with `;` between them; empty: all levels that sums become.

    The integers of the network are then those of the truncated levels, exactly. Few-spike neurons only: for them this is what a
    cap on steps is for bif neurons, without a neuron that is unsettled.
    """

    name = "truncate-levels"
    takes = gives = QUANTIZED
    error = "the last bits of levels are left out"

    bits: int = 1
    values: str = ""

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass. Raises `UsageError` for a name that no population has."""
        if self.bits < 0:
            raise UsageError(f"bits={self.bits}: a number of bits is 0 or more")
        wanted = {name for name in self.values.split(";") if name}
        found: set[str] = set()

        def rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
            op = node.op
            if not isinstance(op, Requantize | MultiThreshold) or (wanted and node.output.name not in wanted):
                return None
            found.add(node.output.name)
            omitted = min(self.bits, max(op.quantization.magnitude_bits - 1, 0))
            return rewriter.copy(node, operands, dataclasses.replace(op, omitted=omitted)) if omitted != op.omitted else None

        new, changed = rebuild(graph, rule)
        if wanted - found:
            names = sorted(node.output.name for _, node in graph.walk() if isinstance(node.op, Requantize | MultiThreshold))
            raise UsageError(f"no population is called {min(wanted - found)!r}; there are {', '.join(names)}")
        return Result(new, changed > 0, (f"the last {self.bits} bits of {len(found)} populations are left out",))
