"""From a spiking graph and the sizes of one sample to a machine program. One file holds the rule of one emitter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

from snnir.errors import UnsupportedError, UsageError
from snnir.ir.dims import BATCH
from snnir.ir.graph import Graph, Node
from snnir.ir.op import SPIKING
from snnir.ir.phases import FEW_SPIKES, check_phased, neuron_of, phases_of
from snnir.ir.protocols import Delivery, Execution
from snnir.ir.windows import check_windows
from snnir.machine.lowering.context import Lowering
from snnir.machine.program import IntegerProgram

__all__ = ["Lowered", "lower"]

for _module in iter_modules(__path__):  # every file beside this one enters its rules
    import_module(f"{__name__}.{_module.name}")

_BATCH = 2
"""Movement is tried on two samples, to see that none reaches into the other."""


@dataclass(frozen=True)
class Lowered:
    """A machine program, and the `nodes` of the graph behind its ops, by the names of their trains or of scans."""

    program: IntegerProgram
    nodes: dict[str, Node]


def lower(
    graph: Graph,
    sizes: Mapping[str, int],
    delivery: str = "relay",
    execution: str = "reset",
    provenance: Mapping[str, object] | None = None,
) -> Lowered:
    """The machine program of a spiking graph; `sizes` measures every named dimension but the batch.

    Raises `UnsupportedError` naming the node that has no form without floating point between its spikes, `UsageError`, and
    `InputError` where the sizes are too small for a window.
    """
    if graph.level != SPIKING:
        raise UsageError(f"graph {graph.name} is at the {graph.level} level; a machine program is made of the {SPIKING} level")
    delivery, execution = Delivery.of(delivery), Execution.of(execution)
    check_windows(graph, sizes)
    neuron = neuron_of(graph)
    if neuron == FEW_SPIKES:
        check_phased(delivery, execution)
    phases = phases_of(graph, delivery) if neuron == FEW_SPIKES else None
    work = Lowering(graph, {**sizes, BATCH: _BATCH}, {}, "", set(), phases)
    for value in graph.inputs:
        if not value.type.is_plain:
            raise UnsupportedError(f"input {value.name} is {value.type}; the machine level takes real inputs and encodes them")
    work.all()
    for name, value in graph.outputs.items():
        if not (value.type.dtype == "spike" or value.type.is_plain or value in work.fixed):
            raise UnsupportedError(f"output {name} is {value.type}; the machine level gives out real values and spikes")
    outputs = tuple(work.output(name, value) for name, value in graph.outputs.items())
    made = dict(provenance or {})
    program = IntegerProgram(graph.name, delivery, execution, tuple(work.ops), outputs, tuple(work.host), made, neuron)
    return Lowered(program, work.nodes)
