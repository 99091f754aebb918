"""Roll recurrences that an exporter wrote out step by step back into one `scan` each."""

from __future__ import annotations

from dataclasses import dataclass

from snnir.ir import FLOAT, Graph
from snnir.passes.infra import Context, Pass, Result, register
from snnir.passes.remove_dead_code import remove_dead_code
from snnir.passes.rolling import LEAST_STEPS, find_unrolled, join_concatenations, merge_duplicates, rolled, sequences

__all__ = ["RollRecurrences"]


@register
@dataclass(frozen=True)
class RollRecurrences(Pass):
    """Write steps that are proven to compute the same as one scan.

    1. Nodes that compute the same, and equal constants, count as one; a step is then proven by looking up each of its
       nodes (op, attributes and operands) among the nodes of the graph.
    2. Steps are linked by their states only. Each takes the next element of one or more sequences, in either order, and
       else only values that all steps share.
    3. Where step 0 was folded because its states are zero, zero states must give by evaluation what it gives; where they
       do not, it stays apart, and the scan starts from its states.
    4. What each step computes from its states goes into the body too; a concatenation of all steps becomes the sequence
       that the scan gives, and a single one its element.
    5. Anything that differs from step to step, or fewer than 4 steps, stays as it is.
    """

    name = "roll-recurrences"
    takes = gives = FLOAT

    def run(self, graph: Graph, context: Context) -> Result:
        """Apply the pass."""
        remarks: list[str] = []
        new = graph
        if not sequences(graph, LEAST_STEPS):
            return Result(graph, False)
        while True:
            unique, table = merge_duplicates(remove_dead_code(join_concatenations(new)))
            found = find_unrolled(unique, table)
            if found is None:
                return Result(new, new is not graph, tuple(remarks))
            new = remove_dead_code(rolled(unique, found))
            count = found.last - found.first + 1
            remarks.append(f"{count} steps of {found.next_states[0].producer!r} are one scan")
