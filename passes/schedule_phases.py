"""Schedule phases: at which step each few-spike population starts to tell its level."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from snnir.ir import SPIKING, Graph, Node, Value
from snnir.ir.ops import Fs, Function
from snnir.ir.phases import FEW_SPIKES, neuron_of, phases_of
from snnir.ir.rewrite import Rewriter, rebuild
from snnir.passes.infra import Context, Pass, Result, register
from snnir.passes.properties import SCHEDULED

__all__ = ["SchedulePhases"]


@register
@dataclass(frozen=True)
class SchedulePhases(Pass):
    """Write into every few-spike population and function the step at which its input is complete, and at which it starts.

    `snnir.ir.phases` says how steps follow from the graph; the verifier holds every graph to them. The steps are those of
    relay delivery; with graded delivery a scan's windows are shorter. Graphs of bif neurons stay as they are.
    """

    name = "schedule-phases"
    takes = gives = SPIKING
    ensures = (SCHEDULED,)

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass."""
        if neuron_of(graph) != FEW_SPIKES:
            return Result(graph, False)
        phases = phases_of(graph)

        def rule(rewriter: Rewriter, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
            op = node.op
            if not isinstance(op, Fs | Function) or op.start == phases.of[node.outputs[0]].first:
                return None
            return rewriter.copy(node, operands, dataclasses.replace(op, start=phases.of[node.outputs[0]].first))

        new, changed = rebuild(graph, rule)
        parts = [f"{steps} a window of {name}" for name, steps in phases.windows.items() if name]
        steps = ", ".join([f"{phases.windows['']} steps outside of scans" if parts else f"{phases.windows['']} steps", *parts])
        return Result(new, changed > 0, (f"every sample takes {steps}",))
