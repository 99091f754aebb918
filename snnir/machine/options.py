"""What the fast and the plain simulator accept, checked in one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from snnir.errors import UsageError
from snnir.ir.dims import BATCH
from snnir.ir.graph import Graph, Node
from snnir.ir.op import SPIKING
from snnir.ir.ops import Encode, Scan
from snnir.ir.phases import FEW_SPIKES, check_phased, neuron_of

__all__ = ["DELIVERIES", "EXECUTIONS", "batch_size", "check_graph", "check_neurons", "check_options"]

DELIVERIES = ("replay", "relay", "graded")
"""How a state's spikes reach the next window: the same train again, its settled levels one a step, or all at step 0."""

EXECUTIONS = ("reset", "carry")
"""How the body of a scan goes on to its next element: every neuron starts afresh, or keeps its sum and its tracer, so that
only changes are sent."""


def check_graph(graph: Graph) -> None:
    """Raise `UsageError` unless the graph is at the spiking level."""
    if graph.level != SPIKING:
        raise UsageError(f"graph {graph.name} is at the {graph.level} level; the simulator runs the {SPIKING} level")


def check_options(steps: int | None, delivery: str, execution: str, record: Sequence[str], known: Iterable[str]) -> None:
    """Raise `UsageError` naming the choices."""
    if steps is not None and steps < 1:
        raise UsageError(f"steps is {steps}; it must be 1 or more, or None to run until nothing fires")
    if delivery not in DELIVERIES:
        raise UsageError(f"delivery {delivery!r} is unknown; choose one of {', '.join(DELIVERIES)}")
    if execution not in EXECUTIONS:
        raise UsageError(f"execution {execution!r} is unknown; choose one of {', '.join(EXECUTIONS)}")
    names = list(known)
    unknown = [record] if isinstance(record, str) else [name for name in record if name not in names]
    if unknown:
        raise UsageError(f"cannot record {', '.join(map(repr, unknown))}; a sequence of these can be: {', '.join(names)}")


def check_neurons(graph: Graph, steps: int | None, delivery: str, execution: str) -> None:
    """Raise `UsageError` for options that a graph's family of neurons does not have."""
    if neuron_of(graph) == FEW_SPIKES:
        check_phased(delivery, execution)
        if steps is not None:
            raise UsageError(
                f"steps is {steps}; few-spike neurons take the steps of their schedule, and none of their levels is there before "
                "its last one. Leave steps away, or compile with truncate-levels, which omits the last bits of levels"
            )


def batch_size(graph: Graph, sizes: Mapping[str, int]) -> int:
    """The number of samples: the size of the batch dimension, or what a graph of a fixed batch encodes."""
    if BATCH in sizes:
        return sizes[BATCH]

    def first(nodes: Iterable[tuple[Graph, Node]]) -> int:
        for _, node in nodes:
            value = node.outputs[0]
            if isinstance(node.op, Encode | Scan) and not node.operands[0].is_constant and value.type.rank:
                return int(str(value.type.shape[0]))
        return 1

    return first(graph.walk())
